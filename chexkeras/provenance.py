"""Which versions, which commit and which machine's arithmetic made an artefact."""

import importlib.metadata
import platform
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
        A mapping that JSON can hold: UTC time, package versions, Python version, platform and git commit. Neither
        user names, host names nor paths are in it.
    """
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {package: _version(package) for package in _PACKAGES},
    }
