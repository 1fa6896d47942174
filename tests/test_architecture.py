"""The house plan, checked: imports go down the layers only, and the light layers stay light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chexkeras
from chexkeras import _lazy

ROOT = Path(chexkeras.__file__).parent
LAYERS = {
    "_lazy": 0,
    "findings": 0, "checks": 0, "files": 0, "parallel": 0, "progress": 0, "provenance": 0, "results": 0,
    "data": 1, "dicom": 1, "evaluation": 1,
    "phantoms": 2, "models": 2,
    "recipes": 3,
    "runs": 4,
    "training": 5, "inference": 5,
    "plots": 6, "report": 6,
    "demo": 7, "cli": 8,
}  # fmt: skip
HEAVY = {"tensorflow", "keras"}
# The only modules that may import TensorFlow itself: tf.data and the GPU's capabilities are their subject.
TENSORFLOW = {
    "data.pipeline", "data.pixels", "data.store.decoder", "data.augmentation",
    "models.classifier", "training.frozen.feature_store", "training.memory",
    "training.frozen.augmented_copies",
}  # fmt: skip
LIGHT = [
    "evaluation.evaluate", "dicom.read", "data.datasets.nih",
    "data.datasets.chexpert", "data.datasets.custom", "data.datasets.registry",
    "data.datasets.labels", "data.splits.splitters", "data.audit.audit", "phantoms", "data.store.store",
    "data.store.prepare", "results", "plots", "report.submission",
    "report.html", "report.model_card", "report.lint.check", "runs.run",
    "recipes.presets", "training.resume.unfinished", "inference.ensemble", "cli", "parallel",
]  # fmt: skip


def modules():
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}


def imported(path):
    """Returns the names of the package's modules that a file imports, and of the outside ones."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(name):
    return LAYERS.get(name.split(".")[0])


def test_every_room_has_a_layer():
    rooms = {name.split(".")[0] for name in modules()} - {"__init__"}
    assert rooms == set(LAYERS)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_down_the_layers_only(name):
    if name == "__init__":
        return
    for target in imported(modules()[name]):
        if target.startswith("chexkeras."):
            layer = layer_of(target.removeprefix("chexkeras."))
            assert layer is None or layer <= layer_of(name), f"{name} imports {target}"


def test_rooms_of_one_layer_do_not_import_each_other_in_a_circle():
    edges = {
        (name.split(".")[0], target.split(".")[1])
        for name, path in modules().items()
        for target in imported(path)
        if target.startswith("chexkeras.") and target.split(".")[1] in LAYERS
    }
    circles = [(a, b) for a, b in edges if a != b and (b, a) in edges]
    assert not circles


def test_tensorflow_is_named_only_where_it_is_the_subject():
    users = {name for name, path in modules().items() if "tensorflow" in {t.split(".")[0] for t in imported(path)}}
    assert users == TENSORFLOW


def test_files_stay_small():
    long = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert not {name: lines for name, lines in long.items() if lines > 400}


def test_public_names_all_resolve():
    for package in (chexkeras, *(getattr(chexkeras, room) for room in _lazy.ROOMS)):
        for name in package.__all__:
            assert getattr(package, name) is not None


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_start_without_tensorflow_or_keras(name):
    code = f"import sys, chexkeras.{name}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_architecture_page_names_every_room_and_only_rooms_that_exist():
    page = (ROOT.parent / "ARCHITECTURE.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    named = set()
    for row in rows:
        folder = row.split("|")[2].strip().strip("`").removeprefix("chexkeras").strip("/").replace("/", ".")
        rooms = [room for room in re.findall(r"`([a-z_0-9]+)`", row.split("|")[3])]
        named |= {f"{folder}.{room}" if folder else room for room in rooms}
    real = {name for name in modules() if not name.endswith("__init__")}
    assert named == real
