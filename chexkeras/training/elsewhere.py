"""A model that was trained elsewhere, measured as a run, and what is not known of it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from chexkeras import files, provenance
from chexkeras.arguments import checked
from chexkeras.checks import existing_file, one_of, positive_int, typed_path
from chexkeras.data.audit.audit import Audit
from chexkeras.data.audit.audit import audit as audit_images
from chexkeras.data.image_table import refuse_dicom, resolve_targets, source_of
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.splits.splits import Splits
from chexkeras.data.splits.splitters import check_classes
from chexkeras.data.store.store import Store
from chexkeras.inference.novelty import learn_novelty
from chexkeras.models import given
from chexkeras.models.registry import GIVEN
from chexkeras.models.stored.model_file import load_model
from chexkeras.progress import say
from chexkeras.recipes.loss import Loss
from chexkeras.recipes.recipe import Recipe, ThresholdRule
from chexkeras.runs import writer
from chexkeras.runs.run import Run
from chexkeras.training import finish

_HISTORY = ("stage", "epoch", "global_epoch", "loss", "val_loss", "val_auroc", "learning_rate", "seconds")
_TRIAL_IMAGES = 16
SEEN = {
    "unknown": (
        "Trained elsewhere: which images it has seen is not known, and the images measured here may be among them "
        "(leak possible); its results on new patients can be worse."
    ),
    "training": "",
    "training and validation": (
        "Trained elsewhere, as was stated on the training and the validation part: its thresholds were chosen on "
        "images that it has seen."
    ),
    "none": "",
}
"""What may be stated of the images that a model was trained on, and the caution that follows from it."""
_STATED = {
    "training": "stated: trained on exactly the training part of this split",
    "training and validation": "stated: trained on the training and the validation part of this split",
    "none": "stated: trained on none of the patients of this table",
    "unknown": "not known",
}


@checked
def run_from_model(
    model: keras.Model | str | Path,
    splits: Splits,
    run_dir: str | Path,
    *,
    input_range: tuple[float, float] | str,
    targets: str | Sequence[str] | None = None,
    image_size: int | None = None,
    seen: str = "unknown",
    operating_point: ThresholdRule | None = None,
    name: str = "",
    audit: Audit | None = None,
    cautions: Sequence[str] = (),
    overwrite: bool = False,
    store: Store | None = None,
    batch_size: int = 32,
) -> Run:
    """Measures a model that was trained elsewhere, and writes a run of it, as `train` does of its own.

    The thresholds are chosen on validation and frozen; the test part is measured once. The run's model takes raw gray
    pixels, 0 to 255: what the given one expects is put in front of it, as layers that are saved along, so that DICOM
    scoring, robustness, heat maps and the report work as they do for every run.

    Args:
        model: A fitted Keras model from images (batch, side, side, 1 or 3) to one probability for each finding, or its
            ``.keras`` file, which is looked into before it is opened. It is left as it is.
        splits: Which image belongs to which part.
        run_dir: Folder to write.
        input_range: What was done to the pixels that it was trained on, and is not done by its own layers: the values
            of black and white, such as (0, 1), (-1, 1) or, for none, (0, 255); or, with three channels, "imagenet"
            (ImageNet's channel means taken off, divided by its deviations) or "caffe" (its means taken off, blue
            first). It is never guessed.
        targets: The findings, in the order of its outputs; None takes those that the split was stratified over.
        image_size: Height and width of its images in pixels, where the model takes any.
        seen: Which of the images it was trained on, as far as you know: "training", exactly the training part of
            `splits`; "training and validation"; "none" of the patients in the table; or "unknown", of which a caution
            beside every number says that results may be of images it was trained on.
        operating_point: How the thresholds are chosen; None takes the rule of recipes, a sensitivity of 0.8.
        name: What the run is called; "" takes the model's name.
        audit: An audit of the images made before; None makes one now.
        cautions: Further sentences to show beside every number of the run.
        overwrite: Whether a run of the same name may be replaced.
        store: Images decoded before (`cx.prepare`); the files at `path` are then not opened.
        batch_size: Images scored at a time.

    Returns:
        The run. Its recipe names the model's parts "given", and has no stages; `Run.history` is empty.

    Raises:
        TypeError: If `model` is neither a Keras model nor a path.
        FileNotFoundError: If there is no such file.
        FileExistsError: If the folder is taken.
        ValueError: If the model's input or output is of another shape, its outputs are no probabilities or the same for
            all images, it holds layers that could not be loaded again, its file is not opened, the thresholds cannot be
            chosen, or an argument is out of range.
    """
    one_of(seen, SEEN, "seen")
    writer.clear_abandoned(run_dir)
    folder = writer.check_free(run_dir, overwrite)
    positive_int(batch_size, "batch_size")
    loaded, origin = _model(model)
    names = resolve_targets(splits.table, splits.targets if targets is None else targets)
    check_classes(splits, names)
    classifier, recorded = _classifier(loaded, names, input_range, image_size)
    recipe = Recipe(
        name or loaded.name,
        names,
        image_size=int(classifier.input_shape[1]),
        backbone=GIVEN,
        weights=GIVEN,
        head=GIVEN,
        loss=Loss(GIVEN),
        stages=(),
        batch_size=batch_size,
        precision=_precision(classifier),
        operating_point=operating_point or ThresholdRule(),
    )
    finish.rehearse_operating_points(recipe, splits.validation)
    if store is None:
        refuse_dicom(splits.table)
    else:
        store.require_size(recipe.image_size)
        store.rows(splits.table["image_id"])
    _try(classifier, names, splits, recipe, store)
    if audit is None:
        parts = pd.concat([splits.train, splits.validation, splits.test])
        audit = audit_images(parts, splits, decode=store is None)
        for line in audit.suspicions:
            say(line)
    shown = finish.all_cautions(recipe, splits, [*filter(None, [SEEN[seen]]), *cautions])
    with writer.writing(folder) as working:
        finish.save_model(classifier, working)
        finish.write_results(classifier, recipe, splits, working, shown, store)
        finish.write_data(splits, audit, working)
        novelty = finish.write_novelty(learn_novelty(splits, recipe.image_size, store, seed=recipe.seed), working)
        fingerprints = finish.write_fingerprints(finish.look_at(splits, recipe.image_size, store)[1], working)
        files.write_csv(working / "history.csv", pd.DataFrame(columns=list(_HISTORY)))
        files.write_json(working / "stages.json", [])
        recipe.save(working / "recipe.json")
        record = {
            **provenance.collect(),
            "source": source_of(splits.train).to_dict(),
            "split": splits.to_dict(),
            "weights": {"origin": f"trained elsewhere; seen in training: {_STATED[seen]}"},
            "given": {"model": {**recorded, "origin": origin, "seen": seen}},
            "resolution": finish.resolution_record(recipe, splits),
            "precision": recipe.precision,
            "best": {},
            "model": {
                "name": classifier.name,
                "parameters": classifier.count_params(),
                "sha256": files.sha256_file(working / writer.MODEL),
            },
            "store": store.fingerprint if store is not None else None,
            "cautions": list(shown),
            **novelty,
            **fingerprints,
        }
        files.write_json(working / "provenance.json", record)
    return Run.load(run_dir)


def _model(model: Any) -> tuple[keras.Model, dict[str, Any]]:
    """Returns the model, and where it is from."""
    if isinstance(model, keras.Model):
        return model, {"kind": "object"}
    if not isinstance(model, (str, Path)):
        raise TypeError(
            f"model is a {type(model).__name__}; a fitted keras.Model, or the path of its .keras file, was expected."
        )
    file = existing_file(typed_path(model, "model"), "model")
    if file.suffix != ".keras":
        raise ValueError(
            f"model={file.name!r} is no .keras file by its name; open it with Keras and save it anew, "
            "model.save('model.keras'), or give the model itself."
        )
    return load_model(file), {"kind": "file", "name": file.name, "sha256": files.sha256_file(file)}


def _classifier(
    model: keras.Model, targets: tuple[str, ...], input_range: Any, image_size: int | None
) -> tuple[keras.Model, dict[str, Any]]:
    """Returns the model as one that takes raw gray pixels, and what is recorded of it."""
    shape = given.input_shape_of(model)
    if shape is None or len(shape) != 3:
        found = "several inputs or none that is known" if shape is None else str(shape)
        raise ValueError(
            f"the model {model.name!r} takes {found}; images "
            "(side, side, 1 or 3) were expected. Build it with keras.Input((side, side, 3)), or wrap it: "
            "keras.Model(pixels, model(pixels))."
        )
    height, width, channels = shape
    side = height if image_size is None else positive_int(image_size, "image_size")
    if side is None or {height, width} - {None, side} or len({height, width}) > 1:
        raise ValueError(
            f"the model {model.name!r} takes images of {height} x {width} pixels and image_size={image_size!r} was "
            "stated; images are square: state image_size where the model takes any, and leave it out where it does not."
        )
    given.check_range(input_range, int(channels or 0))
    given.refuse_open_end(model, "model")
    pixels = keras.Input((side, side, 1), name="pixels", dtype="float32")
    graft = given.Graft(given.names_for_maps(model))
    try:
        output = given.as_float32(graft.add(model, given.prepared(pixels, input_range, int(channels or 0))))
        classifier = keras.Model(pixels, output, name="trained_elsewhere")
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"the model {model.name!r} cannot be copied layer by layer ({type(error).__name__}: {_first(error)}). "
            "Layers of your own need a get_config that holds their arguments; in place of a Lambda take a layer that "
            "Keras knows, such as Rescaling."
        ) from error
    given.check_loadable(classifier, "model")
    _check_copy(model, classifier, input_range, side, int(channels or 0))
    record = {
        "class": type(model).__name__,
        "name": model.name,
        "layers": len(model.layers),
        "input_range": input_range if isinstance(input_range, str) else [float(value) for value in input_range],
        "channels": channels,
    }
    return classifier, record


def _first(error: Exception) -> str:
    """Returns the first sentence of what an error says, as far as a sentence can hold it."""
    told = " ".join(str(error).split())
    return re.split(r"(?<=[.!?])\s", told)[0].rstrip(".")[:200]


def _check_copy(model: keras.Model, classifier: keras.Model, input_range: Any, side: int, channels: int) -> None:
    """Checks that the copy scores as the model does; whatever a layer's configuration leaves out shows here."""
    gray = np.random.default_rng(0).uniform(0, 255, (2, side, side, 1)).astype(np.float32)
    pixels = keras.Input((side, side, 1))
    seen = keras.Model(pixels, given.prepared(pixels, input_range, channels)).predict_on_batch(gray)
    expected, found = model.predict_on_batch(seen), classifier.predict_on_batch(gray)
    if np.shape(expected) != np.shape(found) or not np.allclose(expected, found, atol=1e-3, equal_nan=True):
        raise ValueError(
            f"a copy of the model {model.name!r} made from its configuration and weights does not score as the model "
            "does; a layer keeps something that is in neither. Give such layers a complete get_config."
        )


def _try(
    classifier: keras.Model, targets: tuple[str, ...], splits: Splits, recipe: Recipe, store: Store | None
) -> None:
    """Scores a few validation images, before anything else is done."""
    order = np.random.default_rng(0).permutation(len(splits.validation))[:_TRIAL_IMAGES]
    images = splits.validation.iloc[np.sort(order)]
    batches = images_with_ids(images, image_size=recipe.image_size, batch_size=len(images), store=store)
    scores = np.concatenate([np.asarray(classifier.predict_on_batch(np.asarray(pixels))) for pixels, _ in batches])
    given.check_probabilities(scores, targets, "model")
    same = [name for name, column in zip(targets, scores.T, strict=True) if len(scores) > 1 and np.ptp(column) == 0]
    if same:
        raise ValueError(
            f"the model gives each of {len(scores)} validation images the same score, {scores[0, 0]:.4g}, for "
            f"{', '.join(same)}: is input_range what it was trained on?"
        )


def _precision(model: keras.Model) -> str:
    kinds = {layer.compute_dtype for layer in model.layers}
    return next((f"mixed_{kind}" for kind in ("float16", "bfloat16") if kind in kinds), "float32")
