"""What is installed for whom: requirements.txt, pyproject.toml and the stubs agree."""

import ast
import datetime
import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

import chexkeras
from chexkeras import provenance

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


def floors():
    """Returns the oldest version of each package that may be installed, as numbers, by its name."""
    every = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    found = [re.fullmatch(r"([a-z0-9-]+)(?:\[.*\])?>=([\d.]+)", requirement) for requirement in every]
    # A package may stand in several extras; the one that asks for least counts.
    return {match[1]: min(numbers(other[2]) for other in found if other[1] == match[1]) for match in found}


def numbers(version):
    return tuple(int(part) for part in [*re.findall(r"\d+", version), 0, 0][:3])


def vulnerabilities():
    """Returns the rows of the table of known vulnerabilities, and the packages without any."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8").split("## Known vulnerabilities")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    without = re.search(r"None known: (.*?)\.\n", text, re.DOTALL)[1]
    return rows[2:], {name.strip() for name in without.replace("\n", " ").split(",")}, text


def test_every_package_is_in_the_list_of_known_vulnerabilities_once():
    rows, without, text = vulnerabilities()
    listed = [row[0] for row in rows]
    assert len(set(listed)) == len(listed)
    assert not set(listed) & without
    assert set(listed) | without == set(floors())
    assert datetime.date.fromisoformat(re.search(r"As of (\S+),", text)[1]) >= datetime.date(2026, 11, 30)
    assert all(re.search(r"CVE-20\d\d-\d{4,}", row[2]) for row in rows)


@pytest.mark.parametrize("row", vulnerabilities()[0], ids=lambda row: row[0])
def test_no_package_with_a_vulnerability_that_reaches_us_may_be_installed(row):
    name, corrected, _, done = row
    if not done.startswith("floor"):
        # What is done in place of a floor is said.
        assert len(done) > 40
        return
    assert floors()[name] >= numbers(corrected)
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return
    assert numbers(installed) >= numbers(corrected)


def test_what_is_imported_is_asked_for():
    """A package that the library imports is one that it names, not one that others happen to bring."""
    distributions = {"sklearn": "scikit-learn", "dicomweb_client": "dicomweb-client",
                     "PIL": "pillow", "lazy_loader": "lazy-loader", "gdcm": "python-gdcm",
                     "markdown_it": "markdown-it-py",
                     "pypandoc": "pypandoc-binary", "openjpeg": "pylibjpeg-openjpeg"}  # fmt: skip
    found = set()
    for path in Path(chexkeras.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    outside = {distributions.get(name, name) for name in found - set(sys.stdlib_module_names) - {"chexkeras"}}
    # The escaping of jinja2.
    assert outside - set(floors()) == {"markupsafe"}


class Installed:
    """A package as `importlib.metadata` describes it."""

    def __init__(self, version="1.0", requires=(), files=()):
        self.version, self.requires, self.files = version, list(requires), [Path(file) for file in files]


@pytest.fixture
def packages(monkeypatch):
    """A world in which only these packages are installed."""
    world = {
        "chexkeras": Installed("0.1", ["Reached_Directly[fast]>=1", 'onnx; extra == "onnx"', 'pytest; extra == "dev"']),
        "reached-directly": Installed("2.0", [
            "plain", 'through-extra>=1; extra == "fast"', 'not-asked; extra == "slow"',
            'elsewhere; sys_platform == "other"', 'here; python_version >= "3"', "no requirement at all !",
        ]),
        # Names itself with an extra, as packages do that gather their extras in one.
        "through-extra": Installed("3.0", [
            'through-extra[deep]; extra == "all"', 'deep-down; extra == "deep"', "circle[all]",
        ]),
        "circle": Installed("4.0", ['through-extra[all]; extra == "all"']),
        "deep-down": Installed(), "plain": Installed(), "here": Installed(), "elsewhere": Installed(),
        "not-asked": Installed(), "pytest": Installed(), "onnx": Installed(), "unrelated": Installed(),
    }  # fmt: skip

    def distribution(name):
        if name not in world:
            raise importlib.metadata.PackageNotFoundError(name)
        return world[name]

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    for cached in (provenance._needed, provenance.bundled):
        cached.cache_clear()
    yield world
    monkeypatch.undo()
    for cached in (provenance._needed, provenance.bundled):
        cached.cache_clear()


def test_what_runs_is_followed_through_extras_and_markers(packages):
    assert list(provenance.installed()) == [
        "chexkeras", "circle", "deep-down", "here", "onnx", "plain", "reached-directly", "through-extra",
    ]  # fmt: skip
    assert provenance.depends() == {
        "chexkeras": ["onnx", "reached-directly"],
        "circle": ["through-extra"],
        "reached-directly": ["here", "plain", "through-extra"],
        "through-extra": ["circle", "deep-down", "through-extra"],
    }
    del packages["onnx"]
    provenance._needed.cache_clear()
    assert "onnx" not in provenance.installed()
    assert provenance.depends()["chexkeras"] == ["reached-directly"]


def test_libraries_inside_packages_are_named_by_their_files(packages):
    packages["plain"].files = [Path(file) for file in (
        "plain.libs/libjpeg-6dc8d115.so.62.4.0", "plain.libs/libgfortran-040039e1-0352e75f.so.5.0.0",
        "plain.libs/libscipy_openblas64_-32a4b2a6.so", "plain/libclang.so", "plain/libtensorflow_cc.so.2",
        "plain/.dylibs/libz.1.3.1.dylib", "plain.libs/libscipy_openblas-6cdc3b4a.dll",
        "plain.libs/libcrypto-5409cd36.so.1.1.1k",
        "plain/_module.cpython-311-x86_64-linux-gnu.so", "plain/library.py", "plain/libs.txt", "plain/libexec.py",
    )]  # fmt: skip
    assert provenance.bundled() == {"plain": {
        "libclang": "", "libcrypto": "1.1.1k", "libgfortran": "5.0.0", "libjpeg": "62.4.0", "libscipy_openblas": "",
        "libscipy_openblas64_": "", "libtensorflow_cc": "2", "libz": "1.3.1",
    }}  # fmt: skip


def test_provenance_of_this_machine_is_json_a_run_may_hold():
    record = provenance.collect()
    assert json.loads(json.dumps(record)) == record
    assert {"keras", "numpy", "h5py"} <= set(record["installed"])
    assert set(record["depends"]) <= set(record["installed"]) >= set(record["bundled"])
    assert all(set(needs) <= set(record["installed"]) for needs in record["depends"].values())
