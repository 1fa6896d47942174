"""Which versions, which commit and which machine's arithmetic made an artefact."""

import functools
import importlib.metadata
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PACKAGES = (
    "chexkeras", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "scipy", "statsmodels", "pydicom", "pillow",
)  # fmt: skip


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def installed() -> dict[str, str]:
    """Returns chexkeras and all that it needs at run time, directly or through others, as installed here.

    Returns:
        Names, normalised and sorted, with their versions; a package that is needed on another system only is left out.
    """
    found: dict[str, str] = {}
    waiting = ["chexkeras"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version
        for requirement in distribution.requires or ():
            match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
            if match and not re.search(r";.*\bextra\b", requirement):
                waiting.append(re.sub(r"[-_.]+", "-", match[1]).lower())
    return dict(sorted(found.items()))


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
        that run), Python version, platform and git commit. Neither user names, host names nor paths are in it.
    """
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {package: _version(package) for package in _PACKAGES},
        "installed": installed().copy(),
    }
