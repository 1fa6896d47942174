"""A page's document of scores that were drawn, so that nothing has to be trained for it."""

import numpy as np
import pandas as pd


def made_document(seed=0):
    """A document of scores that were drawn, so that nothing has to be trained for it."""
    from chexkeras.evaluation.evaluate import evaluate
    from chexkeras.evaluation.thresholds import choose_threshold
    from chexkeras.page.document import MapsToDraw, PageDocument, curve_of, outcomes_of

    validation, test = (drawn_scores(seed + part, part) for part in (1, 2))
    point = choose_threshold(validation, finding="Effusion")
    return PageDocument(
        name="drawn", cautions=("Drawn scores.",), synthetic=True, image_size=32, facts={"Data": "drawn"},
        points=(point,), evaluation=evaluate(test, [point]), outcomes=(outcomes_of(test, point),),
        curves=(curve_of(validation, point),), maps=MapsToDraw(reason="no heat maps are drawn: never checked."),
    )  # fmt: skip


def drawn_scores(seed, part=1, patients=60):
    from chexkeras.evaluation.scores import Scores

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, patients).repeat(2).astype(float)
    scores = np.clip(rng.normal(0.35 + 0.3 * labels, 0.15), 0, 1)
    return Scores(
        pd.DataFrame(
            {
                "image_id": [f"CANARY-image-{part}-{at}" for at in range(len(labels))],
                "patient_id": [f"CANARY-patient-{part}-{at // 2}" for at in range(len(labels))],
                "finding": "Effusion",
                "label": labels,
                "score": scores,
            }
        )
    )
