"""What exposure, noise, position, compression and misuse do to a run's scores: test images changed, scored again.

The change is made to the image as the model gets it. It shows what the model bears, not what a scanner does: sites and
equipment are other data.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import pandas as pd

from chexkeras import provenance
from chexkeras.arguments import checked
from chexkeras.checks import positive_int, probability
from chexkeras.data.by_batch import computed_by_batch
from chexkeras.data.image_layout import layouts_of
from chexkeras.data.perturbations import PERTURBATIONS, Perturbation
from chexkeras.data.store.store import Store
from chexkeras.evaluation.robustness import MARGIN, OPERATING_MARGIN, perturbation_effects
from chexkeras.evaluation.scores import scores_fingerprint
from chexkeras.inference.test_images import draw_patients, require_on_disk, rows_of
from chexkeras.models.scoring import predict_padded
from chexkeras.parallel import HERE, Workplace, place_of
from chexkeras.progress import track
from chexkeras.results import Novelty, Robustness
from chexkeras.runs.run import ROBUSTNESS, Run
from chexkeras.runs.writer import refuse_second

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PART = "test"
_SINGLE = 16
# Other processors, backends and half precision round otherwise; other images score otherwise.
_SAME_SCORE = 0.02
_SAMPLED = (
    "Robustness was measured on {n:,} of the {total:,} test images: whole patients, drawn at random with seed {seed}."
)


@checked
def measure_robustness(
    run: Run | str | Path,
    table: pd.DataFrame,
    *,
    images: int | None = 1000,
    perturbations: Perturbation | Iterable[Perturbation] = PERTURBATIONS,
    store: Store | None = None,
    batch_size: int | None = None,
    margin: float = MARGIN,
    operating_margin: float = OPERATING_MARGIN,
    seed: int = 0,
    keep: bool = True,
    overwrite: bool = False,
    executor: str | Workplace = HERE,
) -> Robustness:
    """Scores a run's test images as they are and changed, and compares image by image.

    The images are read once; each change costs one pass through the model. Labels, patients and thresholds are the
    run's own.

    Args:
        run: The run or its folder.
        table: Image table that says where the run's test images are; it may hold others.
        images: About how many test images to use where there are more: whole patients are drawn at random. None takes
            all.
        perturbations: The changes, or a single one.
        store: Images decoded before; None reads the files at `path`.
        batch_size: Images a batch; the recipe's by default.
        margin: Loss of AUROC from which on a change matters, in (0, 1); state it before looking. A statistic has "held"
            where the interval of its difference excludes such a loss and, for the AUROC, enough patients stand behind
            it (see `PerturbationEffect.verdict`). A model that separates nothing has nothing to lose: "held" then says
            nothing.
        operating_margin: Loss of sensitivity or specificity at the frozen threshold from which on a change matters, in
            (0, 1). The verdict on a change is the worse of those on ranking and on the operating point
            (`PerturbationEffect.leading`).
        seed: Of the draw of patients and of the noise; a whole number from 0.
        keep: Whether the result becomes the run's ``robustness.json``, from which its report tells.
        overwrite: Whether an earlier measurement of the run may be replaced.
        executor: Where images are changed and scored: "ray" (a cluster, see `parallel.Workplace`), or here.

    Returns:
        The measurement.

    Raises:
        TypeError: If the table is no pandas DataFrame, or a change no `Perturbation`.
        FileExistsError: If the run has been measured before.
        FileNotFoundError: If test images are not on disk, and no store is given.
        ValueError: If a margin or the seed is out of range, no change or a change twice is given, test images are not
            in the table or twice, or the images as they are do not give the scores that the run has saved.
    """
    place = place_of(executor)
    run = run if isinstance(run, Run) else Run.load(run)
    changes = _changes(perturbations)
    names = [entry.name for entry in changes]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{len(names)} changes with {len(set(names))} names; give at least one, and each once.")
    margin = probability(margin, "margin", open_interval=True)
    operating_margin = probability(operating_margin, "operating_margin", open_interval=True)
    seed = positive_int(seed, "seed", least=0)
    if keep:
        refuse_second(run, ROBUSTNESS, overwrite)
    saved = run.scores(_PART)
    chosen = draw_patients(saved, images, seed)
    rows = rows_of(chosen["image_id"], table)
    if store is None:
        require_on_disk(rows)
    saved_here = saved[saved["image_id"].isin(set(chosen["image_id"]))]
    model, targets = run.load_model(), run.recipe.targets
    if store is not None:
        store.require_size(model.input_shape[1])
    size = run.recipe.batch_size if batch_size is None else positive_int(batch_size, "batch_size")
    novelty = run.novelty
    ids, scores, single, unlike = _scored(_ScoredBy(model, changes, size, seed, novelty), rows, store, place)
    tables = [_with_scores(saved_here, targets, ids, found) for found in scores]
    as_is, changed = tables[0], dict(zip(names, tables[1:], strict=True))
    total = saved["image_id"].nunique()
    sampled = (_SAMPLED.format(n=len(ids), total=total, seed=seed),) if len(ids) < total else ()
    measured = Robustness(
        split=_PART,
        scores_fingerprint=scores_fingerprint(saved),
        image_size=int(model.input_shape[1]),
        n_images=len(ids),
        n_patients=int(chosen["patient_id"].nunique()),
        n_images_in_part=int(total),
        seed=seed,
        repeat_difference=_repeated(as_is, saved_here),
        single_difference=float(np.abs(single - scores[0][: len(single)]).max()),
        single_images=len(single),
        margin=margin,
        effects=perturbation_effects(
            as_is,
            changed,
            groups={entry.name: entry.group for entry in changes},
            points=run.operating_points,
            margin=margin,
            operating_margin=operating_margin,
            unlike=_unlike(unlike, ids, names, saved_here) if novelty and not np.isnan(novelty.threshold) else None,
        ),
        cautions=(*run.cautions, *sampled),
        provenance=provenance.collect(),
        thresholds={point.finding: point.threshold for point in run.operating_points},
    )
    if keep:
        measured.save(run.folder / ROBUSTNESS)
    return measured


def _changes(perturbations: Perturbation | Iterable[Perturbation]) -> tuple[Perturbation, ...]:
    changes = (perturbations,) if isinstance(perturbations, Perturbation) else tuple(perturbations)
    for entry in changes:
        if not isinstance(entry, Perturbation):
            raise TypeError(f"perturbations holds {entry!r}; give Perturbation objects, or perturbations_of(group).")
    return changes


class _ScoredBy(NamedTuple):
    """What scores the images, and how."""

    model: keras.Model
    changes: tuple[Perturbation, ...]
    batch_size: int
    seed: int
    novelty: Novelty | None


def _scored(
    by: _ScoredBy, rows: pd.DataFrame, store: Store | None, place: Workplace
) -> tuple[list[str], "list[NDArray[np.float64]]", "NDArray[np.float64]", list[list[bool]]]:
    """Returns image ids, the scores of the images as they are and after each change, and of some images one by one.

    And, where the run can tell, which images are unlike the training images, as they are and after each change.
    """
    scores: list[list[Any]] = [[] for _ in range(len(by.changes) + 1)]
    single: list[Any] = []
    unlike: list[list[bool]] = [[] for _ in scores]
    # How many images of each batch are scored one by one, too.
    steps = range(0, len(rows), by.batch_size)
    alone = [max(0, min(by.batch_size, _SINGLE - start, len(rows) - start)) for start in steps]
    computed = computed_by_batch(
        _scored_in_changes, by, rows, alone,
        image_size=by.model.input_shape[1], batch_size=by.batch_size, store=store, place=place,
    )  # fmt: skip
    with contextlib.closing(computed):
        for found in track(computed, f"scoring images in {len(by.changes)} changes", total=len(alone)):
            for number, (of_batch, flagged, alone_too) in enumerate(found):
                scores[number].append(of_batch)
                unlike[number] += flagged
                single += alone_too
    every = [np.concatenate(found).astype(np.float64) for found in scores]
    return rows["image_id"].astype(str).tolist(), every, np.concatenate(single).astype(float), unlike


def _scored_in_changes(
    by: _ScoredBy, pixels: Any, ids: list[str], alone: int
) -> Iterator[tuple[np.ndarray, list[bool], list[np.ndarray]]]:
    """Yields scores of a batch, what is unlike the training images, and scores of single images: as is, then changed.

    Images are scored one by one as they are only.
    """
    images = np.asarray(pixels)
    for number, variant in enumerate(_variants(images, ids, by.changes, by.seed)):
        flagged = by.novelty.unlike(by.novelty.of(layouts_of(variant))).tolist() if by.novelty is not None else []
        single = [predict_padded(by.model, images[n : n + 1], 1)[0] for n in range(0 if number else alone)]
        yield predict_padded(by.model, variant, by.batch_size)[0], flagged, single


def _unlike(
    unlike: list[list[bool]], ids: Sequence[str], names: Sequence[str], saved: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Returns by the name of each change which images are unlike the training images, with their patients."""
    patients = saved.drop_duplicates("image_id").set_index("image_id")["patient_id"].loc[list(ids)].to_numpy()
    changed = zip(names, unlike[1:], strict=True)
    return {name: pd.DataFrame({"patient_id": patients, "unlike": found}) for name, found in changed}


def _variants(
    images: np.ndarray, ids: Sequence[str], perturbations: Sequence[Perturbation], seed: int
) -> Iterator[np.ndarray]:
    yield images
    for entry in perturbations:
        changed = [entry.apply(image[..., 0], name, seed) for image, name in zip(images, ids, strict=True)]
        yield np.stack(changed)[..., np.newaxis]


def _with_scores(
    saved: pd.DataFrame, targets: tuple[str, ...], ids: Sequence[str], scores: "NDArray[np.float64]"
) -> pd.DataFrame:
    """Returns the saved rows with other scores, found by image and finding."""
    found = pd.DataFrame(scores, index=pd.Index(ids), columns=list(targets)).stack()
    keys = pd.MultiIndex.from_frame(saved[["image_id", "finding"]])
    return saved.assign(score=found.loc[keys].to_numpy())


def _repeated(as_is: pd.DataFrame, saved: pd.DataFrame) -> float:
    """Returns how far scores lie from the saved ones, if it is no farther than rounding can explain."""
    apart = (as_is["score"] - saved["score"]).abs().to_numpy()
    if not apart.max() <= _SAME_SCORE:
        worst = saved.iloc[apart.argmax()]
        raise ValueError(
            f"the images as they are do not give the scores that the run saved: {worst['image_id']} scored "
            f"{worst['score']:.3f} for {worst['finding']} and now {as_is['score'].iloc[apart.argmax()]:.3f}. Are these "
            "the images that the run was tested on?"
        )
    return float(apart.max())
