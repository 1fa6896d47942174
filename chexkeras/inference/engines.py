"""What computes the scores: Keras itself, or an engine that Keras exports to, checked against it when it is loaded.

Another engine is a function that returns `Scores` for a model, and one entry of `ENGINES`.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chexkeras.arguments import checked
from chexkeras.checks import one_of
from chexkeras.phantoms.cohort import make_cohort
from chexkeras.phantoms.render import render
from chexkeras.progress import say

if TYPE_CHECKING:
    # Names of engines are checked before Keras and TensorFlow start, which takes some seconds.
    import keras

Scores = Callable[[np.ndarray, int], np.ndarray]
Outputs = Callable[[np.ndarray, int], list[np.ndarray]]
"""From images and the size of a full batch to one array (n, ...) for each output of a model."""

PRECISIONS = ("float32", "bf16")

FROZEN_ENGINES = ("keras", "openvino", "openvino-bf16", "onnx", "auto")
"""What may compute the frozen part of a network in training, with its precision where that is not float32; "auto" times
those that are installed."""

LARGEST_DIFFERENCE = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 0.05}
"""How far a score of an engine may lie from that of Keras on the images of the check, by the coarser precision of the
two: a model that was trained on a GPU computes in float16 in Keras, and in float32 in an engine."""

_CHECK_IMAGES, _CHECK_SEED, _CHECK_SIZE = 12, 2017, 256

# OpenVINO scores so many images at a time: their feature maps stay in the processor's cache, which is worth 10 to 15 %.
_PIECE = 4


@dataclass(frozen=True, eq=False)
class Engine:
    """What computes the scores of images.

    Attributes:
        name: One of `ENGINES`.
        version: Version of the library that computes.
        precision: "float32" or "bf16"; of Keras, "float32" stands for the precision that the model was trained in.
        largest_difference: Largest difference of a score from that of Keras on the images of the check, at least 0;
            0 for Keras itself.
        score: From float32 images (n, height, width, 1), 0-255, and the size of a full batch to scores (n, n_targets).
    """

    name: str
    version: str
    precision: str
    largest_difference: float
    score: Scores = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name} {self.version}" + (" bf16" if self.precision == "bf16" else "")


@checked
def load_engine(model: "keras.Model", engine: str = "keras", precision: str = "float32") -> Engine:
    """Makes a model ready to be run by an engine, and compares it with Keras on a fixed set of synthetic images.

    The largest difference of a score is printed on standard error.

    Args:
        model: A classifier of `build_classifier`, or one loaded from a run.
        engine: "keras", "openvino" or "onnx"; the last two need the extra of the same name.
        precision: "float32", or "bf16" for OpenVINO on a processor that computes in bfloat16.

    Raises:
        ValueError: If there is no such engine or precision, a package or the processor lacks what it needs, the model
            cannot be exported, or its scores differ from those of Keras by more than `LARGEST_DIFFERENCE` allows.

    Example:
        >>> from chexkeras.models.classifier import build_classifier
        >>> model = build_classifier("Pneumonia", backbone="SmallCNN", weights=None, image_size=32)
        >>> load_engine(model).name
        'keras'
    """
    check_engine(engine, precision)
    reference = keras_engine(model)
    if engine == "keras":
        return reference
    scores = ENGINES[engine].load(model, precision)
    loaded = Engine(engine, _version(engine), precision, _largest_difference(reference.score, scores, model), scores)
    bound = _bound(model, precision)
    found = (
        f"largest difference of a score from Keras on {_CHECK_IMAGES} synthetic images {loaded.largest_difference:.1e}"
    )
    # Also refuses NaN, which is not at most anything.
    if not loaded.largest_difference <= bound:
        raise ValueError(
            f"{loaded} computes other scores than Keras: {found}, at most {bound:g} is allowed. "
            + ("Score with precision='float32'" if precision == "bf16" else "Score with engine='keras'")
            + " (--precision float32 and --engine keras on the command line); the thresholds were chosen on its scores."
        )
    say(f"{loaded}: {found} (at most {bound:g} is allowed)")
    return loaded


def check_engine(engine: str, precision: str = "float32") -> None:
    """Checks the name of an engine, its precision and its packages, before anything expensive.

    Args:
        engine: One of `ENGINES`.
        precision: One of `PRECISIONS`.

    Raises:
        ValueError: If it cannot be used here; says what to install or choose instead.
    """
    one_of(engine, ENGINES, "engine")
    if one_of(precision, PRECISIONS, "precision") not in ENGINES[engine].precisions:
        other = next(name for name, library in ENGINES.items() if precision in library.precisions)
        raise ValueError(
            f"precision={precision!r} is a mode of {other!r}; engine={engine!r} has none. Choose engine={other!r} "
            f"(--engine {other}), or leave the precision out."
        )
    missing = missing_for(engine)
    if missing:
        raise ValueError(
            f"engine={engine!r} needs {' and '.join(missing)}, which is not installed: "
            f"pip install 'chexkeras[{engine}]'."
        )


def keras_engine(model: "keras.Model") -> Engine:
    """Returns Keras itself as the engine of a model."""
    import keras

    return Engine("keras", keras.__version__, "float32", 0.0, _only(keras_outputs(model)))


def keras_outputs(model: "keras.Model") -> Outputs:
    """Returns what runs a model with Keras.

    Args:
        model: A model from images (batch, height, width, 1), with one output or several.
    """
    from chexkeras.models.scoring import predict_padded

    return lambda pixels, batch_size: predict_padded(model, pixels, batch_size)


def check_frozen_engine(name: str) -> None:
    """Checks the name of an engine for what is frozen, and its packages, before anything expensive.

    Args:
        name: One of `FROZEN_ENGINES`.

    Raises:
        ValueError: If there is none of this name, or a package is missing.
    """
    if one_of(name, FROZEN_ENGINES, "frozen_engine") != "auto":
        check_engine(*engine_and_precision(name))


def engine_and_precision(name: str) -> tuple[str, str]:
    """Returns an engine and its precision.

    Args:
        name: One of `FROZEN_ENGINES` but "auto".

    Example:
        >>> engine_and_precision("openvino-bf16")
        ('openvino', 'bf16')
    """
    engine, _, precision = name.partition("-")
    return engine, precision or "float32"


def missing_for(engine: str) -> list[str]:
    """Returns the packages that an engine needs and that are not installed.

    Args:
        engine: One of `ENGINES`.
    """
    return [name for name in ENGINES[engine].needs if importlib.util.find_spec(name) is None]


def version_of(engine: str) -> str:
    """Returns the version of the library behind an engine.

    Args:
        engine: One of `ENGINES`.
    """
    return _version(engine)


def _bound(model: "keras.Model", precision: str) -> float:
    used = {layer.compute_dtype for layer in model.layers} | {"bfloat16" if precision == "bf16" else "float32"}
    return max(bound for name, bound in LARGEST_DIFFERENCE.items() if name in used)


def _version(engine: str) -> str:
    return importlib.metadata.version(ENGINES[engine].distribution)


def _largest_difference(reference: Scores, scores: Scores, model: "keras.Model") -> float:
    images = check_images(model.input_shape[1])
    return float(np.abs(scores(images, len(images)) - reference(images, len(images))).max())


def check_images(image_size: int) -> np.ndarray:
    """Returns the synthetic images on which an engine is compared with Keras, always the same.

    Args:
        image_size: Height and width, pixels.

    Returns:
        float32 array (n, image_size, image_size, 1), whole values 0-255: phantoms with and without findings, then
        noise, black and white, which drive a network harder than any image.
    """
    cohort = make_cohort(_CHECK_IMAGES - 3, _CHECK_SEED)
    drawn = [render(image, _CHECK_SEED, _CHECK_SIZE)[0] for image in cohort]
    noise = np.random.default_rng(_CHECK_SEED).integers(0, 256, drawn[0].shape, dtype=np.uint8)
    images = [*drawn, noise, np.zeros_like(noise), np.full_like(noise, 255)]
    from chexkeras.data.pixels import to_model_pixels

    return np.stack([to_model_pixels(image[..., np.newaxis], image_size).numpy() for image in images]).astype(
        np.float32
    )


def openvino_scores(model: "keras.Model", precision: str = "float32") -> Scores:
    """Returns what scores images with OpenVINO on the processor; see `openvino_outputs`.

    Args:
        model: A classifier.
        precision: "float32", or "bf16", where the processor computes in bfloat16.
    """
    return _only(openvino_outputs(model, precision))


def _only(outputs: Outputs) -> Scores:
    return lambda pixels, batch_size: outputs(pixels, batch_size)[0]


def openvino_outputs(model: "keras.Model", precision: str = "float32") -> Outputs:
    """Returns what runs a model with OpenVINO on the processor.

    Args:
        model: A model from images (batch, height, width, 1), with one output or several.
        precision: "float32", or "bf16", where the processor computes in bfloat16.

    Raises:
        ValueError: If the processor has no bfloat16, or the model cannot be exported.
    """
    openvino = _openvino()
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ValueError(
            "precision='bf16' needs a processor with bfloat16 arithmetic (AVX512-BF16 or AMX), and this one has none; "
            "choose precision='float32' (--precision float32)."
        )
    with tempfile.TemporaryDirectory(prefix="chexkeras-") as folder:
        path = _exported(model, "openvino", Path(folder) / "model.xml")
        # Read as bytes: OpenVINO maps the file of the weights into memory, and the file is about to go.
        graph = core.read_model(model=path.read_bytes(), weights=path.with_suffix(".bin").read_bytes())
    graph.reshape([_PIECE, *model.input_shape[1:]])
    # Stated, because where the processor can, OpenVINO computes in bfloat16 by default.
    hint = "bf16" if precision == "bf16" else "f32"
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT"})

    shapes = [tuple(output.shape[1:]) for output in model.outputs]

    def run(pixels: np.ndarray, batch_size: int) -> list[np.ndarray]:
        del batch_size
        # As many pieces at once as the hint finds best for the processor; each writes to its own place.
        found = [np.empty((len(pixels), *shape), np.float32) for shape in shapes]
        queue = openvino.AsyncInferQueue(compiled)
        queue.set_callback(lambda request, start: _place(found, start, request))
        for start in range(0, len(pixels), _PIECE):
            queue.start_async(_filled(pixels[start : start + _PIECE], _PIECE), start)
        queue.wait_all()
        return found

    return run


def _place(arrays: list[np.ndarray], start: int, request: Any) -> None:
    for index, array in enumerate(arrays):
        array[start : start + _PIECE] = request.get_output_tensor(index).data[: len(array) - start]


def _openvino() -> ModuleType:
    """Imports OpenVINO without its telemetry, which reports each import and conversion to Google Analytics.

    It sends unless somebody has opted out, and writes an identifier into the home folder; OpenVINO does without it
    where its package is missing, which is what it is made to believe.

    Source:
        https://docs.openvino.ai/2026/about-openvino/additional-resources/telemetry.html
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def onnx_scores(model: "keras.Model") -> Scores:
    """Returns what scores images with ONNX Runtime on the processor; see `onnx_outputs`.

    Args:
        model: A classifier.
    """
    return _only(onnx_outputs(model))


def onnx_outputs(model: "keras.Model") -> Outputs:
    """Returns what runs a model with ONNX Runtime on the processor.

    Args:
        model: A model from images (batch, height, width, 1), with one output or several.

    Raises:
        ValueError: If the model cannot be exported.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="chexkeras-") as folder:
        content = _exported(model, "onnx", Path(folder) / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())

    def run(pixels: np.ndarray, batch_size: int) -> list[np.ndarray]:
        found = session.run(None, {name: _filled(pixels, batch_size)})
        return [np.asarray(output, dtype=np.float32)[: len(pixels)] for output in found]

    return run


def _filled(pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns images filled up with black ones to a full batch, for which the engine's kernels are prepared already."""
    missing = max(batch_size - len(pixels), 0)
    return np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)]) if missing else pixels


def _exported(model: "keras.Model", form: str, path: Path) -> Path:
    import keras

    try:
        with warnings.catch_warnings():
            # The converters' own, on names that numpy will change.
            warnings.simplefilter("ignore", FutureWarning)
            exportable(model).export(str(path), format=form, verbose=False)
    # The boundary to the converters, which raise whatever an operation that they do not know leads to.
    except Exception as error:
        backend = keras.backend.backend()
        other = "" if backend == "tensorflow" else f", or export under KERAS_BACKEND=tensorflow instead of {backend}"
        # Converters go on to list every operation.
        first = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(
            f"the model {model.name!r} cannot be exported for {form} by Keras {keras.__version__} "
            f"({type(error).__name__}: {first}); score with engine='keras' (--engine keras){other}."
        ) from error
    return path


def exportable(model: "keras.Model") -> "keras.Model":
    """Returns a copy of a model, with the same weights, that the converters understand.

    It computes in float32, whatever precision the model was trained in. The means and variances of Normalization
    layers are arrays instead of tensors: a converter takes a tensor from outside of its graph for one more input.

    Args:
        model: A classifier.
    """
    import keras

    def in_single_precision(layer: "keras.layers.Layer") -> "keras.layers.Layer":
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=in_single_precision)
    copy.set_weights(model.get_weights())
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            twin = copy.get_layer(layer.name)
            twin.mean, twin.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    # Keras exports to ONNX only what was called before.
    copy(np.zeros((1, *model.input_shape[1:]), np.float32))
    return copy


class _Library(NamedTuple):
    """The library behind an engine.

    Attributes:
        load: Returns what scores images, for a model and a precision.
        outputs: Returns what runs any model of images, for a model and a precision.
        distribution: The package whose version is the engine's.
        needs: Modules that must be installed, where they are no requirement of this package.
        precisions: Those of `PRECISIONS` that it has.
    """

    load: Callable[["keras.Model", str], Scores]
    outputs: Callable[["keras.Model", str], Outputs]
    distribution: str
    needs: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("float32",)


ENGINES = {
    "keras": _Library(lambda model, _: keras_engine(model).score, lambda model, _: keras_outputs(model), "keras"),
    "openvino": _Library(openvino_scores, openvino_outputs, "openvino", ("openvino",), PRECISIONS),
    "onnx": _Library(
        lambda model, _: onnx_scores(model),
        lambda model, _: onnx_outputs(model),
        "onnxruntime",
        ("onnx", "onnxruntime", "tf2onnx"),
    ),
}
"""The engines by name."""
