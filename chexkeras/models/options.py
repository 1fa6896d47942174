"""Names that a recipe may use, kept apart from Keras so that a recipe can be checked before anything heavy starts."""

BACKBONES = (
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "ResNet50",
    "VGG16",
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetV2S",
    "ConvNeXtTiny",
    "SEResNet34",
    "SmallCNN",
)
HEADS = ("three_layer", "linear", "dense_512", "dense_1024", "dense_bn")
BATCHNORM = ("held", "trained")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
