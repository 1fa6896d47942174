"""From normalised pixels to a feature map of patches: a vision transformer in single layers.

Built of single layers instead of one of keras-hub's backbones, for four reasons. A stage freezes block by block, and
the graph is cut between any two. Heat maps reach the feature map. A model's file opens without keras-hub. And
keras-hub 0.32 saves DINOv2's positions for another image size than it trained them in, so that what is loaded again
would not be what was measured.
"""

from typing import Any

from chexkeras.models.vit.sizes import VisionTransformer


def patch_features(pixels: Any, size: VisionTransformer) -> Any:
    """Adds the layers of a vision transformer to a graph.

    Blocks are named ``block1_`` to ``block<depth>_``, from the input on. The class token takes part in attention; what
    is handed on are the patches.

    Args:
        pixels: Keras tensor (batch, height, width, 3), normalised.
        size: Which one.

    Returns:
        The feature map, a Keras tensor (batch, rows, columns, size.width).

    Raises:
        ValueError: If the image is no whole number of patches.
    """
    from keras import layers

    from chexkeras.models.vit.layers import BranchScale, PatchMap, SelfAttention, Tokens

    grid = size.grid(pixels.shape[1])
    tokens = layers.Conv2D(size.width, size.patch, size.patch, name="embed_patches")(pixels)
    tokens = Tokens(size.registers, positions=not size.rotary, name="embed_tokens")(tokens)

    def norm(name: str) -> Any:
        return layers.LayerNormalization(epsilon=size.epsilon, name=name)

    for number in range(1, size.depth + 1):
        block = f"block{number}"
        found = norm(f"{block}_norm1")(tokens)
        found = SelfAttention(
            size.heads, grid if size.rotary else 0, key_bias=not size.rotary, name=f"{block}_attention"
        )(found)
        found = BranchScale(name=f"{block}_scale1")(found)
        tokens = layers.Add(name=f"{block}_add1")([tokens, found])
        found = norm(f"{block}_norm2")(tokens)
        found = layers.Dense(size.hidden, activation="gelu", name=f"{block}_dense1")(found)
        found = layers.Dense(size.width, name=f"{block}_dense2")(found)
        found = BranchScale(name=f"{block}_scale2")(found)
        tokens = layers.Add(name=f"{block}_add2")([tokens, found])
    return PatchMap(grid, name="patch_map")(norm("norm")(tokens))
