"""A Keras model handed over to OpenVINO or ONNX Runtime by Keras' own export, by way of a folder that is removed."""

import importlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import keras
import numpy as np

Scores = Callable[[np.ndarray, int], np.ndarray]

# OpenVINO scores so many films at a time: their feature maps stay in the processor's cache, which is worth 10 to 15 %.
_PIECE = 4


def openvino_scores(model: keras.Model, precision: str = "float32") -> Scores:
    """Returns what scores films with OpenVINO on the processor.

    Args:
        model: A classifier.
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
    # Said in so many words: where the processor can, OpenVINO computes in bfloat16 unasked.
    hint = "bf16" if precision == "bf16" else "f32"
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT"})

    def score(pixels: np.ndarray, batch_size: int) -> np.ndarray:
        del batch_size
        # As many pieces at once as the hint finds best for the processor; each writes to its own place.
        scores = np.empty((len(pixels), model.output_shape[-1]), np.float32)
        queue = openvino.AsyncInferQueue(compiled)
        queue.set_callback(lambda request, start: _place(scores, start, request.get_output_tensor(0).data))
        for start in range(0, len(pixels), _PIECE):
            queue.start_async(_filled(pixels[start : start + _PIECE], _PIECE), start)
        queue.wait_all()
        return scores

    return score


def _place(scores: np.ndarray, start: int, found: np.ndarray) -> None:
    scores[start : start + _PIECE] = found[: len(scores) - start]


def _openvino() -> ModuleType:
    """Imports OpenVINO without its telemetry, which reports each import and conversion to Google Analytics.

    It sends unless somebody has opted out, and writes an identifier into the home folder; OpenVINO does without it
    where its package is missing, which is what it is made to believe.

    Source:
        https://docs.openvino.ai/2026/about-openvino/additional-resources/telemetry.html
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def onnx_scores(model: keras.Model) -> Scores:
    """Returns what scores films with ONNX Runtime on the processor.

    Args:
        model: A classifier.

    Raises:
        ValueError: If the model cannot be exported.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="chexkeras-") as folder:
        content = _exported(model, "onnx", Path(folder) / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())

    def score(pixels: np.ndarray, batch_size: int) -> np.ndarray:
        return np.asarray(session.run(None, {name: _filled(pixels, batch_size)})[0], dtype=np.float32)[: len(pixels)]

    return score


def _filled(pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns films filled up with black ones to a full batch, for which the engine's kernels are prepared already."""
    missing = max(batch_size - len(pixels), 0)
    return np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)]) if missing else pixels


def _exported(model: keras.Model, form: str, path: Path) -> Path:
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


def exportable(model: keras.Model) -> keras.Model:
    """Returns a copy of a model, with the same weights, that the converters understand.

    It computes in float32, whatever precision the model was trained in. The means and variances of Normalization
    layers are arrays instead of tensors: a converter takes a tensor from outside of its graph for one more input.

    Args:
        model: A classifier.
    """

    def in_single_precision(layer: keras.layers.Layer) -> keras.layers.Layer:
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
