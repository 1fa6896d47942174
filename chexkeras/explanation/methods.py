"""The formulas of heat maps: from a layer's feature map and the gradients of a score to one number for each place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chexkeras.models.registry import Registry


@dataclass(frozen=True)
class MapMethod:
    """A way to make a heat map.

    Attributes:
        name: How callers name it.
        doc: What its values are, one sentence.
        source: Where it was published.
        formula: Takes feature maps (batch, rows, columns, channels) and gradients of the same shape, and gives maps
            (batch, rows, columns); None where it does not work on feature maps.
        signed: Whether values below 0 speak against the finding; otherwise there are none.
        linear_only: Whether the head must be linear in the pooled feature map, and the layer the one that it pools.
    """

    name: str
    doc: str
    source: str
    formula: Callable[[Any, Any], Any] | None = None
    signed: bool = False
    linear_only: bool = False


def grad_cam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Returns Grad-CAM: channels weighed by their mean gradient, what speaks against the finding left out.

    Args:
        features: (batch, rows, columns, channels).
        gradients: Of the finding's logit, of the same shape.

    Returns:
        (batch, rows, columns), 0 or above.

    Source:
        Selvaraju et al., ICCV 2017, equations 1 and 2.
    """
    return _weighed(features, gradients.mean(axis=(1, 2)))


def grad_cam_plus_plus(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Returns Grad-CAM++: as Grad-CAM, with rising gradients only, weighed so that small places count as large ones do.

    Args:
        features: (batch, rows, columns, channels).
        gradients: Of the finding's logit, of the same shape; the score whose higher derivatives the formula needs is
            taken as the exponential of the logit.

    Returns:
        (batch, rows, columns), 0 or above.

    Source:
        Chattopadhyay et al., WACV 2018, equations 5 and 19.
    """
    # Of a rising gradient g, the share g^2 / (2 g^2 + s g^3) times g, where s is the sum of the channel: g / (2 + s g).
    rising = np.maximum(gradients, 0.0)
    below = 2 + features.sum(axis=(1, 2), keepdims=True) * rising
    shares = np.divide(rising, below, out=np.zeros_like(rising), where=np.abs(below) > 1e-12)
    return _weighed(features, shares.sum(axis=(1, 2)))


def _weighed(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the sum of channels with weights (batch, channels), 0 where it is below."""
    return np.maximum(np.einsum("bijc,bc->bij", features, weights, optimize=True), 0.0)


def hires_cam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Returns HiResCAM: features times gradients, place by place.

    Where everything after the layer is linear, the sum of the map and the bias are the logit.

    Args:
        features: (batch, rows, columns, channels).
        gradients: Of the finding's logit, of the same shape.

    Returns:
        (batch, rows, columns), in units of the logit; below 0 where the place speaks against the finding.

    Source:
        Draelos & Carin, arXiv 2011.08891, 2020, equation 6.
    """
    return (features * gradients).sum(axis=-1)


METHODS: Registry[MapMethod] = Registry(
    "method of heat maps",
    (
        MapMethod(
            "gradcam",
            "Grad-CAM: channels of a layer weighed by the mean gradient of the finding's logit; 0 or above.",
            "Selvaraju et al., ICCV 2017",
            grad_cam,
        ),
        MapMethod(
            "gradcam++",
            "Grad-CAM++: rising gradients only, weighed so that small places count as large ones do; 0 or above.",
            "Chattopadhyay et al., WACV 2018",
            grad_cam_plus_plus,
        ),
        MapMethod(
            "hirescam",
            "HiResCAM: what each place adds to the logit, to first order; below 0 where it speaks against the finding.",
            "Draelos & Carin, arXiv 2011.08891, 2020",
            hires_cam,
            signed=True,
        ),
        MapMethod(
            "cam",
            "Class activation map: what each place adds to the logit, exactly; needs a head without hidden layers.",
            "Zhou et al., CVPR 2016",
            # With a linear head the gradient is the weight of the channel over the number of places.
            hires_cam,
            signed=True,
            linear_only=True,
        ),
        MapMethod(
            "occlusion",
            "Occlusion: by how much the logit falls when a square around the place is painted over; slow.",
            "Zeiler & Fergus, ECCV 2014",
            signed=True,
        ),
    ),
)
