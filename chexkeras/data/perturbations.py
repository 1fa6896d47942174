"""Changes that an image may meet on its way to the model: other exposure, noise, a turned patient, compression, misuse.

They are applied to the image as the model gets it, at its own size, one fixed strength each, so that a score before and
after can be compared image by image. Augmentation draws its changes at random; these are the same for every image.
"""

import io
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.checks import numbers, one_of

GrayImage = NDArray[np.float32]
_WHITE = 255.0


@checked(fields=True)
@dataclass(frozen=True)
class Perturbation:
    """One change of one strength.

    Attributes:
        kind: One of `KINDS`.
        amount: How much, in the kind's own unit: brightness as a share of the gray range (-1 to 1, but not 0); contrast
            as a factor about mid-gray; gamma as the exponent; noise as the standard deviation, a share of the gray
            range; blur as the standard deviation, a share of the image's height; rotation in degrees, anticlockwise;
            shift to the right as a share of the width; zoom as a factor; jpeg as Pillow's quality, 1 to 95; resolution
            as the share of the sides that is kept. Mirroring and inversion have one strength, 1.

    Raises:
        ValueError: If there is no such kind, or the amount is out of its range.

    Example:
        >>> Perturbation("rotation", -5).name
        'rotated -5 degrees'
    """

    kind: str
    amount: float = 1.0

    def __post_init__(self) -> None:
        low, high = _KINDS[one_of(self.kind, KINDS, "kind of perturbation")].allowed
        number = isinstance(self.amount, Real) and not isinstance(self.amount, bool)
        if not number or not low <= self.amount <= high:
            raise ValueError(f"amount={self.amount!r} of {self.kind} must be a number from {low:g} to {high:g}.")
        if self.kind == "brightness" and self.amount == 0:
            raise ValueError("amount=0 of brightness is no change; give a share above 0 (brighter) or below (darker).")
        # Numpy's numbers too: as a plain float each is named and used alike.
        object.__setattr__(self, "amount", float(self.amount))

    @property
    def name(self) -> str:
        """What it is called in tables and figures."""
        return _KINDS[self.kind].words(self.amount)

    @property
    def group(self) -> str:
        """One of `GROUPS`."""
        return _KINDS[self.kind].group

    def apply(self, image: GrayImage, image_id: str, seed: int = 0) -> GrayImage:
        """Returns the changed image.

        Args:
            image: float32 array (height, width), 0-255; stays as it is.
            image_id: Whose image it is: noise differs between images, and is the same whenever the image is changed.
            seed: Of the noise.

        Returns:
            float32 array of the same shape, 0-255.
        """
        rng = np.random.default_rng([seed, zlib.crc32(image_id.encode())])
        changed = _KINDS[self.kind].change(numbers(image, "image").astype(np.float32), self.amount, rng)
        return np.clip(changed, 0.0, _WHITE).astype(np.float32)


def _noise(image: GrayImage, share: float, rng: np.random.Generator) -> GrayImage:
    return image + rng.normal(0.0, share * _WHITE, image.shape).astype(np.float32)


def _blurred(image: GrayImage, share: float, rng: np.random.Generator) -> GrayImage:
    from scipy import ndimage

    return ndimage.gaussian_filter(image, share * len(image), mode="reflect")


def _resampled(
    image: GrayImage, matrix: Sequence[Sequence[float]], shift_px: Sequence[float] = (0.0, 0.0)
) -> GrayImage:
    """Returns the image with each pixel taken from matrix @ (its place from the centre) + shift, bilinear."""
    from scipy import ndimage

    centre = (np.asarray(image.shape) - 1) / 2
    offset = centre - np.asarray(matrix) @ centre + np.asarray(shift_px)
    # Filled up by reflection, as training and test-time views do.
    return ndimage.affine_transform(image, np.asarray(matrix), offset, order=1, mode="reflect")


def _rotated(image: GrayImage, degrees: float, rng: np.random.Generator) -> GrayImage:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return _resampled(image, ((cosine, sine), (-sine, cosine)))


def _shifted(image: GrayImage, share: float, rng: np.random.Generator) -> GrayImage:
    return _resampled(image, ((1.0, 0.0), (0.0, 1.0)), (0.0, -share * image.shape[1]))


def _zoomed(image: GrayImage, factor: float, rng: np.random.Generator) -> GrayImage:
    return _resampled(image, ((1.0 / factor, 0.0), (0.0, 1.0 / factor)))


def _jpeg(image: GrayImage, quality: float, rng: np.random.Generator) -> GrayImage:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.rint(image).astype(np.uint8)).save(stream, "JPEG", quality=round(quality))
    return np.asarray(Image.open(stream), dtype=np.float32)


def _coarser(image: GrayImage, share: float, rng: np.random.Generator) -> GrayImage:
    from PIL import Image

    height, width = image.shape
    small = (max(1, round(width * share)), max(1, round(height * share)))
    reduced = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.asarray(reduced.resize((width, height), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class _Kind:
    group: str
    allowed: tuple[float, float]
    words: Callable[[float], str]
    change: Callable[[GrayImage, float, np.random.Generator], GrayImage]


_KINDS = {
    "brightness": _Kind(
        "exposure", (-1, 1), lambda a: f"{'brighter' if a > 0 else 'darker'} by {abs(a) * 100:g} %",
        lambda image, amount, _: image + amount * _WHITE,
    ),
    "contrast": _Kind(
        "exposure", (0, 10), lambda a: f"contrast times {a:g}",
        lambda image, amount, _: (image - _WHITE / 2) * amount + _WHITE / 2,
    ),
    "gamma": _Kind(
        "exposure", (0.1, 10), lambda a: f"gamma {a:g}", lambda image, amount, _: _WHITE * (image / _WHITE) ** amount
    ),
    "noise": _Kind("sharpness", (0, 1), lambda a: f"noise of {a * 100:g} %", _noise),
    "blur": _Kind("sharpness", (0, 0.5), lambda a: f"blurred by {a * 100:g} % of the height", _blurred),
    "resolution": _Kind("sharpness", (0.01, 1), lambda a: f"resolution times {a:g}", _coarser),
    "jpeg": _Kind("sharpness", (1, 95), lambda a: f"JPEG quality {a:g}", _jpeg),
    "rotation": _Kind("position", (-180, 180), lambda a: f"rotated {a:g} degrees", _rotated),
    "shift": _Kind("position", (-1, 1), lambda a: f"shifted {a * 100:g} % sideways", _shifted),
    "zoom": _Kind("position", (0.1, 10), lambda a: f"zoomed times {a:g}", _zoomed),
    "mirrored": _Kind("misuse", (1, 1), lambda _: "mirrored", lambda image, _, __: image[:, ::-1]),
    "inverted": _Kind("misuse", (1, 1), lambda _: "gray values inverted", lambda image, _, __: _WHITE - image),
}  # fmt: skip

KINDS = tuple(_KINDS)
"""What can be changed."""

GROUPS = tuple(dict.fromkeys(kind.group for kind in _KINDS.values()))
"""What the changes stand for: exposure, sharpness (noise and compression too), position, and misuse."""

PERTURBATIONS = tuple(
    Perturbation(kind, amount)
    for kind, amounts in {
        "brightness": (-0.2, -0.1, 0.1, 0.2),
        "contrast": (0.7, 1.3),
        "gamma": (0.7, 1.4),
        "noise": (0.02, 0.05, 0.1),
        "blur": (0.005, 0.01),
        "resolution": (0.5, 0.25),
        "jpeg": (50, 20),
        "rotation": (-10, -5, 5, 10),
        "shift": (0.05, 0.1),
        "zoom": (0.9, 1.1),
        "mirrored": (1,),
        "inverted": (1,),
    }.items()
    for amount in amounts
)
"""The grid that is measured unless another is asked for: our choice, mild and strong of each kind where it has a
strength. The kinds are those of Hendrycks & Dietterich, ICLR 2019, that a radiograph can meet, and two mistakes of
handling that a gate cannot see in the pixels."""


@checked
def perturbations_of(groups: str | Iterable[str]) -> tuple[Perturbation, ...]:
    """Returns those of `PERTURBATIONS` that belong to some groups.

    Args:
        groups: One of `GROUPS`, or several.

    Raises:
        ValueError: If there is no such group, or none is named.
    """
    wanted = [one_of(name, GROUPS, "group") for name in ((groups,) if isinstance(groups, str) else groups)]
    if not wanted:
        raise ValueError(f"no group is named; give one or several of: {', '.join(GROUPS)}.")
    return tuple(entry for entry in PERTURBATIONS if entry.group in wanted)
