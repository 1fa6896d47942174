"""Published weights: by whom, of which network, what they have seen, and which pixels they expect.

What a publisher does not say is said to be not stated; nothing is filled in. To add weights of your own, write a
description (`read_source`), or an entry here.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import nearest, one_of
from chexkeras.models.registry import Registry
from chexkeras.models.weights.seen import CHEXPERT, MIMIC, NIH, OPEN_I, PADCHEST, Seen

NORMALISATIONS = ("imagenet", "caffe", "caffe_255", "unit", "signed", "signed_1024", "own")
"""What is done to gray pixels first; see `models.backbones.normalise`."""
NOT_PUBLISHED = "not published"
_DENSENETS = ("DenseNet121", "DenseNet169", "DenseNet201")
_LARGEST_DESCRIPTION = 2**20


@dataclass(frozen=True)
class WeightsSource:
    """Weights that somebody published.

    Attributes:
        name: How recipes name them.
        title: What they are called in sentences, in the plural.
        backbones: Backbones that they are for; empty for all with ImageNet weights.
        seen: Data sets whose images they were trained on; None where nobody says.
        normalisation: What the pixels went through, one of `NORMALISATIONS`; None for the backbone's own.
        input_words: The same in words.
        parameters: Numbers in the published file, about four bytes each; None where it depends on the backbone.
        licence: Under which terms.
        where: Where the file is to be had, in words.
        checksum: What is published of its SHA-256: how it begins, or `NOT_PUBLISHED`.
        loads_itself: Whether Keras or keras-hub downloads them, so that no file is needed.
        keys: By what an array's key begins in the file, and what stands there in torchvision's.
        note: What else is to be known.
    """

    name: str
    title: str
    backbones: tuple[str, ...] = ("DenseNet121",)
    seen: tuple[Seen, ...] | None = None
    normalisation: str | None = "imagenet"
    input_words: str = "ImageNet's mean and standard deviation"
    parameters: int | None = None
    licence: str = "not stated by the publisher"
    where: str = "not stated"
    checksum: str = NOT_PUBLISHED
    loads_itself: bool = False
    keys: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if self.normalisation is not None:
            one_of(self.normalisation, NORMALISATIONS, "normalisation")

    @property
    def size(self) -> str:
        """About how large the file is, in words."""
        return "as the backbone" if self.parameters is None else f"about {4 * self.parameters / 1e6:.0f} MB"

    @property
    def seen_words(self) -> str:
        """The data sets that they have seen, in words."""
        return "not stated" if self.seen is None else ", ".join(entry.dataset for entry in self.seen) or "none"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        seen = None if self.seen is None else [entry.to_dict() for entry in self.seen]
        return {entry.name: getattr(self, entry.name) for entry in fields(self)} | {"seen": seen}

    def record(self) -> dict[str, Any]:
        """Returns what a run records of weights that were loaded by their name, without a file of the user's."""
        return {
            "origin": self.title,
            "title": self.title,
            "source": self.name,
            "layout": "Keras",
            "normalisation": self.normalisation or "the backbone's own",
            "seen": self.to_dict()["seen"],
        }


_ISSUE = "github.com/mlmed/torchxrayvision, issue 47"
_SCRIPT = "github.com/mlmed/torchxrayvision, scripts/train_model.py"
_RANDOM = '"it was trained on a random split of the dataset"'
_PARTS = "the training script divides the images at random, without regard to official lists"
_CHEXPERT_PART = "the training script reads CheXpert-v1.0-small/train.csv alone, not valid.csv"
_XRV_SEEN = {
    "nih": Seen(NIH, statement=f"the authors: {_RANDOM}", where=_ISSUE),
    "google": Seen(f"{NIH} (Google's readings)", statement=_PARTS, where=_SCRIPT),
    "pc": Seen(PADCHEST, statement=_PARTS, where=_SCRIPT),
    "chex": Seen(CHEXPERT, "official test", _CHEXPERT_PART, _SCRIPT),
    "mimic": Seen(MIMIC, statement=_PARTS, where=_SCRIPT),
    "openi": Seen(OPEN_I, statement=_PARTS, where=_SCRIPT),
    "rsna": Seen(
        "RSNA Pneumonia Detection Challenge (images of NIH ChestX-ray14)",
        statement='its data set is "a subset of the NIH ChestX-ray14 images", and ' + _PARTS,
        where="github.com/mlmed/torchxrayvision, torchxrayvision/datasets.py and scripts/train_model.py",
    ),
}  # fmt: skip


def _from_the_web(dataset: str) -> Seen:
    said = "images from the web, chosen without labels; whether radiographs are among them is not stated"
    return Seen(dataset, statement=said, where="the authors' paper")


_XRV_PARAMETERS = 6_966_034 + 83_648


def _xrv(name: str, published: str, file: str, *seen: str) -> WeightsSource:
    return WeightsSource(
        name=f"xrv-{name}",
        title=f"torchxrayvision's weights densenet121-res224-{published}",
        seen=tuple(_XRV_SEEN[each] for each in seen),
        normalisation="signed_1024",
        input_words="-1024 to 1024, one channel, 224 x 224",
        parameters=_XRV_PARAMETERS,
        licence=(
            "Apache 2.0 for the library's models (its LICENSE); terms of the weights alone are not stated, those of "
            "the data sets that they were trained on may apply"
        ),
        where=f"torchxrayvision's releases on GitHub (mlmed/torchxrayvision, release v1), file {file}",
        note="Cohen et al., MIDL 2020 and 2022. Published as a pickled model: read here without running it.",
    )


WEIGHTS: Registry[WeightsSource] = Registry(
    "weights",
    (
        WeightsSource(
            name="imagenet",
            title="Keras' ImageNet weights",
            backbones=(),
            seen=(Seen("ImageNet", statement="photographs"),),
            normalisation=None,
            input_words="the backbone's own",
            licence="as keras.applications states for each network; images of ImageNet are for non-commercial research",
            where="Keras loads them itself; offline, the 'notop' file of the backbone from Keras' own storage",
            checksum="checked by Keras (MD5 in keras.applications) when it loads them itself",
            loads_itself=True,
        ),
        WeightsSource(
            name="dinov2",
            title="DINOv2's weights as keras-hub publishes them",
            backbones=("DINOv2Small", "DINOv2Base", "DINOv2Large"),
            seen=(_from_the_web("LVD-142M"),),
            licence="Apache 2.0 (the authors' repository)",
            where="keras-hub loads them itself (extra hub); offline, the file model.weights.h5 of keras/dinov2 in "
            "Kaggle's models, dinov2_small, dinov2_base or dinov2_large",
            loads_itself=True,
            note="Oquab et al., arXiv 2304.07193. For other sizes than 518 pixels its positions are interpolated.",
        ),
        WeightsSource(
            name="dinov3",
            title="DINOv3's weights as keras-hub publishes them",
            backbones=("DINOv3Small", "DINOv3Base", "DINOv3Large"),
            seen=(_from_the_web("LVD-1689M"),),
            licence="DINOv3 License of the authors, to be accepted where the file is had",
            where="keras-hub loads them itself (extra hub); offline, the file model.weights.h5 of keras/dinov3 in "
            "Kaggle's models, dinov3_vit_small_lvd1689m, dinov3_vit_base_lvd1689m or dinov3_vit_large_lvd1689m",
            loads_itself=True,
            note="Siméoni et al., arXiv 2508.10104.",
        ),
        WeightsSource(
            name="torchvision",
            title="torchvision's ImageNet weights",
            backbones=_DENSENETS,
            seen=(Seen("ImageNet", statement="photographs"),),
            licence="BSD 3-clause for torchvision; images of ImageNet are for non-commercial research",
            where="PyTorch's download page, files densenet121-a639ec97.pth, densenet169-b2777c0a.pth and "
            "densenet201-c1103571.pth",
            checksum="SHA-256 begins with the eight digits in the file's name",
        ),
        _xrv(
            "all",
            "all",
            "nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
            "nih", "pc", "chex", "mimic", "google", "openi", "rsna",
        ),
        _xrv("nih", "nih", "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt", "nih"),
        _xrv("pc", "pc", "pc-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt", "pc"),
        _xrv("chex", "chex", "chex-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt", "chex"),
        _xrv("rsna", "rsna", "kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt", "rsna"),
        _xrv("mimic-nb", "mimic_nb", "mimic_nb-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt", "mimic"),
        _xrv("mimic-ch", "mimic_ch", "mimic_ch-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt", "mimic"),
        WeightsSource(
            name="radimagenet",
            title="RadImageNet's weights for Keras",
            seen=(Seen("RadImageNet", statement='"CT, MRI, and ultrasound images", no radiographs of chests',
                       where="github.com/BMEII-AI/RadImageNet, README.md"),),
            normalisation="caffe_255",
            input_words="ImageNet's means of blue, green and red subtracted, then divided by 255",
            parameters=7_037_504,
            licence="MIT for the repository; terms of the weights alone are not stated",
            where="the page of BMEII-AI/RadImageNet on GitHub, which links its models; file "
            "RadImageNet-DenseNet121_notop.h5",
            note="Mei et al., Radiology: Artificial Intelligence 2022. Pixels as in its training scripts "
            "(pneumonia_train.py).",
        ),
        WeightsSource(
            name="radimagenet-torch",
            title="RadImageNet's weights for PyTorch",
            seen=(Seen("RadImageNet", statement='"CT, MRI, and ultrasound images", no radiographs of chests',
                       where="github.com/BMEII-AI/RadImageNet, README.md"),),
            normalisation="signed",
            input_words="-1 to 1",
            parameters=7_037_504,
            licence="MIT for the repository; terms of the weights alone are not stated",
            where="the page of BMEII-AI/RadImageNet on GitHub, which links its models; file DenseNet121.pt",
            note="Mei et al., Radiology: Artificial Intelligence 2022. Pixels as in its example for PyTorch "
            "(pytorch_example.ipynb).",
        ),
    ),
)  # fmt: skip
"""Published weights by name; any other file can be given too."""

_DESCRIPTION = ("name", "title", "backbones", "seen", "normalisation", "licence", "where", "keys")


@checked
def read_source(path: str | Path) -> WeightsSource:
    """Reads the description of weights that are not among `WEIGHTS`.

    It is JSON with the fields "name" (one word), "seen" (names of data sets, or for each "dataset", "untouched",
    "statement" and "where" as in `seen.Seen`), and where they differ from torchvision's "normalisation", "backbones"
    and "keys": by what a key begins in the file, and what stands there in torchvision's, as in
    ``{"encoder.": "features."}``.

    Args:
        path: The JSON file.

    Returns:
        The source.

    Raises:
        ValueError: If it is no such description.
    """
    path = Path(path)
    data = files.read_json(files.readable(path, _LARGEST_DESCRIPTION))
    if not isinstance(data, dict) or not isinstance(data.get("name"), str) or "seen" not in data:
        raise ValueError(
            f"{path.name} describes no weights: it needs the fields name and seen, as in "
            '{"name": "mine", "seen": ["CheXpert"], "normalisation": "imagenet", "keys": {"encoder.": "features."}}.'
        )
    for field in data:
        if field not in _DESCRIPTION:
            raise ValueError(
                f"{path.name}: weights have no field {field!r}; {nearest(field, _DESCRIPTION)} Fields: "
                f"{', '.join(_DESCRIPTION)}."
            )
    try:
        told = {name: data[name] for name in ("normalisation", "licence", "where") if name in data}
        listed = data["seen"]
        seen = None if listed is None else tuple(
            Seen(entry) if isinstance(entry, str) else Seen(**entry) for entry in listed
        )  # fmt: skip
        keys = tuple((str(old), str(new)) for old, new in data.get("keys", {}).items())
        return WeightsSource(
            name=data["name"],
            title=str(data.get("title", f"the weights {data['name']}")),
            backbones=tuple(data.get("backbones", ("DenseNet121",))),
            seen=seen,
            input_words=str(told.get("normalisation", "imagenet")),
            keys=keys,
            **told,
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path.name} describes no weights that can be used ({error!s:.200}).") from error
