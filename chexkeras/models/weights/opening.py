"""Opening a file of weights by any of the publishers that are read: which layout it has, told by its content."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chexkeras import files
from chexkeras.checks import existing_file, nearest, typed_path
from chexkeras.models.stored.classes import Refused
from chexkeras.models.stored.model_file import MAXIMUM_BYTES, check_weights_file
from chexkeras.models.vit.sizes import FAMILIES
from chexkeras.models.weights import densenet
from chexkeras.models.weights.pytorch import LEGACY_BEGIN, is_pytorch_archive, read_pytorch
from chexkeras.models.weights.safetensors_file import is_safetensors, read_safetensors
from chexkeras.models.weights.sources import WEIGHTS, WeightsSource, read_source

KERAS, PYTORCH, SAFETENSORS, DESCRIPTION = "Keras", "PyTorch", "safetensors", "description"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_AGAIN = "Download it again from the publisher's page, with the link to the file itself."


@dataclass(frozen=True)
class Found:
    """Weights that were found for a backbone.

    Attributes:
        file: Their file.
        layout: "Keras", "PyTorch" or "safetensors".
        source: Whose they are; None where that was not said.
        arrays: Those of PyTorch, by torchvision's keys; None where Keras reads the file.
    """

    file: Path
    layout: str
    source: WeightsSource | None
    arrays: dict[str, np.ndarray] | None

    @property
    def gray(self) -> bool:
        """Whether their first convolution reads one channel."""
        return self.arrays is not None and self.arrays["conv0.weight"].shape[1:2] == (1,)

    @property
    def normalisation(self) -> str | None:
        """What the pixels go through first; None for the backbone's own."""
        if self.source is not None:
            return self.source.normalisation
        # Of the networks that are published as PyTorch files, torchxrayvision's alone read one channel.
        return None if self.arrays is None else "signed_1024" if self.gray else "imagenet"

    @property
    def conversion(self) -> str:
        """What was done to them, in words."""
        if self.source is not None and self.source.name in FAMILIES:
            return "from keras-hub's layers to the same ones here; positions interpolated for other image sizes"
        if self.arrays is None:
            return "none: Keras' own file"
        done = [
            f"from {self.layout}: kernels transposed",
            f"BatchNorm's epsilon {densenet.TORCH_EPSILON:g} folded into the variance",
        ]
        if self.gray:
            done.append("the first convolution spread over three equal channels")
        return ", ".join(done)

    @property
    def title(self) -> str:
        """What they are called in sentences."""
        return self.source.title if self.source is not None else f"the weights of the file {self.file.name}"

    def record(self) -> dict[str, Any]:
        """Returns what a run records of them."""
        seen = None if self.source is None or self.source.seen is None else [
            entry.to_dict() for entry in self.source.seen
        ]  # fmt: skip
        return {
            "origin": self.source.title if self.source is not None else f"file {self.file.name}",
            "title": self.title,
            "source": self.source.name if self.source is not None else "not stated",
            "file": self.file.name,
            "sha256": files.sha256_file(self.file),
            "layout": self.layout,
            "conversion": self.conversion,
            "normalisation": self.normalisation or "the backbone's own",
            "seen": seen,
        }


def layout_of(path: Path) -> str:
    """Returns the layout of a file by its content: "Keras", "PyTorch", "safetensors" or "description".

    Args:
        path: The file.

    Raises:
        Refused: If it is none of these; it says what it is instead, where that can be told.
    """
    size = path.stat().st_size
    if size > MAXIMUM_BYTES:
        raise Refused(f"has more than {MAXIMUM_BYTES / 2**30:g} GiB", "Weights of a backbone are far smaller.")
    with path.open("rb") as stream:
        head = stream.read(512)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise Refused("is empty", _AGAIN)
    if text.startswith(b"<"):
        raise Refused("is a web page, not weights: the download led to a page that shows or guards the file", _AGAIN)
    if head.startswith(b"version https://git-lfs"):
        raise Refused(
            "is a pointer of Git LFS, not the weights themselves", "Get the file with 'git lfs pull', or download it."
        )
    if head.startswith(_HDF5):
        return KERAS
    if head.startswith(b"PK"):
        return _archive_layout(path)
    if head.startswith(LEGACY_BEGIN):
        return PYTORCH
    if is_safetensors(head, size):
        return SAFETENSORS
    if text.startswith(b"{"):
        return DESCRIPTION
    if head.startswith(b"\x80"):
        raise Refused("is a pickle, but not of PyTorch; it was not read", _AGAIN)
    if path.suffix in (".h5", ".hdf5", ".keras"):
        raise Refused("is damaged: it does not begin as a file of Keras does", _AGAIN)
    raise Refused("is no file of weights by Keras, PyTorch or safetensors, or is damaged", _AGAIN)


def _archive_layout(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise Refused("is damaged: it ends early or is no whole archive", _AGAIN) from error
    if is_pytorch_archive(names):
        return PYTORCH
    if "config.json" in names or path.suffix == ".keras":
        return KERAS
    raise Refused("is an archive that holds no weights by PyTorch or Keras; where it holds a file of them, unpack it",
                  "Give the file inside.")  # fmt: skip


def find(backbone: str, weights: str | Path | None, weights_file: str | Path | None = None) -> Found | None:
    """Finds the weights that a recipe names, and reads those that Keras does not read itself.

    Args:
        backbone: The backbone's name.
        weights: A name in `WEIGHTS`, a file of weights, a JSON description of weights, or None.
        weights_file: The file of weights that are named or described.

    Returns:
        The weights; None for an untrained base, and where Keras loads ImageNet's itself.

    Raises:
        ValueError: If a file is missing, is no weights, or does not fit.
    """
    if weights is None:
        if weights_file is not None:
            raise ValueError("weights_file is given and weights is None; name whose they are, or give weights=FILE.")
        return None
    source = WEIGHTS.get(str(weights))
    if source is None:
        file = _file(weights, weights_file is None)
        source, file = _described(file, weights_file)
    elif weights_file is None:
        if source.loads_itself:
            return None
        raise ValueError(missing_file(source))
    else:
        file = existing_file(typed_path(weights_file, "weights_file"), "weights_file")
    _check_backbone(source, backbone)
    try:
        layout = layout_of(file)
        if layout == DESCRIPTION:
            raise Refused("describes weights and holds none", "Give it as weights, and the weights as weights_file.")
        arrays = None if layout == KERAS else _features(file, layout, source)
        if arrays is not None and backbone not in densenet.CONVERTED:
            raise Refused(
                f"has weights of {layout}, which are converted for {', '.join(densenet.CONVERTED)}, not for {backbone}",
                "Set backbone to one of them, or give a file of Keras.",
            )
    except Refused as error:
        raise ValueError(f"the file {file.name!r} is not used: it {error}") from error
    if layout == KERAS:
        check_weights_file(file)
    _check_sum(source, file)
    return Found(file, layout, source, arrays)


def missing_file(source: WeightsSource) -> str:
    """Returns the sentence that says where the file of a source is to be had.

    Args:
        source: One of `WEIGHTS`.
    """
    return (
        f"weights={source.name!r} need their file: get it from {source.where} ({source.size}; licence: "
        f"{source.licence}), and name it as weights_file (--weights-file FILE)."
    )


def _file(weights: str | Path, alone: bool) -> Path:
    known = f"; {nearest(str(weights), WEIGHTS)} 'chexkeras weights' lists those with a name" if alone else ""
    return existing_file(
        typed_path(weights, "weights"), "weights", f"check the spelling, or give its full path{known}."
    )


def _described(file: Path, weights_file: str | Path | None) -> tuple[WeightsSource | None, Path]:
    """Returns the source of a description with the file it goes with, or nobody's with the file itself."""
    is_description = file.suffix.lower() == ".json"
    if is_description and weights_file is not None:
        return read_source(file), existing_file(typed_path(weights_file, "weights_file"), "weights_file")
    if is_description:
        raise ValueError(f"weights={file.name!r} describes weights; name their file as weights_file (--weights-file).")
    if weights_file is not None:
        raise ValueError(
            f"weights={file.name!r} is a file already, and weights_file is given too; name one file, and with "
            "weights_file whose it is."
        )
    return None, file


def _check_backbone(source: WeightsSource | None, backbone: str) -> None:
    if source is not None and source.backbones and backbone not in source.backbones:
        raise ValueError(
            f"weights={source.name!r} are of {' or '.join(source.backbones)}, and the backbone is {backbone}; set "
            f"backbone={source.backbones[0]!r}."
        )


def _features(file: Path, layout: str, source: WeightsSource | None) -> dict[str, np.ndarray]:
    arrays = read_pytorch(file) if layout == PYTORCH else read_safetensors(file)
    return densenet.features_of(arrays, source.keys if source is not None else ())


def _check_sum(source: WeightsSource | None, file: Path) -> None:
    """Refuses a file that bears the publisher's name and is another one."""
    if source is None or source.name != "torchvision" or "-" not in file.stem:
        return
    stated = file.stem.rpartition("-")[2]
    if len(stated) == 8 and not files.sha256_file(file).startswith(stated):
        raise ValueError(
            f"the file {file.name!r} is not used: its SHA-256 does not begin with {stated}, as its name says; "
            "download it again."
        )


def put(found: Found, backbone: str, model: Any) -> None:
    """Gives a network the weights that were found.

    Args:
        found: The weights.
        backbone: The backbone's name.
        model: Its network without top, untrained.

    Raises:
        ValueError: If they do not fit.
    """
    if found.arrays is None:
        raise TypeError("Keras reads its own files itself.")
    epsilon = model.get_layer("conv1_bn").epsilon
    try:
        densenet.put(model, densenet.converted(found.arrays, backbone, epsilon))
    except Refused as error:
        raise ValueError(f"the file {found.file.name!r} is not used: it {error}") from error
