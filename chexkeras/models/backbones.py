"""Backbones by name, each with the pixel normalisation its ImageNet weights were trained with.

The normalisation is part of the model, so training, notebooks and DICOM scoring cannot disagree. To add a backbone of
`keras.applications`, add one line to `BACKBONES`; its normalisation follows from what `preprocess_input` of its module
does: "imagenet" where that has the mode "torch", "caffe" where it has "caffe", "signed" where it has "tf", and "own"
where it returns its argument. To use one of your own, call `register_backbone`. Keras is imported only when a backbone
is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexkeras.arguments import checked
from chexkeras.checks import in_a_sentence, one_of
from chexkeras.models.registry import GIVEN, Registry
from chexkeras.models.vit.sizes import SIZES, MissingPackage, VisionTransformer, check_patches
from chexkeras.models.weights import opening
from chexkeras.models.weights.opening import Found
from chexkeras.models.weights.sources import NORMALISATIONS

# Channel means and standard deviations of ImageNet on the 0-1 scale (He et al., CVPR 2016, and torchvision's models).
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
# Channel means of ImageNet on the 0-255 scale, blue first (Simonyan & Zisserman, ICLR 2015; He et al., CVPR 2016).
_CAFFE_MEAN = (103.939, 116.779, 123.68)


Build = Callable[[Any, str | None], Any]


@dataclass(frozen=True)
class Backbone:
    """A convolutional base without its classification layers.

    Attributes:
        name: How recipes name it.
        build: Takes an RGB tensor (batch, height, width, 3), already normalised, and weights (None, the name in
            `published` or a file); adds its layers to the tensor's graph and returns the feature map (batch, rows,
            columns, channels).
        normalisation: "imagenet" (subtract the channel mean, divide by the standard deviation), "caffe" (subtract the
            mean of blue, green and red), "caffe_255" (the same, then divided by 255), "unit" (0 to 1), "signed" (-1 to
            1), "signed_1024" (-1024 to 1024), or "own" (the backbone begins with its own).
        published: Weights that are loaded by their name alone, a name in `models.weights.sources.WEIGHTS`; None where
            none are published.
        channels: Channels of the feature map, by which reports' counts of parameters are checked; None where unknown.
        patch: Side of the patches that it cuts images into, pixels; None where any image size will do.
    """

    name: str
    build: Build
    normalisation: str = "imagenet"
    published: str | None = "imagenet"
    channels: int | None = None
    patch: int | None = None

    def check_size(self, image_size: int) -> None:
        """Checks that it takes images of a size.

        Args:
            image_size: Height and width, pixels.

        Raises:
            ValueError: If it cuts images into patches, and these do not make up the image.
        """
        if self.patch is not None:
            check_patches(self.name, self.patch, image_size)


def _application(name: str, normalisation: str, channels: int) -> Backbone:
    """Returns the entry of a network of `keras.applications`, by its name there."""

    def build(pixels: Any, weights: str | None) -> Any:
        import keras

        constructor = getattr(keras.applications, name)
        return constructor(include_top=False, weights=weights, input_tensor=pixels).output

    return Backbone(name, build, normalisation, channels=channels)


def _small_cnn(pixels: Any) -> Any:
    """Builds four convolution-BatchNorm-ReLU blocks: for smoke tests and lessons, not for results."""
    from keras import layers

    features = pixels
    for block, filters in enumerate((16, 32, 64, 64), start=1):
        features = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"block{block}_conv")(features)
        features = layers.BatchNormalization(name=f"block{block}_bn")(features)
        features = layers.Activation("relu", name=f"block{block}_relu")(features)
        features = layers.MaxPooling2D(2, name=f"block{block}_pool")(features)
    return features


def _se_resnet34(pixels: Any) -> Any:
    """Builds a residual network with squeeze-and-excitation, trained from scratch: no ImageNet weights exist for it.

    Source: He et al., CVPR 2016 (basic blocks, depths 3-4-6-3); Hu et al., CVPR 2018 (squeeze-and-excitation, ratio
    16).
    """
    from keras import layers

    def convolution(features: Any, filters: int, size: int, stride: int, name: str) -> Any:
        features = layers.Conv2D(
            filters,
            size,
            stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(features)
        return layers.BatchNormalization(name=f"{name}_bn")(features)

    def block(features: Any, width: int, stride: int, name: str) -> Any:
        shortcut = features
        if stride != 1 or features.shape[-1] != width:
            shortcut = convolution(features, width, 1, stride, f"{name}_shortcut")
        features = convolution(features, width, 3, stride, f"{name}_1")
        features = layers.Activation("relu", name=f"{name}_1_relu")(features)
        features = convolution(features, width, 3, 1, f"{name}_2")
        excitation = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(features)
        excitation = layers.Dense(width // 16, activation="relu", name=f"{name}_reduce")(excitation)
        excitation = layers.Dense(width, activation="sigmoid", name=f"{name}_expand")(excitation)
        features = layers.Multiply(name=f"{name}_excite")([features, excitation])
        features = layers.Add(name=f"{name}_add")([features, shortcut])
        return layers.Activation("relu", name=f"{name}_relu")(features)

    features = convolution(pixels, 64, 7, 2, "stem")
    features = layers.Activation("relu", name="stem_relu")(features)
    features = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(features)
    for stage, (depth, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for number in range(1, depth + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            features = block(features, width, stride, f"stage{stage}_block{number}")
    return features


def _untrained(layers: Callable[[Any], Any]) -> Build:
    """Returns the builder of a network without ImageNet weights; it takes a file of `keras.Model.save_weights`."""

    def build(pixels: Any, weights: str | None) -> Any:
        import keras

        features = layers(pixels)
        if weights is not None:
            keras.Model(pixels, features).load_weights(weights)
        return features

    return build


def _transformer(size: VisionTransformer) -> Backbone:
    """Returns the entry of a vision transformer; its published weights, and files of them, are read by keras-hub."""

    def build(pixels: Any, weights: str | None) -> Any:
        import keras

        from chexkeras.models.vit.network import patch_features

        features = patch_features(pixels, size)
        if weights is not None:
            model = keras.Model(pixels, features)
            if weights != size.family and _has_layers(weights, "branch_scale"):
                model.load_weights(weights)
            else:
                from chexkeras.models.vit import published

                published.load(model, size, None if weights == size.family else Path(weights))
        return features

    return Backbone(size.name, build, published=size.family, channels=size.width, patch=size.patch)


def _has_layers(file: str, kind: str) -> bool:
    """Returns whether a file of Keras has weights of layers of a class, by the name that Keras makes of it."""
    import h5py

    with h5py.File(file, "r") as stored:
        return kind in stored.get("layers", ())


def _not_given(*_: Any) -> Any:
    raise ValueError(
        f"the recipe names a backbone or head {GIVEN!r}, a Keras object, and none was given: "
        "train(recipe, ..., backbone=model, input_range=(0, 1), head=layer), or name one of the recipe's own."
    )


BACKBONES: Registry[Backbone] = Registry(
    "backbone",
    (
        _application("DenseNet121", "imagenet", 1024),
        _application("DenseNet169", "imagenet", 1664),
        _application("DenseNet201", "imagenet", 1920),
        _application("ResNet50", "caffe", 2048),
        _application("VGG16", "caffe", 512),
        _application("EfficientNetB0", "own", 1280),
        _application("EfficientNetB1", "own", 1280),
        _application("EfficientNetB2", "own", 1408),
        _application("EfficientNetB3", "own", 1536),
        _application("EfficientNetB4", "own", 1792),
        _application("EfficientNetV2S", "own", 1280),
        _application("ConvNeXtTiny", "own", 768),
        _application("ConvNeXtSmall", "own", 768),
        _application("ConvNeXtBase", "own", 1024),
        _application("ConvNeXtLarge", "own", 1536),
        *map(_transformer, SIZES),
        Backbone("SEResNet34", _untrained(_se_resnet34), published=None, channels=512),
        Backbone("SmallCNN", _untrained(_small_cnn), "unit", published=None, channels=64),
    ),
    register="register_backbone",
    given=Backbone(GIVEN, _not_given, "own", published=None),
)


@checked
def register_backbone(name: str, layers: Callable[[Any], Any], normalisation: str = "unit") -> Backbone:
    """Lets recipes name a backbone of your own, which starts untrained or from a weights file.

    Register it before a recipe that names it is made, and again in every process that loads a run of it: a run keeps
    the name, not the code. Layer classes of your own, if it has any, need `keras.saving.register_keras_serializable`,
    so that Keras loads them in safe mode.

    Args:
        name: How recipes name it, one word.
        layers: Takes an RGB tensor (batch, height, width, 3), normalised; adds layers to its graph and returns the
            feature map, a Keras tensor (batch, rows, columns, channels). Name the layers, and let no name begin with
            "preprocess_" or "head_": the classifier's own do.
        normalisation: What is done to the pixels first: "unit" scales them to 0 to 1, "signed" to -1 to 1,
            "imagenet" subtracts ImageNet's channel means and divides by its deviations, "caffe" subtracts its means,
            "caffe_255" divides by 255 besides, "signed_1024" scales to -1024 to 1024, and "own" leaves 0 to 255.

    Returns:
        The entry. One of the same name that was registered before is replaced.

    Raises:
        ValueError: If the name belongs to a built-in backbone or is no word, or the normalisation is unknown.
        TypeError: If `layers` cannot be called.

    Example:
        >>> def two_blocks(pixels):
        ...     import keras
        ...
        ...     for block in (1, 2):
        ...         pixels = keras.layers.Conv2D(8, 3, 2, activation="relu", name=f"own_{block}")(pixels)
        ...     return pixels
        >>> register_backbone("TwoBlocks", two_blocks).normalisation
        'unit'
    """
    one_of(normalisation, NORMALISATIONS, "normalisation")
    if not callable(layers):
        raise TypeError(f"layers={layers!r} must be a function that adds layers to a Keras tensor.")
    entry = Backbone(name, _untrained(layers), normalisation, published=None)
    BACKBONES.add(entry)
    return entry


def normalise(pixels: Any, normalisation: str) -> Any:
    """Turns gray pixels 0-255 into the three normalised channels a backbone expects.

    Args:
        pixels: Keras tensor (batch, height, width, 1), 0-255.
        normalisation: One of `NORMALISATIONS`, see `Backbone`.

    Returns:
        Keras tensor (batch, height, width, 3).
    """
    import keras

    # float32 whatever the policy: these layers are cheap and half precision would round the means.
    channels = keras.layers.Concatenate(name="preprocess_channels", dtype="float32")([pixels, pixels, pixels])
    if normalisation == "own":
        return channels
    if normalisation in ("caffe", "caffe_255"):
        # The three channels of a gray image are equal, so their order only decides which mean each one loses.
        spread = 255.0**2 if normalisation == "caffe_255" else 1.0
        layer = keras.layers.Normalization(
            mean=_CAFFE_MEAN, variance=[spread] * 3, name=f"preprocess_{normalisation}", dtype="float32"
        )
        return layer(channels)
    if normalisation == "unit":
        return keras.layers.Rescaling(1.0 / 255.0, name="preprocess_unit", dtype="float32")(channels)
    if normalisation == "signed":
        return keras.layers.Rescaling(1.0 / 127.5, -1.0, name="preprocess_signed", dtype="float32")(channels)
    if normalisation == "signed_1024":
        scale = 2.0 * 1024.0 / 255.0
        return keras.layers.Rescaling(scale, -1024.0, name="preprocess_signed_1024", dtype="float32")(channels)
    mean = [255.0 * value for value in _IMAGENET_MEAN]
    variance = [(255.0 * value) ** 2 for value in _IMAGENET_STD]
    layer = keras.layers.Normalization(mean=mean, variance=variance, name="preprocess_imagenet", dtype="float32")
    return layer(channels)


def attach(backbone: Backbone, pixels: Any, weights: str | Path | Found | None) -> Any:
    """Adds a backbone to a graph and gives it its weights.

    Args:
        backbone: One of `BACKBONES`.
        pixels: Keras tensor (batch, height, width, 3), normalised.
        weights: The name in `backbone.published`, a weights file of the same backbone without its top, weights that
            `opening.find` has found, or None for random weights. With "imagenet" Keras adds a rescaling to
            EfficientNetB0-B4 that a file does not bring along: for these, save the file from a base that was built
            without ImageNet weights.

    Returns:
        The feature map, a Keras tensor (batch, rows, columns, channels).

    Raises:
        ValueError: If the backbone has no such weights, a package that reads them is missing, or the file does not fit
            or holds more than arrays.
        OSError: If weights cannot be downloaded; the message gives the ways out.
    """
    if weights is None:
        return backbone.build(pixels, None)
    found = weights if isinstance(weights, Found) else opening.find(backbone.name, weights)
    if found is not None:
        return _attach_found(backbone, pixels, found)
    if str(weights) != backbone.published:
        what = "ImageNet" if weights == "imagenet" else f"{str(weights)!r}"
        other = f"weights={backbone.published!r} or " if backbone.published else ""
        raise ValueError(f"{backbone.name} has no {what} weights; use {other}weights=None (--weights none).")
    try:
        return backbone.build(pixels, backbone.published)
    except MissingPackage:
        raise
    # keras.utils.get_file wraps URLError and HTTPError in a bare Exception, so nothing narrower can be caught.
    except Exception as error:  # noqa: BLE001 - its words are in the message
        # What went wrong on the way is in the message; below it, in a notebook, it would fill two screens.
        raise in_a_sentence(OSError(_ways_out(backbone, error))) from None


def _ways_out(backbone: Backbone, error: Exception) -> str:
    first = str(error).partition("\n")[0][:300]
    title, keeper, kept = "ImageNet weights", "Keras", f"the 'notop' weights file of {backbone.name}"
    if backbone.patch is not None:
        title, keeper = f"the weights {backbone.published!r}", "keras-hub"
        kept = f"the file model.weights.h5 of {backbone.name} in keras-hub's models"
    return (
        f"{title} for {backbone.name} could not be loaded ({first}). Three ways out: "
        f"(1) run once with internet access (on Kaggle: Settings > Internet > On), {keeper} then keeps them; "
        f"(2) download {kept} elsewhere and pass "
        "weights='path/to/file.h5' (--weights path/to/file.h5, in the notebooks CHEXKERAS_WEIGHTS), or "
        f"weights={backbone.published!r} with weights_file='path/to/file.h5'; "
        "(3) pass weights=None (--weights none, CHEXKERAS_WEIGHTS=none) for an untrained base, which shows "
        "that the software works, not what it can do."
    )


def _attach_found(backbone: Backbone, pixels: Any, found: Found) -> Any:
    if found.arrays is not None:
        import keras

        features = backbone.build(pixels, None)
        opening.put(found, backbone.name, keras.Model(pixels, features))
        return features
    try:
        return backbone.build(pixels, str(found.file))
    except MissingPackage:
        raise
    except (ValueError, OSError, KeyError) as error:
        # Keras goes on to list every layer of the model.
        first = str(error).partition("\n")[0][:200]
        such = f"one saved from keras.applications.{backbone.name}(include_top=False)"
        if backbone.patch is not None:
            such = "model.weights.h5 of its preset in keras-hub"
        raise ValueError(
            f"weights={str(found.file)!r} does not fit {backbone.name} without its top ({first}); give a file of the "
            f"same layers, such as {such}."
        ) from error
