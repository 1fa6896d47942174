"""Which versions, which commit and which machine's arithmetic made an artefact."""

import functools
import importlib.metadata
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_PACKAGES = (
    "chexkeras", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "scipy", "statsmodels", "pydicom", "pillow",
)  # fmt: skip
VERSION = re.compile(r"\d[\w.+!-]*")
"""What the version of a package looks like."""
UNKNOWN, NOT_INSTALLED = "unknown", "not installed"
_RUN_TIME_EXTRAS = ("jpeg12", "openvino", "onnx", "tensorboard")
# libjpeg-6dc8d115.so.62.4.0, libtensorflow_framework.so.2, libz.1.dylib, libscipy_openblas-6cdc3b4a.dll
_LIBRARY = re.compile(
    r"(?P<name>lib[A-Za-z][\w+]*?(-[A-Za-z]\w*?)*?)(-[0-9a-f]{8,32})*"
    r"(\.so(\.(?P<so>\d[\w.]*))?|(\.(?P<dylib>\d[\d.]*))?\.dylib|\.dll)"
)
_LINKED_IN = {
    "pylibjpeg-openjpeg": {"libopenjp2": ""}, "pylibjpeg-libjpeg": {"libjpeg": ""}, "pyjpegls": {"libcharls": ""},
}  # fmt: skip


def _version(package: str) -> str:
    try:
        return _told(importlib.metadata.distribution(package))
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _told(package: importlib.metadata.Distribution) -> str:
    """Returns a package's version; while it is being installed anew its metadata may have none, or half of one."""
    version: str | None = package.version
    return version if version and VERSION.fullmatch(version) else UNKNOWN


@functools.cache
def _needed() -> dict[str, tuple[importlib.metadata.Distribution, frozenset[str]]]:
    """Returns what chexkeras needs at run time as installed here, with the names that each package needs itself."""
    packages: dict[str, importlib.metadata.Distribution] = {}
    needs: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    # A package and one of its extras, "" for the package alone.
    waiting = [("chexkeras", extra) for extra in ("", *_RUN_TIME_EXTRAS)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            packages[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in packages[name].requires or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                needs.setdefault(name, set()).add(needed)
                waiting += [(needed, each) for each in ("", *requirement.extras)]
    return {name: (package, frozenset(needs.get(name, ())) & packages.keys()) for name, package in packages.items()}


def installed() -> dict[str, str]:
    """Returns chexkeras and all that it needs at run time, directly or through others, as installed here.

    Extras that a package asks another one for count, and those of chexkeras itself that change what runs (engines,
    decoders) where they are installed.

    Returns:
        Names, normalised and sorted, with their versions, "unknown" where a package does not say it; a package that is
        needed on another system only is left out.
    """
    return {name: _told(package) for name, (package, _) in sorted(_needed().items())}


def depends() -> dict[str, list[str]]:
    """Returns which of the `installed` packages each of them needs itself.

    Returns:
        Sorted names by sorted name; a package that needs none is left out.
    """
    return {name: sorted(needs) for name, (_, needs) in sorted(_needed().items()) if needs}


@functools.cache
def bundled() -> dict[str, dict[str, str]]:
    """Returns the libraries of other languages that the `installed` packages bring along.

    They are known by the names of shared libraries among a package's files, as the tools that make wheels put them
    there. Of what is linked into an extension module itself, only the decoders of images are known.

    Returns:
        By package, the version of each library's binary interface (libjpeg-turbo 3 has 62.4.0) by the library's name;
        "" where its name does not say it.
    """
    found: dict[str, dict[str, str]] = {}
    for name, (package, _) in sorted(_needed().items()):
        libraries = dict(_LINKED_IN.get(name, {}))
        for file in package.files or ():
            match = _LIBRARY.fullmatch(file.name)
            if match:
                libraries[match["name"]] = match["so"] or match["dylib"] or ""
        if libraries:
            found[name] = dict(sorted(libraries.items()))
    return found


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_commit() -> str:
    """Returns the commit of the source tree, with "+changes" when it differs; "not a git checkout" when installed."""
    tracked = _git("ls-files", "--error-unmatch", "provenance.py")
    commit = _git("rev-parse", "HEAD")
    if not tracked or not commit:
        return "not a git checkout"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{commit}+changes" if changed else commit


def collect() -> dict[str, Any]:
    """Returns what every artefact records of its origin, without importing the heavy packages.

    Returns:
        A mapping that JSON can hold: UTC time, package versions ("packages" are those that matter most, "installed" all
        that run, "depends" which of them needs which, "bundled" the libraries inside them), Python version, platform
        and git commit. Neither user names, host names nor paths are in it.
    """
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {package: _version(package) for package in _PACKAGES},
        "installed": installed(),
        "depends": depends(),
        "bundled": bundled(),
    }
