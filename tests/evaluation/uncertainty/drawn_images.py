"""Images of a few patients as Hypothesis draws them, and the limits of an estimate."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

quick = settings(derandomize=True, deadline=None, max_examples=60)


def limits(estimate):
    return (estimate.low, estimate.high)


@st.composite
def images(draw):
    n = draw(st.integers(2, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random(n) < draw(st.sampled_from([0.1, 0.5]))).astype(float)
    labels[:2] = [1, 0]
    return labels, rng.integers(0, 10, n) / 10, rng.integers(0, max(2, n // 2), n)
