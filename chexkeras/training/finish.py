"""What a training leaves in its run folder besides the model: scores, thresholds, evaluation, data, provenance.

How bright the training images are with and without a finding: a run keeps it, since it keeps no image.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras import files, provenance
from chexkeras.data.audit.audit import Audit
from chexkeras.data.audit.fingerprints import Fingerprints, FingerprintsTaken
from chexkeras.data.image_table import source_of
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.resolution import source_resolution
from chexkeras.data.splits.splits import PARTS, Splits
from chexkeras.data.splits.splitters import lacking_classes
from chexkeras.data.store.store import Store
from chexkeras.evaluation.clinical_use.abstention import with_bands
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.group_columns import columns_to_measure
from chexkeras.evaluation.scores import read_scores, write_scores
from chexkeras.evaluation.thresholds import STATED, choose_thresholds
from chexkeras.inference.novelty import learn_novelty
from chexkeras.inference.shortcuts import against_shortcuts, thumbnails_of, write_study, write_thumbnails
from chexkeras.models.class_weights import imbalance_record
from chexkeras.models.classifier import resolve_precision
from chexkeras.models.losses import LOSSES
from chexkeras.models.registry import GIVEN
from chexkeras.models.scoring import predict_scores, scores_table
from chexkeras.models.three_way import for_inference
from chexkeras.models.weights import opening
from chexkeras.models.weights.seen import Overlap, overlap_of_record
from chexkeras.models.weights.sources import WEIGHTS
from chexkeras.recipes.recipe import Recipe
from chexkeras.results import Novelty, OperatingPoint
from chexkeras.runs.run import FINGERPRINTS, NOVELTY
from chexkeras.training.frozen.plan import FeaturePlan
from chexkeras.training.loop import Fitted
from chexkeras.training.memory import halving

INTENSITIES_FILE = "intensities.json"
_SCORED_TWICE = 16
_BINS = 64
_MOST = 100


def intensities(
    table: pd.DataFrame, targets: tuple[str, ...], *, image_size: int, store: Store | None = None, seed: int = 0
) -> dict[str, Any]:
    """Returns the mean gray-level histogram of the images with each finding and of those without it.

    At most 100 images of each group are opened, drawn at random, always the same ones for one seed. Gray levels are
    those the classifier sees.

    Args:
        table: Image table of the training part.
        targets: Findings in output order.
        image_size: Height and width of the model's images, pixels.
        store: Images decoded before; None reads the files.
        seed: Decides which images are drawn.

    Returns:
        For each finding "bins" (65 edges, 0 to 256), "positive" and "negative" (64 shares of an image's pixels, which
        sum to 1; None where there is no such image), and how many images each is the mean of.
    """
    drawn = {name: _drawn(table, name, seed) for name in targets}
    wanted = pd.concat([rows for groups in drawn.values() for rows in groups.values()])
    wanted = wanted.drop_duplicates("image_id")
    shares = _shares(wanted, image_size, store) if len(wanted) else {}
    edges = np.linspace(0, 256, _BINS + 1).tolist()
    found = {}
    for name, groups in drawn.items():
        entry: dict[str, Any] = {"bins": edges}
        for group, rows in groups.items():
            each = [shares[image_id] for image_id in rows["image_id"].astype(str)]
            entry[group] = np.mean(each, axis=0).tolist() if each else None
            entry[f"n_{group}"] = len(each)
        of = {group: int((table[name] == label).sum()) for label, group in ((1.0, "positive"), (0.0, "negative"))}
        entry["n_note"] = (
            f"of {of['positive']:,} training images with {name} and {of['negative']:,} without, at most {_MOST} of each"
        )
        found[name] = entry
    return found


def _drawn(table: pd.DataFrame, name: str, seed: int) -> dict[str, pd.DataFrame]:
    groups = {}
    for label, group in ((1.0, "positive"), (0.0, "negative")):
        rows = table[table[name] == label].drop_duplicates("image_id")
        groups[group] = rows.sample(min(_MOST, len(rows)), random_state=seed)
    return groups


def _shares(table: pd.DataFrame, image_size: int, store: Store | None) -> dict[str, np.ndarray]:
    """Returns each image's share of pixels per gray band, by image id."""
    found = {}
    for pixels, ids in images_with_ids(table, image_size=image_size, store=store):
        for image, image_id in zip(pixels.numpy(), ids.numpy(), strict=True):
            counts, _ = np.histogram(image, _BINS, (0, 256))
            found[image_id.decode()] = counts / image.size
    return found


UNTRAINED_CAUTION = (
    "Untrained backbone: the frozen convolutions keep random weights, so the results show that the software works, "
    "not what pretrained weights reach."
)


GIVEN_WEIGHTS_CAUTION = (
    "The backbone is a Keras model that was given with its weights: which images these were trained on is not known, "
    "and the images measured here may be among them."
)


def rehearse_operating_points(recipe: Recipe, validation: pd.DataFrame) -> None:
    """Chooses the operating points once for a perfect classifier: what fails here would fail after training.

    Args:
        recipe: The recipe.
        validation: Image table of the validation part.

    Raises:
        ValueError: If they cannot be chosen from so few images.
    """
    perfect = validation[list(recipe.targets)].fillna(0.0).to_numpy()
    scores = scores_table(validation, recipe.targets, validation["image_id"].tolist(), perfect)
    operating_points(recipe, scores)


def operating_points(recipe: Recipe, scores: pd.DataFrame) -> tuple[OperatingPoint, ...]:
    """Returns the recipe's operating point of every target, chosen on the validation scores.

    Args:
        recipe: The recipe.
        scores: Long table of validation scores.
    """
    spec = recipe.operating_point
    points = choose_thresholds(scores, recipe.targets, rule=spec.rule, target=spec.target)
    return with_bands(scores, points, spec.abstain_share, spec.abstain_accuracy)


def all_cautions(recipe: Recipe, splits: Splits, further: Sequence[str]) -> list[str]:
    """Returns the sentences to show beside every number: the data's, the recipe's, the split's and the caller's."""
    shown = list(source_of(splits.train).cautions)
    if recipe.weights is None and all(stage.trainable != 1.0 for stage in recipe.stages):
        shown.append(UNTRAINED_CAUTION)
    if recipe.weights == GIVEN and recipe.stages:
        shown.append(GIVEN_WEIGHTS_CAUTION)
    seen = weights_overlap(recipe, splits)
    if seen is not None:
        shown.append(seen.caution)
    if splits.leaky:
        shown.append(splits.description)
    for lacking in lacking_classes(splits, recipe.targets):
        what, rate = ("negative", "specificity") if lacking.positive else ("positive", "sensitivity")
        then = f"its AUROC and {rate} cannot be measured"
        if lacking.part == "validation":
            then = f"its threshold, {STATED}, is stated, not chosen"
        shown.append(f"{lacking.target} has no {what} image in {lacking.part}: {then}.")
    return list(dict.fromkeys([*shown, *further]))


@dataclass(frozen=True)
class FinishedTraining:
    """A training at its end: all that is written of it besides the model.

    Attributes:
        recipe: The recipe.
        splits: The split.
        audit: The audit of the images.
        loss: The loss it was trained with.
        fitted: What fitting left behind.
        cautions: From `all_cautions`.
        store: The store the images are read from; None for files.
        further: What else the provenance says.
    """

    recipe: Recipe
    splits: Splits
    audit: Audit
    loss: keras.losses.Loss
    fitted: Fitted
    cautions: tuple[str, ...]
    store: Store | None
    further: dict[str, Any]

    @functools.cached_property
    def novelty(self) -> Novelty | None:
        """What the training images look like, learnt once however many epochs are kept."""
        return learn_novelty(self.splits, self.recipe.image_size, self.store, seed=self.recipe.seed)

    @functools.cached_property
    def looked_at(self) -> tuple[dict[str, np.ndarray], Fingerprints]:
        """Thumbnails by image id, and the fingerprints of all images, read once however many epochs are kept."""
        return look_at(self.splits, self.recipe.image_size, self.store)

    @property
    def thumbnails(self) -> tuple[np.ndarray, ...]:
        """Thumbnails of the training and of the test images."""
        parts, seen = (self.splits.train, self.splits.test), self.looked_at[0]
        return tuple(np.stack([seen[name] for name in part["image_id"].astype(str)]) for part in parts)


def write_run(model: keras.Model, ended: FinishedTraining, folder: Path, number: int | None = None) -> None:
    """Writes all files of a run, the model before anything that may fail.

    Args:
        model: The classifier with the weights to keep.
        ended: What is known besides.
        folder: Where to.
        number: The epoch that the weights are of; None for the best one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder)
    recipe, fitted = ended.recipe, ended.fitted
    write_results(model, recipe, ended.splits, folder, ended.cautions, ended.store)
    novelty = write_novelty(ended.novelty, folder)
    parts = (ended.splits.train, ended.splits.test)
    scores = read_scores(folder / "scores_test.csv")
    study, scored = against_shortcuts(*parts, scores, recipe.targets, ended.cautions, ended.thumbnails)
    write_study(folder, study, scored)
    write_thumbnails(folder, ended.splits.train, recipe.targets, ended.thumbnails[0])
    write_data(ended.splits, ended.audit, folder)
    files.write_csv(folder / "history.csv", pd.DataFrame(fitted.history))
    files.write_json(folder / "stages.json", fitted.stages)
    recipe.save(folder / "recipe.json")
    record = provenance_record(model, recipe, ended.splits, ended.loss, fitted, ended.cautions)
    record |= novelty | write_fingerprints(ended.looked_at[1], folder)
    record["model"]["sha256"] = files.sha256_file(folder / "model.keras")
    if number is not None:
        row = fitted.history[number - 1]
        record["best"] = {"stage": row["stage"], "epoch": row["epoch"], "rank": fitted.kept.index(number) + 1}
    files.write_json(folder / "provenance.json", {**record, **ended.further})


def write_lean_run(model: keras.Model, ended: FinishedTraining, folder: Path, plan: FeaturePlan | None) -> None:
    """Writes a run that is one of many on the same images: what is of the model, not what says more of the images.

    Validation and test images are scored from stored features where there are any, and the provenance says how far the
    whole network's scores of a few of them are from those. A run without test images has no evaluation.

    Args:
        model: The classifier with the weights to keep.
        ended: What is known besides.
        folder: Where to.
        plan: The stored features it was trained on; None scores the images themselves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder)
    recipe, splits, fitted = ended.recipe, ended.splits, ended.fitted
    scored, apart = {}, {}
    for part in ("validation", "test"):
        images = splits.part(part)
        if not len(images):
            continue
        found = plan.predict(model, part) if plan is not None else None
        if found is None:
            scored[part], _ = _scored(model, recipe, images, part, recipe.batch_size, ended.store)
            continue
        ids = images["image_id"].astype(str).tolist()
        scored[part] = scores_table(images, recipe.targets, ids, np.clip(found.astype(np.float64), 0, 1))
        few = images.iloc[np.linspace(0, len(images) - 1, min(_SCORED_TWICE, len(images))).astype(int)]
        whole = predict_scores(model, few, recipe.targets, store=ended.store).set_index(["image_id", "finding"])
        stored = scored[part].set_index(["image_id", "finding"])["score"].loc[whole.index]
        apart[part] = {"images": len(few), "largest_difference": float((stored - whole["score"]).abs().max())}
    for part, scores in scored.items():
        write_scores(folder / f"scores_{part}.csv", scores)
    points = operating_points(recipe, scored["validation"])
    files.write_json(folder / "operating_points.json", [point.to_dict() for point in points])
    if "test" in scored:
        evaluate(scored["test"], points, cautions=ended.cautions).save(folder / "evaluation.json")
    write_data(splits, ended.audit, folder)
    files.write_csv(folder / "history.csv", pd.DataFrame(fitted.history))
    files.write_json(folder / "stages.json", fitted.stages)
    recipe.save(folder / "recipe.json")
    record = provenance_record(model, recipe, splits, ended.loss, fitted, ended.cautions)
    record["model"]["sha256"] = files.sha256_file(folder / "model.keras")
    if apart:
        record["scored_from_features"] = apart
    files.write_json(folder / "provenance.json", {**record, **ended.further})


def save_model(model: keras.Model, folder: Path) -> None:
    """Writes the model's file, for inference: Keras opens it without chexkeras, unless a layer of it is our own.

    Our own are those that a model may begin with: `models.clahe`, `models.exposure`.

    Args:
        model: The classifier.
        folder: Where to.
    """
    # A model of the same layers that was never compiled: without the loss and the optimizer's state, which checkpoints
    # keep while a training is under way.
    with files.replacing(folder / "model.keras") as temporary:
        # Half a model, where the disk is full, would be kept as one.
        plain = for_inference(model)
        keras.Model(plain.inputs, plain.outputs, name=model.name).save(temporary)


def write_results(
    model: keras.Model, recipe: Recipe, splits: Splits, working: Path, cautions: Sequence[str], store: Store | None
) -> None:
    """Scores validation and test, chooses the operating points on the former and measures them on the latter.

    Keeps how bright the training images are, too.

    Args:
        model: The trained classifier.
        recipe: The recipe.
        splits: The split.
        working: Folder to write to.
        cautions: From `all_cautions`.
        store: The store the images are read from; None reads their files.
    """
    scored, size = {}, recipe.batch_size
    for part in ("validation", "test"):
        scored[part], size = _scored(model, recipe, splits.part(part), part, size, store)
        write_scores(working / f"scores_{part}.csv", scored[part])
    points = operating_points(recipe, scored["validation"])
    files.write_json(working / "operating_points.json", [point.to_dict() for point in points])
    subgroups = columns_to_measure(splits.test, source_of(splits.test).group_columns)
    measured = evaluate(scored["test"], points, cautions=cautions, table=splits.test, subgroups=subgroups)
    measured.save(working / "evaluation.json")
    shown = intensities(splits.train, recipe.targets, image_size=recipe.image_size, store=store, seed=recipe.seed)
    files.write_json(working / INTENSITIES_FILE, shown)


def _scored(
    model: keras.Model, recipe: Recipe, images: pd.DataFrame, part: str, size: int, store: Store | None
) -> tuple[pd.DataFrame, int]:
    """Returns the scores of a part and how many images at a time memory sufficed for."""

    def score(batch_size: int) -> pd.DataFrame:
        return predict_scores(model, images, recipe.targets, batch_size=batch_size, store=store)

    return halving(score, size, f"scoring the {part} images")


def write_novelty(novelty: Novelty | None, working: Path) -> dict[str, Any]:
    """Writes what training images look like, and returns what the provenance says of the file.

    Args:
        novelty: From `inference.novelty.learn_novelty`; None writes nothing.
        working: Folder to write to.
    """
    if novelty is None:
        return {}
    return {"novelty": {"sha256": files.sha256_file(novelty.save(working / NOVELTY))}}


def look_at(splits: Splits, image_size: int, store: Store | None) -> tuple[dict[str, np.ndarray], Fingerprints]:
    """Returns thumbnails by image id, and fingerprints, of the images of all parts, each of them read once.

    Args:
        splits: The split.
        image_size: Height and width of the model's images, pixels.
        store: Images decoded before; None reads the files at `path`.
    """
    every = pd.concat([splits.part(name) for name in PARTS])
    taken = FingerprintsTaken()
    seen = thumbnails_of(every, image_size, store, beside=taken)
    return seen, taken.of(every["image_id"].astype(str).tolist())


def write_fingerprints(found: Fingerprints, working: Path) -> dict[str, Any]:
    """Writes the fingerprints of a run's images, and returns what the provenance says of the file.

    Args:
        found: Of the images of all parts.
        working: Folder to write to.
    """
    files.write_csv(working / FINGERPRINTS, found.to_frame())
    return {"fingerprints": {"sha256": files.sha256_file(working / FINGERPRINTS)}}


def write_data(splits: Splits, audit: Audit, working: Path) -> None:
    """Writes the image table without paths, the split, what was left out, and the audit.

    Args:
        splits: The split.
        audit: The audit of the images.
        working: Folder to write to.
    """
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    table = pd.concat([part.drop(columns="path", errors="ignore").assign(part=name) for name, part in parts.items()])
    files.write_csv(working / "table.csv", table)
    splits.save(working / "splits.csv")
    left_out = list(source_of(splits.train).left_out)
    files.write_csv(working / "left_out.csv", pd.DataFrame(left_out, columns=["image_id", "reason"]))
    files.write_json(working / "audit.json", audit.to_dict())


def weights_record(recipe: Recipe) -> dict[str, Any]:
    """Returns where the weights come from that training starts with.

    Args:
        recipe: The recipe.

    Raises:
        ValueError: If their file is missing or is no weights.
    """
    if recipe.weights is None:
        return {"origin": f"untrained, seed {recipe.seed}"}
    if recipe.weights == GIVEN:
        return {"origin": "given with the Keras model that is the backbone"}
    found = opening.find(recipe.backbone, recipe.weights, recipe.weights_file)
    if found is not None:
        return found.record()
    return {"origin": "ImageNet"} if recipe.weights == "imagenet" else WEIGHTS[recipe.weights].record()


def weights_overlap(recipe: Recipe, splits: Splits) -> Overlap | None:
    """Returns what is to be said where the weights have seen images that are measured here; None where they have not.

    Args:
        recipe: The recipe.
        splits: The split.
    """
    source = source_of(splits.train)
    record = weights_record(recipe)
    return overlap_of_record(record, source.dataset, synthetic=source.synthetic, split=splits.kind)


def _weights_with_overlap(recipe: Recipe, splits: Splits) -> dict[str, Any]:
    seen = weights_overlap(recipe, splits)
    return weights_record(recipe) | ({"seen_here": seen.part} if seen is not None else {})


def provenance_record(
    model: keras.Model,
    recipe: Recipe,
    splits: Splits,
    loss: keras.losses.Loss,
    fitted: Fitted,
    cautions: Sequence[str],
) -> dict[str, Any]:
    """Returns what a run records of its origin: data, split, weights, loss, precision, batches, versions.

    Args:
        model: The trained classifier.
        recipe: The recipe.
        splits: The split.
        loss: The loss it was trained with.
        fitted: What fitting left behind.
        cautions: From `all_cautions`.
    """
    weighed = recipe.loss.class_weights if LOSSES[recipe.loss.name].class_weights else "none"
    return {
        **provenance.collect(),
        "source": source_of(splits.train).to_dict(),
        "split": splits.to_dict(),
        "weights": _weights_with_overlap(recipe, splits),
        # What was given is recorded with all of its configuration, under "given".
        "loss": {"name": loss.name} if recipe.loss.name == GIVEN else loss.get_config(),
        "imbalance": imbalance_record(
            splits.training_rows, recipe.targets, weighed, splits.factors, recipe.balanced_batches
        ),
        "resolution": resolution_record(recipe, splits),
        "precision": resolve_precision(recipe.precision),
        "batch_size": batch_record(recipe, fitted),
        "best": {"stage": fitted.best_stage, "epoch": fitted.best_epoch},
        "model": {"name": model.name, "parameters": model.count_params()},
        "cautions": list(cautions),
    }


def resolution_record(recipe: Recipe, splits: Splits) -> dict[str, Any] | None:
    """Returns how many pixels the files of the training part have; None where none is at hand.

    Args:
        recipe: The recipe.
        splits: The split.
    """
    found = source_resolution(splits.train, recipe.image_size, seed=recipe.seed)
    return None if found is None else found.to_dict()


def batch_record(recipe: Recipe, fitted: Fitted) -> dict[str, Any]:
    """Returns the batch size that was asked for and, by stage, what it was computed in: "8 x 4" is four times 8 images.

    Args:
        recipe: The recipe.
        fitted: What fitting left behind.
    """
    asked = recipe.batch_size
    used = {
        stage: str(asked) if images == asked else f"{images} x {-(-asked // images)}"
        for stage, images in fitted.images_at_a_time.items()
    }
    return {"asked": asked, "used": used}
