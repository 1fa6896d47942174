"""What the configuration of a model may name: the layers a classifier is made of, and classes registered by hand.

A ``.keras`` file holds a JSON document that names classes and functions of Python by module and name. Keras looks them
up and calls them with what the document says, and has found one after another that runs code or reads files. So the
document is read here first, and holds nothing but what is listed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

MAXIMUM_DEPTH = 64
"""Levels of nesting that a configuration may have; classifiers have 11, and some more for each model in a model."""

_LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling2D AdaptiveMaxPooling2D Add AdditiveAttention AlphaDropout
Attention Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization CenterCrop Concatenate Conv1D
Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D
DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D
GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
GroupNormalization GroupQueryAttention Identity InputLayer LayerNormalization LeakyReLU Masking MaxPooling1D
MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization
RandomBrightness RandomContrast RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom ReLU RepeatVector
Rescaling Reshape Resizing SeparableConv1D SeparableConv2D Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D
SpectralNormalization Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
ZeroPadding2D ZeroPadding3D
"""
_INITIALIZERS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal RandomNormal
RandomUniform TruncatedNormal VarianceScaling Zeros
"""
_ACTIVATIONS = """
celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear log_sigmoid log_softmax
mish relu relu6 selu sigmoid silu softmax softplus softsign squareplus swish tanh
"""
_ARITHMETIC = """
Absolute Add Average Clip Concatenate Divide Exp ExpandDims GetItem Log Matmul Max Maximum Mean Min Minimum Multiply
Negative Power Reshape Sqrt Square Squeeze Stack Subtract Sum Transpose TrueDivide
"""
CLASSES: Mapping[str, frozenset[str]] = {
    "keras": frozenset({"DTypePolicy", "Model", "Sequential"}),
    "keras.layers": frozenset(_LAYERS.split()),
    "keras.initializers": frozenset(_INITIALIZERS.split()),
    "keras.regularizers": frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"}),
    "keras.constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
    # Without a public name of their own: a network of tensors, and what backbones, operators and half precision leave.
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.applications.convnext": frozenset({"LayerScale"}),
    "keras.src.ops.numpy": frozenset(_ARITHMETIC.split()),
    "keras.src.ops.nn": frozenset({"Gelu", "Relu", "Sigmoid", "Silu", "Softmax"}),
    "keras.src.ops.core": frozenset({"Cast"}),
}
"""Classes of Keras that a configuration may name, by module. None runs code or opens a file that an argument names."""
ACTIVATIONS = frozenset(_ACTIVATIONS.split())
"""Functions of Keras that it may name."""

_NETWORKS = (("keras.src.models.functional", "Functional"), ("keras", "Sequential"), ("keras", "Model"))
_VALUES = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__"})
_DTYPE = re.compile(r"bool|(bfloat|float|u?int)[0-9]{1,3}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.>]{0,99}")
_REGISTER = (
    "Open only files that chexkeras or Keras wrote; register a layer or an activation of your own before "
    "(keras.saving.register_keras_serializable)."
)


class Refused(Exception):
    """Why a model's file is not opened.

    Args:
        reason: What stands after "it".
        fix: What to do.
    """

    def __init__(self, reason: str, fix: str = "Open only files that chexkeras or Keras wrote.") -> None:
        super().__init__(f"{reason}. {fix}")


def parse(text: bytes) -> Any:
    """Returns a configuration as JSON, if it says nothing twice and is not nested beyond `MAXIMUM_DEPTH`.

    Args:
        text: The document.

    Raises:
        Refused: If it is no such JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Refused("has a configuration that gives one name two values")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise Refused(f"has a configuration nested deeper than {MAXIMUM_DEPTH} levels") from None
    except ValueError as error:
        raise Refused("has a configuration that is no JSON") from error


def check_classes(config: Any, registered: Mapping[str, Any]) -> None:
    """Checks that a configuration names nothing but `CLASSES`, activations, and classes that are registered.

    Args:
        config: The document, from `parse`.
        registered: Classes by the name under which they are registered, as `keras.saving.get_custom_objects()`.

    Raises:
        Refused: If it names anything else.
    """
    outermost = config if isinstance(config, dict) else {}
    inner = outermost.get("config")
    if (outermost.get("module"), outermost.get("class_name")) not in _NETWORKS or not (
        isinstance(inner, dict) and inner.get("layers") and isinstance(inner["layers"], list)
    ):
        raise Refused("has a configuration that is not that of a network")
    # How the whole model was compiled is not read: it is loaded without.
    for entry in _entries({**outermost, "compile_config": None}):
        if entry.get("compile_config"):
            raise Refused("has a configuration that compiles a part of the model")
        _check_entry(entry, registered)


def _entries(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields every object that names a class."""
    waiting: list[tuple[Any, int]] = [(config, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAXIMUM_DEPTH:
            raise Refused(f"has a configuration nested deeper than {MAXIMUM_DEPTH} levels")
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            waiting += [(value, depth + 1) for value in node.values()]
        elif isinstance(node, list):
            waiting += [(value, depth + 1) for value in node]


def _check_entry(entry: dict[str, Any], registered: Mapping[str, Any]) -> None:
    module, name, known_as = entry.get("module"), entry["class_name"], entry.get("registered_name")
    inner = entry.get("config")
    if isinstance(name, str) and name in _VALUES:
        dtype = inner.get("dtype", "float32") if isinstance(inner, dict) else "float32"
        if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
            raise Refused("has a configuration with an array of no numbers")
    elif name == "function":
        if _among(inner, registered):
            return
        if module not in ("builtins", "keras.activations") or not _among(inner, ACTIVATIONS):
            raise Refused(f"names the function {_shown(module, inner)}, which is no activation", _REGISTER)
        if known_as not in (None, "function", inner):
            raise Refused(f"names the function {_shown(module, inner)} as another one")
    elif isinstance(known_as, str) and known_as in registered:
        # Keras takes the registered class whatever the module is, null for one of a script or notebook ("__main__");
        # where it is left out, Keras looks the name up elsewhere.
        stated = isinstance(module, str) or ("module" in entry and module is None)
        if not stated or name != getattr(registered[known_as], "__name__", None):
            raise Refused(f"names the registered class {_shown(None, known_as)} as another one")
    elif not isinstance(module, str) or not _among(name, CLASSES.get(module, frozenset())):
        raise Refused(
            f"names the class {_shown(module, name)}, which is no part of an image classifier that is known to run no "
            "code and to read no other file",
            _REGISTER,
        )
    elif known_as not in (None, name):
        raise Refused(f"names the class {_shown(module, name)} as another one")


def _among(value: Any, names: Any) -> bool:
    return isinstance(value, str) and value in names


def _shown(module: Any, name: Any) -> str:
    """Returns a name as it may stand in a message: a name of Python, or that it is none."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "of an unreadable name"
    return f"{module}.{name}" if isinstance(module, str) and _NAME.fullmatch(module) else name
