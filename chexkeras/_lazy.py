"""Loads the public names of a package when they are first used.

Which names these are is written once, in the stub (`__init__.pyi`) beside the package: editors and type checkers read
it, and so does Python. lazy_loader keeps a function such as `evaluation.evaluate` apart from the module of the same
name, whichever of the two is used first.
"""

import ast
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lazy_loader

ROOMS = (
    "data", "delivery", "dicom", "evaluation", "explanation", "inference", "models", "phantoms", "plots",
    "recipes", "report",
)  # fmt: skip
"""The packages below `chexkeras` whose names a stub lists."""

RENAMED = {
    "Reading": "dicom.ReadOptions",
    "ScoringViews": "inference.TestTimeAugmentation",
    "predict_views": "inference.predict_augmented",
}
"""Public names that went: what stands for them now, as written after `chexkeras.`."""


def attach(package: str, init_file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package, from the stub beside its `__init__.py`.

    Args:
        package: Its `__name__`.
        init_file: Its `__file__`.

    Example:
        >>> import chexkeras
        >>> "train" in dir(chexkeras), callable(chexkeras.split_by_patient)
        (True, True)
    """
    load, list_names, public = lazy_loader.attach_stub(package, init_file)

    def find(name: str) -> Any:
        if name in public:
            return load(name)
        # The import system asks for names with underscores and for modules before it imports them.
        asked_by_import = name.startswith("_") or importlib.util.find_spec(f"{package}.{name}") is not None
        hint = "" if asked_by_import else f"; {_hint(package, name, public)}"
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}", name=name)

    return find, list_names, public


@functools.cache
def stub_names(room: str) -> tuple[str, ...]:
    """Returns the public names of a package below `chexkeras`, without importing what they name.

    Args:
        room: One of `ROOMS`, or "" for `chexkeras` itself.

    Example:
        >>> stub_names("phantoms")
        ('HOSPITALS', 'Hospital', 'LAYOUTS', 'make_chexpert_phantoms', 'make_phantoms', 'write_dicom_folder')
    """
    stub = ast.parse((Path(__file__).parent / room / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return tuple(sorted(alias.name for node in imports for alias in node.names))


def _hint(package: str, name: str, public: list[str]) -> str:
    """Returns where a name is that a package does not have, or which name is near."""
    from chexkeras.checks import nearest

    if name in RENAMED:
        return f"it is chexkeras.{RENAMED[name]} now."
    for room in (*ROOMS, ""):
        where = f"chexkeras.{room}".rstrip(".")
        if where != package and name in stub_names(room):
            return f"it is {where}.{name}."
    return nearest(name, public)
