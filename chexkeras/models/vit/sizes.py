"""Sizes of DINOv2's and DINOv3's vision transformers, by name. Nothing here needs Keras; `network` builds them."""

from dataclasses import dataclass

from chexkeras.checks import positive_int

FAMILIES = ("dinov2", "dinov3")


class MissingPackage(ValueError):
    """A package that reads published weights is not installed."""


@dataclass(frozen=True)
class VisionTransformer:
    """A vision transformer: an image cut into patches, each a token, and blocks of attention and two dense layers.

    Attributes:
        name: How recipes name it.
        family: "dinov2" (positions are added to the tokens) or "dinov3" (positions turn queries and keys).
        preset: Name of its published weights in keras-hub.
        width: Numbers of a token.
        depth: Blocks.
        heads: Heads of attention, each with width / heads numbers.
        patch: Side of a patch, pixels.
        registers: Tokens that stand for no patch, besides the class token.
        trained_grid: Patches a side for which DINOv2's positions are published; other images have them interpolated.

    Source:
        Dosovitskiy et al., ICLR 2021; Oquab et al., arXiv 2304.07193 (DINOv2); Darcet et al., ICLR 2024 (registers);
        Siméoni et al., arXiv 2508.10104 (DINOv3). Numbers: the published configurations.
    """

    name: str
    family: str
    preset: str
    width: int
    depth: int
    heads: int
    patch: int
    registers: int = 0
    trained_grid: int = 37

    @property
    def rotary(self) -> bool:
        """Whether positions turn queries and keys instead of being added to the tokens."""
        return self.family == "dinov3"

    @property
    def epsilon(self) -> float:
        """What layer normalisation adds to the variance."""
        return 1e-5 if self.rotary else 1e-6

    @property
    def hidden(self) -> int:
        """Units of a block's first dense layer."""
        return 4 * self.width

    def grid(self, image_size: int) -> int:
        """Returns how many patches lie along a side of an image.

        Args:
            image_size: Height and width, pixels.

        Raises:
            ValueError: If no whole number of patches makes up the image.
        """
        check_patches(self.name, self.patch, image_size)
        return image_size // self.patch


def check_patches(name: str, patch: int, image_size: int) -> None:
    """Checks that an image is a whole number of patches.

    Args:
        name: The backbone's name, for the message.
        patch: Side of a patch, pixels.
        image_size: Height and width of the image, pixels.

    Raises:
        ValueError: If it is not; the message gives the nearest sizes that are.

    Example:
        >>> check_patches("DINOv2Base", 14, 518)
    """
    if positive_int(image_size, "image_size") % patch:
        below, above = image_size // patch * patch, (image_size // patch + 1) * patch
        sizes = f"{below} or {above}" if below else str(above)
        raise ValueError(
            f"image_size={image_size} is no multiple of {patch}, the side in pixels of the patches that {name} cuts "
            f"images into; set image_size={sizes}."
        )


SIZES: tuple[VisionTransformer, ...] = (
    VisionTransformer("DINOv2Small", "dinov2", "dinov2_small", 384, 12, 6, 14),
    VisionTransformer("DINOv2Base", "dinov2", "dinov2_base", 768, 12, 12, 14),
    VisionTransformer("DINOv2Large", "dinov2", "dinov2_large", 1024, 24, 16, 14),
    VisionTransformer("DINOv3Small", "dinov3", "dinov3_vit_small_lvd1689m", 384, 12, 6, 16, 4),
    VisionTransformer("DINOv3Base", "dinov3", "dinov3_vit_base_lvd1689m", 768, 12, 12, 16, 4),
    VisionTransformer("DINOv3Large", "dinov3", "dinov3_vit_large_lvd1689m", 1024, 24, 16, 16, 4),
)
"""Those whose weights are published and whose blocks are of this kind; the larger ones have gated dense layers."""
