"""Names that a recipe may use, kept apart from Keras so that a recipe can be checked before anything heavy starts."""

BACKBONES = ("DenseNet121", "DenseNet169", "DenseNet201", "SmallCNN")
HEADS = ("three_layer", "linear")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
