"""Opening model and weights files: what is in them is checked before Keras sees them.

Keras' safe mode has been broken again and again (SECURITY.md lists how), the versions that Kaggle and Colab install are
older than the corrections, and 3.15.1 still calls functions of Keras that a file names. What is checked here does not
depend on the version.
"""

import functools
import io
import re
import stat
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.models.stored.classes import Refused, check_classes, parse
from chexkeras.models.stored.hdf5 import check_weights
from chexkeras.progress import say

if TYPE_CHECKING:
    import keras

MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
"""What Keras writes into a model's file, and all that it may hold."""
MAXIMUM_BYTES = 4 * 2**30
"""Size of a model's or weights file: a billion float32 weights, fifty times those of the largest backbone here."""
MAXIMUM_CONFIG_BYTES = 16 * 2**20
"""Size of a model's configuration; DenseNet201's has 0.7 MB."""
CORRECTED_KERAS = (3, 15, 1)
"""Version of Keras that corrects the published vulnerabilities to crafted model files, see SECURITY.md."""

_DAMAGED = "Copy it once more from where the model was trained, or train it again."


def load_model(path: Path) -> "keras.Model":
    """Loads a model from a ``.keras`` file after a look into it, without what it was compiled with.

    It may hold layers of Keras that an image classifier is made of (`classes.CLASSES`), those of chexkeras, and classes
    that were registered in this process with ``keras.saving.register_keras_serializable``, and no other code.

    Args:
        path: The file.

    Raises:
        ValueError: If the file is damaged, holds anything but what Keras writes for such a model, is beyond the limits
            of this module, or cannot be read by the installed version of Keras.
    """
    import keras

    from chexkeras.models.losses import register_keras_classes

    register_keras_classes()
    _tell_of_version()
    try:
        _check_model(path, dict(keras.saving.get_custom_objects()))
    except Refused as error:
        raise _error(path, error) from error
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    # The boundary to Keras, which raises whatever a value leads to, and quotes the file.
    except Exception as error:
        raise ValueError(
            f"Keras {keras.__version__} cannot make a network of the file {path.name!r} ({type(error).__name__}). Open "
            "it with the version that wrote it, which provenance.json of a run names, or get the file again."
        ) from error


def check_weights_file(path: Path) -> None:
    """Looks into a file of weights, so that Keras may load it into a model that is there already.

    Args:
        path: A ``.h5``, ``.hdf5`` or ``.keras`` file.

    Raises:
        ValueError: If the file is damaged, or holds anything but arrays of numbers.
    """
    _tell_of_version()
    try:
        if path.suffix == ".keras":
            _check_model(path, None)
        elif path.suffix in (".h5", ".hdf5"):
            _check_size(path)
            check_weights(path, path.stat().st_size)
        else:
            raise Refused("is no file of weights by its name, which ends in .weights.h5, .h5 or .keras")
    except Refused as error:
        raise _error(path, error) from error


def _error(path: Path, reason: Refused) -> ValueError:
    return ValueError(f"the file {path.name!r} is not opened: it {reason}")


def _check_size(path: Path) -> None:
    if path.stat().st_size > MAXIMUM_BYTES:
        raise Refused(f"has more than {MAXIMUM_BYTES / 2**30:g} GiB")


def _check_model(path: Path, registered: "dict[str, object] | None") -> None:
    """Checks a ``.keras`` file; its configuration too, where there are registered classes to compare it with."""
    _check_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.infolist(), path.stat().st_size)
            # To its end, which checks each member's checksum.
            content = {name: archive.read(name) for name in MEMBERS}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        # What zipfile raises of a damaged archive.
        raise Refused("is damaged: it is no whole file of Keras", _DAMAGED) from error
    if registered is not None:
        check_classes(parse(content["config.json"]), registered)
    check_weights(io.BytesIO(content["model.weights.h5"]), len(content["model.weights.h5"]))


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    if sorted(member.filename for member in members) != sorted(MEMBERS):
        raise Refused(f"does not hold {', '.join(MEMBERS)} once each and nothing else")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
            raise Refused("holds a link, a folder or an encrypted file")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise Refused(
                f"declares {sum(each.file_size for each in members) / 2**30:.3g} GiB in compressed files, and Keras "
                "compresses none"
            )
    if sum(member.file_size for member in members) > size:
        raise Refused("declares more than it holds")
    if next(each.file_size for each in members if each.filename == "config.json") > MAXIMUM_CONFIG_BYTES:
        raise Refused(f"has a configuration of more than {MAXIMUM_CONFIG_BYTES / 2**20:g} MiB")


@functools.cache
def _tell_of_version() -> None:
    """Says once that the installed Keras is known to be vulnerable to crafted model files."""
    import keras

    numbers = tuple(int(part) for part in re.findall(r"\d+", keras.__version__)[:3])
    if numbers < CORRECTED_KERAS:
        say(
            f"Keras {keras.__version__} has known vulnerabilities to crafted model files. Files are checked before it "
            f"opens them; still, update it where you can: pip install 'keras>={'.'.join(map(str, CORRECTED_KERAS))}'."
        )
