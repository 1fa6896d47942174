"""What heat maps must pass before they are believed: they must change with the model, and find what the score rests on.

A map that looks the same when the network's weights are shuffled, or when a head learnt labels that were dealt out at
random, shows edges of the image and nothing of the model. And painting over its hottest places must lower the score
faster than painting over any.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.data.image_table import ImageTable
from chexkeras.data.pipeline import images_with_ids
from chexkeras.evaluation.uncertainty.intervals import mean_interval
from chexkeras.explanation.explain import WHAT_IT_IS_NOT, map_network, maps_of, probabilities
from chexkeras.explanation.heatmaps import resized
from chexkeras.explanation.methods import METHODS, MapMethod
from chexkeras.explanation.network import MapNetwork
from chexkeras.explanation.occlusion import logits_of
from chexkeras.models.stages import adapt_batchnorm, backbone_layers
from chexkeras.progress import track
from chexkeras.results import Estimate, MapChecks, RandomisedLevel
from chexkeras.results.heatmaps import DEPENDS, DOES_NOT, NOT_SHOWN
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from chexkeras.data.store.store import Store

MOST_ALIKE = 0.5
"""Mean rank correlation with the maps of a randomised network from which on maps do not depend on the model."""

_FEWEST, _STEPS, _RANDOM_ORDERS, _CELLS = 10, 10, 4, 7
# Of structural similarity: width of the window in cells, and the constants of Wang et al. 2004 for values up to 1.
_SIGMA, _K1, _K2 = 1.5, 0.01**2, 0.03**2


@checked
def check_maps(
    run: Run | str | Path,
    table: pd.DataFrame,
    *,
    finding: str | None = None,
    method: str = "gradcam",
    layer: str | None = None,
    train: pd.DataFrame | None = None,
    store: "Store | None" = None,
    images: int = 50,
    batch_size: int = 16,
    seed: int = 0,
) -> MapChecks:
    """Checks the heat maps of a run.

    The weights of the network are shuffled within each kernel, from the head down, and the maps made again; with
    `train`, a linear head is fitted to labels that were dealt out at random, and its maps compared with those of one
    fitted to the labels themselves. The hottest places are painted over, step by step, and so are random ones.

    The verdict: the maps do not depend on the model if the interval of their mean rank correlation with those of the
    wholly randomised network lies above `MOST_ALIKE`. They depend on it if that interval lies below, and painting over
    the hottest places lowers the logit faster than random order, with an interval that excludes 0. Otherwise it is not
    shown.

    Args:
        run: A run or its folder.
        table: Image table of images that the model did not learn from, at least 10; images of patients agree, which
            the intervals allow for.
        finding: One of the run's findings; None where there is one only.
        method: Of the maps, see `METHODS`; not "occlusion", which needs no check.
        layer: Name of the layer; None takes the last one with rows and columns.
        train: Image table of the training part, with labels; None leaves out the check with permuted labels.
        store: Images decoded before; None reads the files at `path`.
        images: How many images are used where there are more, drawn at random.
        batch_size: Images at a time.
        seed: Of all draws.

    Returns:
        The checks with their verdict.

    Raises:
        FileNotFoundError: If the run, its model or an image is not there.
        ValueError: If the finding, method or layer is unknown, there are fewer than 10 images, or `train` does not hold
            both classes.

    Source:
        Adebayo et al., NeurIPS 2018 (randomisation of weights and labels); Petsiuk et al., BMVC 2018 (deletion and
        insertion); Wang et al., IEEE Transactions on Image Processing 13, 2004 (SSIM).
    """
    run = run if isinstance(run, Run) else Run.load(run)
    targets = run.recipe.targets
    if finding is None and len(targets) > 1:
        raise ValueError(f"finding=None: the run has {', '.join(targets)}; name the one whose maps are checked.")
    chosen = checks.one_of(finding or targets[0], targets, "finding")
    entry = METHODS.find(method, "method")
    if entry.formula is None:
        raise ValueError(
            "method='occlusion' asks the model itself: it needs no such check. Check 'gradcam' or another."
        )
    rows = _sample(ImageTable.of(table), checks.positive_int(images, "images", least=_FEWEST), seed)
    column = targets.index(chosen)
    network = map_network(run.load_model(), entry, layer)
    size = int(network.model.input_shape[1])
    pixels = _pixels(rows, size, batch_size, store)
    owner = checks.identifiers(rows["patient_id"], "patient_id")
    own = _maps(network, entry, pixels, column, batch_size)
    levels = []
    for name, share in track(_LEVELS, "randomising the network"):
        shuffled = _randomised(run, share, pixels, batch_size, seed)
        other = _maps(map_network(shuffled, entry, network.layer), entry, pixels, column, batch_size)
        levels.append(_alike(name, own, other, owner))
    if train is not None:
        known = ImageTable.of(train)
        learnt = _linear_maps(network, known, chosen, pixels, size, batch_size, store, seed)
        levels.append(_alike("labels permuted", *learnt, owner))
    deleted, inserted = _orders(network.model, pixels, own, column, batch_size, seed)
    deletion, insertion = (mean_interval(each, clusters=owner) for each in (deleted, inserted))
    verdict, reason = _verdict(levels[len(_LEVELS) - 1].rank_correlation, deletion)
    return MapChecks(
        finding=chosen,
        method=method,
        layer=network.layer,
        n_images=len(rows),
        levels=tuple(levels),
        deletion=deletion,
        insertion=insertion,
        most_alike=MOST_ALIKE,
        verdict=verdict,
        reason=reason,
        seed=seed,
        cautions=(WHAT_IT_IS_NOT, *run.cautions),
    )


class _Level(NamedTuple):
    """What is randomised: the head and this share of the backbone's layers, from the top."""

    name: str
    share: float


_LEVELS = (_Level("head", 0.0), _Level("head and upper half", 0.5), _Level("whole network", 1.0))


def _verdict(whole: Estimate, deletion: Estimate) -> tuple[str, str]:
    if not (whole.estimable and deletion.estimable):
        return NOT_SHOWN, whole.reason or deletion.reason
    if whole.high >= MOST_ALIKE:
        alike = "look much the same" if whole.low >= MOST_ALIKE else "may look much the same"
        return (DOES_NOT if whole.low >= MOST_ALIKE else NOT_SHOWN), f"maps of a randomised network {alike}"
    if deletion.high >= 0:
        return NOT_SHOWN, "painting over the hottest places does not lower the score more than random places do"
    return DEPENDS, "maps change with the weights, and the score rests on their hottest places"


def _sample(table: ImageTable, images: int, seed: int) -> pd.DataFrame:
    if len(table) < _FEWEST:
        raise ValueError(f"{len(table)} image(s) to check heat maps on; give at least {_FEWEST}.")
    if len(table) <= images:
        return table
    places = np.random.default_rng(seed).choice(len(table), images, replace=False)
    return table.iloc[np.sort(places)]


def _pixels(table: pd.DataFrame, size: int, batch_size: int, store: "Store | None") -> NDArray[np.float32]:
    batches = images_with_ids(table, image_size=size, batch_size=batch_size, store=store)
    return np.concatenate([np.asarray(pixels) for pixels, _ in batches])


def _batches(pixels: NDArray[np.float32], batch_size: int) -> list[NDArray[np.float32]]:
    return [pixels[start : start + batch_size] for start in range(0, len(pixels), batch_size)]


def _maps(
    network: MapNetwork, entry: MapMethod, pixels: NDArray[np.float32], column: int, batch_size: int
) -> NDArray[np.float32]:
    made = [maps_of(network, entry, batch, [column], batch_size)[0] for batch in _batches(pixels, batch_size)]
    return np.concatenate(made)[:, 0]


def _randomised(run: Run, share: float, pixels: NDArray[np.float32], batch_size: int, seed: int) -> keras.Model:
    """Returns the run's model with the kernels of its head, and of the upper layers, shuffled each within itself.

    Shuffled weights keep their scale. What they pass on does not, so BatchNorm takes new statistics from the images.
    """
    model, rng = run.load_model(), np.random.default_rng(seed)
    backbone = backbone_layers(model)
    kept = {layer.name for layer in backbone[: round(len(backbone) * (1 - share))]}
    for layer in model.layers:
        if layer.name in kept or layer.name.startswith("preprocess_"):
            continue
        weights = layer.get_weights()
        # Vectors are biases and the statistics and factors of BatchNorm.
        layer.set_weights(
            [rng.permuted(each.ravel()).reshape(each.shape) if each.ndim > 1 else each for each in weights]
        )
    whole = [batch for batch in _batches(pixels, batch_size) if len(batch) == min(batch_size, len(pixels))]
    if share > 0:
        adapt_batchnorm(model, whole)
    return model


def _linear_maps(
    network: MapNetwork,
    train: pd.DataFrame,
    finding: str,
    pixels: NDArray[np.float32],
    size: int,
    batch_size: int,
    store: "Store | None",
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns maps by two linear heads on the layer's features: one that learnt the labels, one that learnt noise."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = train[train[finding].isin([0, 1])]
    labels = known[finding].to_numpy(int)
    if len(set(labels.tolist())) < 2:
        raise ValueError(f"train holds one class of {finding} only; both are needed to learn from.")
    seen = [
        network.outputs(np.asarray(batch), batch_size).features.mean(axis=(1, 2))
        for batch, _ in images_with_ids(known, image_size=size, batch_size=batch_size, store=store)
    ]
    pooled = np.concatenate(seen)
    features = np.concatenate([network.outputs(batch, batch_size).features for batch in _batches(pixels, batch_size)])
    maps = []
    for learnt in (labels, np.random.default_rng(seed).permutation(labels)):
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(pooled, learnt)
        scaler, head = fitted[0], fitted[1]
        maps.append((features @ (head.coef_[0] / scaler.scale_)).astype(np.float32))
    return maps[0], maps[1]


def _alike(
    name: str, first: NDArray[np.float32], second: NDArray[np.float32], owner: NDArray[np.object_]
) -> RandomisedLevel:
    ranks = [abs(rank_correlation(one, other)) for one, other in zip(first, second, strict=True)]
    similar = [structural_similarity(one, other) for one, other in zip(first, second, strict=True)]
    return RandomisedLevel(
        name,
        mean_interval(ranks, clusters=owner, bounds=(0.0, 1.0)),
        mean_interval(similar, clusters=owner, bounds=(-1.0, 1.0)),
    )


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Returns Spearman's correlation of the cells of two maps.

    Args:
        first: A map (rows, columns).
        second: A map of the same shape.

    Returns:
        -1 to 1; 0 where one of them does not vary, as it then tells of no place.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(each, axis=None) for each in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def structural_similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Returns the mean structural similarity (SSIM) of two maps, each scaled to 0-1.

    Args:
        first: A map (rows, columns).
        second: A map of the same shape.

    Returns:
        -1 to 1; 1 for maps that differ in scale and offset only.

    Source:
        Wang et al., IEEE Transactions on Image Processing 13, 2004, equation 13, with a Gaussian window of 1.5 cells.
    """
    from scipy.ndimage import gaussian_filter

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, _SIGMA, mode="reflect"))

    a, b = (_unit(each) for each in (first, second))
    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b, together = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _K1) * (2 * together + _K2)
    return float((above / ((mean_a**2 + mean_b**2 + _K1) * (spread_a + spread_b + _K2))).mean())


def _unit(heatmap: NDArray[np.float32]) -> NDArray[np.float64]:
    values = heatmap.astype(np.float64)
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _orders(
    model: keras.Model, pixels: NDArray[np.float32], maps: NDArray[np.float32], column: int, batch_size: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns for each image the areas under the deletion and insertion curves, less those in random order."""
    rng = np.random.default_rng(seed)
    size = pixels.shape[1]

    def logits(images: NDArray[np.float32]) -> NDArray[np.float64]:
        return logits_of(probabilities(model, images, batch_size)[:, column])

    deleted: list[float] = []
    inserted: list[float] = []
    for image, heat in track(list(zip(pixels, maps, strict=True)), "painting over"):
        by_heat = np.argsort(-_on_cells(heat).ravel(), kind="stable")
        orders = [by_heat, *(rng.permutation(_CELLS**2) for _ in range(_RANDOM_ORDERS))]
        areas = [_areas(image, order, size, logits) for order in orders]
        for values, place in ((deleted, 0), (inserted, 1)):
            values.append(areas[0][place] - float(np.mean([area[place] for area in areas[1:]])))
    return np.array(deleted), np.array(inserted)


def _on_cells(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns a map on the cells that are painted over at a time."""
    if max(heat.shape) <= _CELLS:
        return resized(heat, (_CELLS, _CELLS))
    edges = [np.linspace(0, length, _CELLS + 1).round().astype(int)[:-1] for length in heat.shape]
    sums = np.add.reduceat(np.add.reduceat(heat, edges[0], axis=0), edges[1], axis=1)
    return np.asarray(sums, dtype=np.float32)


def _areas(
    image: NDArray[np.float32],
    order: NDArray[np.int64],
    size: int,
    logits: Callable[[NDArray[np.float32]], NDArray[np.float64]],
) -> tuple[float, float]:
    """Returns the mean logit as cells are painted over in an order, and as they are uncovered in it."""
    edges = np.linspace(0, size, _CELLS + 1).round().astype(int)
    stops = np.linspace(0, len(order), _STEPS + 1).round().astype(int)
    covered = np.full(image.shape, image.mean(), np.float32)
    gone, shown = [], []
    hidden, uncovered = image.copy(), covered.copy()
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        for cell in order[start:stop]:
            row, column = divmod(int(cell), _CELLS)
            place = (slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1]))
            hidden[place], uncovered[place] = covered[place], image[place]
        gone.append(hidden.copy())
        shown.append(uncovered.copy())
    scored = logits(np.stack([*gone, *shown]))
    return float(_trapezoid(scored[: len(gone)])), float(_trapezoid(scored[len(gone) :]))


def _trapezoid(values: Sequence[float] | NDArray[np.float64]) -> float:
    heights = np.asarray(values)
    return float(((heights[1:] + heights[:-1]) / 2).mean())
