"""What is installed for whom: requirements.txt, pyproject.toml and the stubs agree."""

import re
import tomllib
from pathlib import Path

import chexkeras

ROOT = Path(chexkeras.__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def listed():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def names(requirements):
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def test_requirements_are_what_runs_and_then_what_the_notebooks_need():
    assert listed() == PROJECT["dependencies"] + PROJECT["optional-dependencies"]["notebooks"]


def test_the_usual_packages_are_in_requirements():
    usual = "tensorflow keras numpy pandas scikit-learn matplotlib seaborn pydicom jupyter"
    assert set(usual.split()) <= names(listed())


def test_a_machine_that_trains_needs_no_jupyter():
    assert not {name for name in names(PROJECT["dependencies"]) if name.startswith(("jupyter", "notebook", "ipy"))}


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert PROJECT["version"] == chexkeras.__version__
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1] == chexkeras.__version__
    assert f"## [{chexkeras.__version__}]" in changelog or "## [Unreleased]" in changelog
