"""What the pages of docs/ show runs: Python blocks on one small run, shell lines against the command line."""

import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import typer

import chexkeras as cx
from chexkeras.cli import app

DOCS = Path(cx.__file__).parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """Returns the blocks of a language, those inside a list too."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(text) for _, kind, text in found if kind == language]


def name_of(page):
    return page.relative_to(DOCS).as_posix()


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """A folder with synthetic images and a run of the recipe "quick" that was trained for one epoch a stage."""
    folder = tmp_path_factory.mktemp("docs")
    images = cx.make_phantoms(folder / "images", images=120, size=64, prevalence={"Cardiomegaly": 0.3}, processes=1)
    splits = cx.split_by_patient(cx.load_nih(images), "Cardiomegaly", seed=0)
    recipe = cx.preset("quick")
    stages = tuple(cx.Stage(stage.name, epochs=1, learning_rate=1e-3, trainable=stage.trainable)
                   for stage in recipe.stages)  # fmt: skip
    cx.train(recipe.replace(image_size=32, stages=stages), splits, folder / "runs" / "quick")
    return folder


def test_the_variables_of_the_notebooks_are_all_described():
    from chexkeras.notebook import VARIABLES

    page = (DOCS / "how-to" / "kaggle.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(CHEXKERAS_\w+)` \|", page, re.MULTILINE) == list(VARIABLES)


def test_every_block_is_of_a_kind_that_is_tested():
    assert PAGES
    for page in PAGES:
        assert {kind for _, kind, _ in BLOCK.findall(page.read_text(encoding="utf-8"))} <= {
            "python",
            "bash",
            "json",
            "yaml",
        }, page


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "json")], ids=name_of)
def test_json_blocks_describe_weights_that_can_be_read(page, tmp_path):
    from chexkeras.models.weights.sources import read_source

    for block in blocks(page, "json"):
        file = tmp_path / "description.json"
        file.write_text(block, encoding="utf-8")
        assert read_source(file).name == json.loads(block)["name"]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=name_of)
def test_yaml_blocks_describe_clusters_of_ray(page):
    yaml = pytest.importorskip("yaml", reason="comes with Ray, the extra 'ray'")
    for block in blocks(page, "yaml"):
        described = yaml.safe_load(block)
        assert (described["apiVersion"], described["kind"]) == ("ray.io/v1", "RayCluster")
        groups = [described["spec"]["headGroupSpec"], *described["spec"]["workerGroupSpecs"]]
        images = {pod["image"] for group in groups for pod in group["template"]["spec"]["containers"]}
        assert len(images) == 1 and images.pop().endswith(cx.__version__)


@pytest.mark.keras
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run_from_top_to_bottom(page, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    monkeypatch.delenv("CHEXKERAS_DATA", raising=False)
    # What a page sets is gone when it ends.
    monkeypatch.setenv("CHEXKERAS_WEIGHTS", "none")
    names = {"images": workplace / "images", "__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


# Of the archive that pages connect, and the shell's own.
OTHER_PROGRAMS = {"Orthanc", "curl", "echoscu", "export", "kubectl", "storescu"}
# What starts a command of ours, once or several times.
STARTERS = {"srun", "torchrun"}


def commands():
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and (words[0] in STARTERS or re.fullmatch(r"[A-Z]+=\w+", words[0])):
                    words = words[words.index("chexkeras") :]
                if words:
                    yield pytest.param(words, id=f"{name_of(page)}: {line[:60]}")


@pytest.mark.parametrize("words", list(commands()))
def test_shell_lines_are_commands_with_options_that_exist(words):
    if words[0] == "pip":
        assert words[1] in ("install", "wheel", "download")
        return
    if words[0] == "kubectl" and "--" in words:
        words = words[words.index("--") + 1 :]
    if words[0] in OTHER_PROGRAMS:
        return
    if words[0] == "ray":
        scripts = pytest.importorskip("ray.scripts.scripts", reason="the extra 'ray' is not installed")
        scripts.cli.commands[words[1]].make_context(words[1], words[2:])
        return
    assert words[0] == "chexkeras"
    command = typer.main.get_command(app).commands[words[1]]
    # Parsing alone: what is missing or unknown raises, nothing runs.
    command.make_context(words[1], words[2:])


def test_files_of_a_run_are_all_described(workplace):
    import sys

    sys.path.insert(0, str(DOCS))
    try:
        hooks = pytest.importorskip("hooks", exc_type=ImportError)
    finally:
        sys.path.remove(str(DOCS))
    written = {path.name for path in (workplace / "runs" / "quick").iterdir()}
    assert written == set(hooks.RUN_FILES)


def test_codes_that_the_page_on_checks_names_exist():
    from chexkeras.data.audit.result import CODES
    from chexkeras.dicom.rules import RULE_BY_CODE

    page = (DOCS / "explanation" / "what-is-checked.md").read_text(encoding="utf-8")
    cells = [line.split("|")[3] for line in page.splitlines() if line.startswith("|") and "---" not in line]
    named = {code for cell in cells for code in re.findall(r"`([a-z]+(?:_[a-z]+)*)`", cell)}
    assert len(named) > 30
    assert named <= {*CODES, *RULE_BY_CODE}
