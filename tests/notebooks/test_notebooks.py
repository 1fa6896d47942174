"""The notebooks stay thin and portable; the notebook run itself proves that they work."""

import ast
import builtins
import json
import re
from pathlib import Path

import pytest

import chexkeras
from chexkeras import _lazy

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_LINES = 12
ALLOWED = {"chexkeras", "numpy", "pandas", "matplotlib", "os", "json", "pathlib", "importlib"}
INSTALL = "install"
# Kaggle's own paths may be spoken of; the library finds them.
MACHINE_PATH = re.compile(r"(?<![\w.])(/(?:home|work|tmp|root|Users|mnt|content)/|[A-Z]:\\\\)")


def cells(path, kind="code"):
    found = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]
    return [(cell, "".join(cell["source"])) for cell in found]


def tree(path):
    # A line magic stands where a statement may stand.
    sources = [re.sub(r"^(\s*)%.*", r"\1pass", source, flags=re.M) for _, source in cells(path)]
    return ast.parse("\n".join(sources))


def chexkeras_names(parsed):
    """Returns the dotted names below cx, as far as they are written out: "train", "plots.roc", ..."""
    names = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Attribute):
            dotted, inner = node.attr, node.value
            while isinstance(inner, ast.Attribute):
                dotted, inner = f"{inner.attr}.{dotted}", inner.value
            if isinstance(inner, ast.Name) and inner.id == "cx":
                names.add(dotted)
    return names


def unknown_names(names):
    return {name for name in names if not _is_public(*name.split(".")[:2])}


def _is_public(name, inner=None):
    if name in _lazy.ROOMS and inner:
        return inner in _lazy.stub_names(name)
    return name in chexkeras.__all__


def test_there_are_the_five_notebooks_in_order():
    assert [path.stem for path in NOTEBOOKS] == [
        "1_eda", "2_train", "3_evaluate", "4_dicom_inference", "5_fda_report",
    ]  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestEveryNotebook:
    def test_is_stored_without_outputs(self, path):
        for cell, _ in cells(path):
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == "python3"

    def test_opens_with_its_question_an_installation_and_one_cell_of_parameters(self, path):
        first, second, third = json.loads(path.read_text(encoding="utf-8"))["cells"][:3]
        assert first["cell_type"] == "markdown"
        title = first["source"][0] if isinstance(first["source"], list) else first["source"].splitlines()[0]
        assert title.startswith(f"# {path.stem[0]}. ")
        assert title.rstrip().endswith("?")
        assert second["metadata"]["tags"] == [INSTALL]
        assert third["cell_type"] == "code"
        assert "import chexkeras as cx" in "".join(third["source"])
        assert "SETTINGS = cx.notebook_settings()" in "".join(third["source"])

    def test_installs_from_what_is_attached_and_only_where_the_library_is_missing(self, path):
        tagged = [source for cell, source in cells(path) if INSTALL in cell["metadata"].get("tags", [])]
        assert tagged == [installation()]
        assert 'if importlib.util.find_spec("chexkeras") is None:' in tagged[0]
        assert "%pip install --quiet --no-index --find-links" in tagged[0]

    def test_reads_no_variable_and_makes_no_run_or_phantoms_by_itself(self, path):
        # What is asked for is looked for in one place, which never takes phantoms for real images.
        sources = "\n".join(source for _, source in cells(path))
        assert "environ" not in sources and "run_demo" not in sources and "make_phantoms" not in sources
        assert "Run.load" not in sources and "phantoms" not in sources
        reads = {"1": "find_data", "2": "find_data"}.get(path.stem[0], "find_run")
        assert f"SETTINGS.{reads}()" in sources

    def test_says_nothing_in_text_that_the_run_decides(self, path):
        # Which images these are, how many and how they were answered is printed by code.
        for cell, source in cells(path, "markdown")[1:]:
            assert not re.search(r"\bphantoms?\b|synthetic|untrained|Cardiomegaly", source), cell["id"]

    def test_defines_nothing_and_keeps_its_cells_short(self, path):
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not [node for node in ast.walk(tree(path)) if isinstance(node, defined)]
        assert not [source for _, source in cells(path) if len(source.splitlines()) > MOST_LINES]

    def test_uses_public_names_of_chexkeras_only(self, path):
        parsed = tree(path)
        imported = {alias.name for node in ast.walk(parsed) if isinstance(node, ast.Import) for alias in node.names}
        origins = {node.module for node in ast.walk(parsed) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in imported | origins} <= ALLOWED
        assert not {name for name in imported | origins if name.startswith("chexkeras.")}
        assert chexkeras_names(parsed)
        assert not unknown_names(chexkeras_names(parsed))
        private = {node.attr for node in ast.walk(parsed) if isinstance(node, ast.Attribute)}
        assert not {name for name in private if name.startswith("_")}

    def test_names_no_path_of_one_machine(self, path):
        for kind in ("code", "markdown"):
            assert not [source for _, source in cells(path, kind) if MACHINE_PATH.search(source)]

    def test_hides_no_name_of_python(self, path):
        stored = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name) and not _reads(node)}
        assert not stored & set(dir(builtins))


def installation():
    return next(source for cell, source in cells(NOTEBOOKS[0]) if INSTALL in cell["metadata"].get("tags", []))


def test_the_installation_looks_in_both_of_kaggles_mounts_and_says_where_it_found_nothing(
    monkeypatch, tmp_path, capsys
):
    import importlib.util

    code = re.sub(r"%pip.*--find-links \{(.*)\} chexkeras", r"print('from', \1)", installation())
    code = code.replace('"/kaggle/input"', repr(str(tmp_path)))
    exec(compile(code, "install", "exec"), {})
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(compile(code, "install", "exec"), {})
    assert "docs/how-to/kaggle.md" in capsys.readouterr().out
    for mount in ("datasets/me/wheels", "wheels"):
        folder = tmp_path / mount
        folder.mkdir(parents=True)
        (folder / "chexkeras-0.1.0-py3-none-any.whl").touch()
        exec(compile(code, "install", "exec"), {})
        assert capsys.readouterr().out == f"from {folder}\n"


def _reads(node):
    return isinstance(node.ctx, ast.Load)


def test_the_checks_would_notice():
    parsed = ast.parse("cx.train(x)\ncx.plots.roc(y)\ncx.plots.nothing(y)\ncx.secret.thing()")
    assert unknown_names(chexkeras_names(parsed)) == {"plots.nothing", "secret", "secret.thing"}
    assert MACHINE_PATH.search('open("/home/me/x")')
    assert MACHINE_PATH.search("C:\\\\images")
    assert not MACHINE_PATH.search("/kaggle/input/data")


def test_every_figure_of_dicom_files_says_whether_they_are_synthetic():
    """Files made up for a run on real images must not be taken for files of an archive."""
    path = next(path for path in NOTEBOOKS if path.stem.startswith("4_"))
    sources = [source for _, source in cells(path)]
    (told,) = (source for source in sources if "made_up = " in source)
    assert re.search(r'kind = "synthetic files" if made_up else', told)
    assert re.search(r'said = \[\*run\.cautions, ".*synthetic.*"\] if made_up and not SETTINGS\.synthetic', told)
    drawing = [source for source in sources if "plt.subplots(" in source or "cx.plots." in source]
    assert len(drawing) == 3
    for source in drawing:
        assert "{kind}" in source or "note=said" in source, source
