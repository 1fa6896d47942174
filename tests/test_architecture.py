"""The house plan, checked: layers, circles, the weight of an import, the size of rooms, and the page that shows it all.

``python -m tests.test_architecture`` writes the tree in ARCHITECTURE.md again from the modules' own first lines.
"""

import ast
import functools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import chexkeras
from chexkeras import _lazy

ROOT = Path(chexkeras.__file__).parent
PROJECT = ROOT.parent
PAGE = PROJECT / "ARCHITECTURE.md"
LAYERS = {
    "_lazy": 0, "_quiet": 0, "findings": 0, "arguments": 0, "checks": 0, "plain": 0, "files": 0, "progress": 0,
    "provenance": 0, "parallel": 0, "storage": 0, "results": 0,
    "data": 1, "dicom": 1, "evaluation": 1,
    "phantoms": 2, "models": 2,
    "recipes": 3,
    "runs": 4,
    "training": 5, "inference": 5, "explanation": 5,
    "plots": 6, "report": 6,
    "delivery": 7,
    "demo": 8, "notebook": 8, "page": 8, "node": 8,
    "cli": 9, "__main__": 9,
}  # fmt: skip
HEAVY = {"tensorflow", "keras"}
# The only modules that may import TensorFlow itself: tf.data and the GPU's capabilities are their subject.
TENSORFLOW = {
    "data.degradation",
    "data.pipeline", "data.pixels", "data.store.decoder", "data.augmentation", "data.given_augmentation",
    "models.classifier",
    "training.frozen.feature_store", "training.memory", "training.frozen.augmented_copies",
    "explanation.gradients",
}  # fmt: skip
# Whole rooms that must start without TensorFlow and Keras, and single modules of rooms that need them elsewhere.
LIGHT_ROOMS = ("results", "dicom", "evaluation", "phantoms", "recipes", "runs", "plots", "report", "cli", "delivery")
LIGHT = (
    "findings", "arguments", "checks", "plain", "files", "parallel", "progress", "provenance", "storage",
    "data.image_table",
    "data.sampling",
    "data.datasets.registry", "data.splits.splitters", "data.audit.audit", "data.store.store", "data.store.prepare",
    "inference.ensemble",
)  # fmt: skip
MOST_FILES, MOST_LINES = 15, 500
# A room that grows beyond its subject shows here: the statistics, heat maps, the page, and all others together.
MOST_LINES_OF = {
    "evaluation": 21_300, "explanation": 2_300, "page": 2_300, "node": 2_900, "delivery": 2_300, "parallel": 1_400,
    "storage": 1_000, "all others": 69_500,
}  # fmt: skip


@functools.cache
def modules():
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}


@functools.cache
def imports(name):
    """Returns (what a module imports, whether at its top level) as dotted names, those for type checkers left out."""
    found = set()

    def walk(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.add((child.module, top))
                found.update((f"{child.module}.{alias.name}", top) for alias in child.names)
            walk(child, top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    walk(ast.parse(modules()[name].read_text(encoding="utf-8")), True)
    return frozenset(found)


def own(name, *, top_only=False):
    """Returns the modules of the package that a module imports."""
    known = modules()
    targets = {
        target.removeprefix("chexkeras.")
        for target, top in imports(name)
        if target.startswith("chexkeras.") and (top or not top_only)
    }
    packages = {f"{target}.__init__" for target in targets if not name.startswith(f"{target}.")}
    return (targets | packages) & set(known)


def room_of(name):
    return name.split(".")[0]


def circles(edges):
    """Returns the groups of nodes that reach each other, of a mapping from a node to those it points to."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_room_has_a_layer():
    rooms = {room_of(name) for name in modules()} - {"__init__"}
    assert rooms <= set(LAYERS)


def test_imports_go_down_the_layers_only():
    upwards = [
        f"{name} imports {target}"
        for name in modules()
        if name != "__init__"
        for target in own(name)
        if LAYERS[room_of(target)] > LAYERS[room_of(name)]
    ]
    assert not upwards


def test_rooms_do_not_import_each_other_in_a_circle():
    edges = {}
    for name in modules():
        if name != "__init__":
            edges.setdefault(room_of(name), set()).update({room_of(target) for target in own(name)} - {room_of(name)})
    assert circles(edges) == []


def test_modules_do_not_import_each_other_in_a_circle():
    assert circles({name: own(name, top_only=True) - {name} for name in modules() if name != "__init__"}) == []


def test_public_names_all_resolve():
    for package in (chexkeras, *(getattr(chexkeras, room) for room in _lazy.ROOMS)):
        for name in package.__all__:
            assert getattr(package, name) is not None


def test_tensorflow_is_named_only_where_it_is_the_subject():
    users = {name for name in modules() if "tensorflow" in {target.split(".")[0] for target, _ in imports(name)}}
    assert users == TENSORFLOW


def test_light_modules_start_without_tensorflow_or_keras():
    light = [name for name in modules() if room_of(name) in LIGHT_ROOMS and not name.endswith("__main__")]
    code = (
        "import importlib, sys\n"
        f"for name in {[*light, *LIGHT]!r}:\n"
        "    importlib.import_module('chexkeras.' + name.removesuffix('.__init__'))\n"
        f"    heavy = sorted({HEAVY!r} & set(sys.modules))\n"
        "    if heavy:\n"
        "        sys.exit(f'{name} starts {heavy}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_folder_outgrows_a_glance():
    folders = Counter(
        path.parent.relative_to(PROJECT)
        # What notebooks leave in folders beside them when they are run is not counted.
        for top, files in (
            ("chexkeras", "**/*"),
            ("tests", "**/*"),
            ("docs", "**/*"),
            ("notebooks", "*"),
            ("benchmarks", "**/*"),
        )
        for path in (PROJECT / top).glob(files)
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
    )
    # Of package files and stubs one reads the names once; empty and one-line package files say nothing more.
    crowded = {str(folder): count for folder, count in folders.items() if count > MOST_FILES + _package_files(folder)}
    assert not crowded


def _package_files(folder):
    return sum((PROJECT / folder / name).exists() for name in ("__init__.py", "__init__.pyi", "py.typed"))


def test_no_file_is_longer_than_one_concept():
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}
    of_rooms: Counter[str] = Counter()
    for name, count in lines.items():
        of_rooms[room_of(name) if room_of(name) in MOST_LINES_OF else "all others"] += count
    assert {name: count for name, count in of_rooms.items() if count > MOST_LINES_OF[name]} == {}


def test_no_class_name_is_used_twice():
    names = Counter(
        node.name
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert not {name: count for name, count in names.items() if count > 1}


def test_every_parameter_is_documented_in_full():
    short = re.compile(r"^\s*\*{0,2}(?!\w+Error)\w+: (?:Likewise|As (?:for|in)|The same as|See)\b", re.M)
    found = {
        f"{name}: {match[0].strip()}"
        for name, path in modules().items()
        for match in short.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found


def first_line(path, most=80):
    """Returns a module's first line, or as much of it as a table of contents has room for."""
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()
    line = text[0].rstrip(".") if text else ""
    ends = [match.start() for match in re.finditer(r"[:;,] ", line) if match.start() <= most]
    return line if len(line) <= most or not ends else line[: ends[-1]]


def tree():
    """Returns the package as an indented list: folders and files, each with the first line of its own docstring."""
    lines = [f"chexkeras/  {first_line(ROOT / '__init__.py')}"]

    def add(folder, depth):
        files = [path for path in sorted(folder.glob("*.py")) if path.name not in ("__init__.py", "__main__.py")]
        for path in files:
            lines.append(f"{'    ' * depth}{path.stem:<{26 - 4 * depth}}  {first_line(path)}")
        for below in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
            lines.append(f"{'    ' * depth}{below.name}/  {first_line(below / '__init__.py')}")
            add(below, depth + 1)

    add(ROOT, 1)
    return "\n".join(lines)


BLOCK = re.compile(r"(?<=```text\n)chexkeras/.*?(?=\n```)", re.S)


def test_architecture_page_shows_the_tree_as_it_is():
    shown = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert shown and shown[0] == tree(), "run: python -m tests.test_architecture"


def test_architecture_page_names_only_files_that_exist():
    page = PAGE.read_text(encoding="utf-8")
    prose = BLOCK.sub("", page)
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]*\.?[a-z]*)`", prose):
        places = [PROJECT / path, ROOT / path]
        assert any(place.exists() for place in places), f"ARCHITECTURE.md names {path}, which is not there"


@pytest.mark.parametrize("room", sorted(set(LAYERS) - {"__main__", "_lazy", "_quiet"}))
def test_architecture_page_gives_every_room_its_layer(room):
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d", line)]
    layers = {name: int(row[1]) for row in rows for name in re.findall(r"`([a-z_]+)`", row[2])}
    assert layers.get(room) == LAYERS[room]


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: tree(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
