"""What is written for Hugging Face: complete, readable by itself, and without what must stay at home."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import chexkeras
from chexkeras.page.export import export_hub, export_space

pytestmark = pytest.mark.keras


def front_matter(path):
    _, head, _ = path.read_text(encoding="utf-8").split("---\n", 2)
    return {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in head.splitlines()}


@pytest.fixture(scope="module")
def hub(toy_run, tmp_path_factory):
    return export_hub(toy_run, tmp_path_factory.mktemp("export") / "hub")


@pytest.fixture(scope="module")
def space(toy_run, tmp_path_factory):
    return export_space(toy_run, tmp_path_factory.mktemp("export") / "space")


def test_hub_metadata_has_every_metric_with_its_interval(hub, toy_run, toy_document):
    metadata = front_matter(hub / "README.md")
    assert metadata["library_name"] == "keras" and metadata["license"] == "other"
    (result,) = metadata["model-index"][0]["results"]
    entry = toy_run.evaluation["Effusion"]
    found = {metric["type"]: metric for metric in result["metrics"]}
    for kind, estimate in (("roc_auc", entry.auroc), ("recall", entry.sensitivity), ("specificity", entry.specificity)):
        assert found[kind]["value"] == pytest.approx(estimate.value, abs=1e-4)
        assert found[kind]["args"]["low"] == pytest.approx(estimate.low, abs=1e-4)
        assert found[kind]["args"]["n"] == estimate.n and "CI" in found[kind]["name"]
    cautions = result["dataset"]["args"]["cautions"]
    assert cautions == list(toy_document.cautions) and set(toy_run.cautions) <= set(cautions)


def test_hub_model_loads_in_keras_where_chexkeras_is_not(hub):
    code = (
        "import sys; sys.modules['chexkeras'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "print(model.predict(np.zeros((1, 32, 32, 1), np.float32), verbose=0).shape)\n"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], cwd=hub, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "(1, 1)" in done.stdout, done.stderr


def test_nothing_that_names_an_image_or_a_patient_goes(hub, space, toy_run):
    ids = {*toy_run.splits["image_id"], "scores_test", "splits.csv"}
    for folder in (hub, space):
        for path in folder.rglob("*"):
            if path.suffix in (".json", ".md", ".html", ".txt") and path.is_file():
                text = path.read_text(encoding="utf-8")
                assert not [name for name in ids if name in text and path.suffix != ".html"], path
        assert not list(folder.rglob("scores_*")) and not list(folder.rglob("splits*.csv"))


def test_space_has_what_hugging_face_expects(space):
    metadata = front_matter(space / "README.md")
    assert (metadata["sdk"], metadata["app_port"]) == ("docker", 7860)
    # As it is, and not in the halves that JSON makes of it, which YAML reads as two letters.
    assert metadata["emoji"] in (space / "README.md").read_text(encoding="utf-8")
    assert {"app.py", "Dockerfile", "requirements.txt", "run", "chexkeras"} <= {path.name for path in space.iterdir()}
    needed = (space / "requirements.txt").read_text().split()
    assert any(line.startswith("uvicorn==") for line in needed) and any(line.startswith("keras==") for line in needed)
    version = ".".join(platform.python_version_tuple()[:2])
    assert (space / "Dockerfile").read_text().startswith(f"FROM python:{version}-slim\n")
    assert not list((space / "chexkeras").rglob("*.pyc"))
    assert "Not a medical device" in (space / "README.md").read_text()


def test_space_makes_its_page_from_its_own_folder(space):
    code = (
        "import chexkeras, sys\n"
        "from chexkeras.page.document import PageDocument\n"
        "from chexkeras.page.film import FilmScorer\n"
        "from chexkeras.page.serve import report_pages\n"
        "from chexkeras.runs.run import Run\n"
        "run = Run.load('run')\n"
        "scorer = FilmScorer(run, PageDocument.of(run))\n"
        "print(chexkeras.__file__, scorer.answer(b'x')['verdict'], sorted(report_pages(run)))\n"
        "scorer.close()\n"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(space)}
    done = subprocess.run([sys.executable, "-c", code], cwd=space, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    place, verdict, *pages = done.stdout.split(maxsplit=2)
    assert Path(place).is_relative_to(space) and not Path(place).is_relative_to(Path(chexkeras.__file__).parent)
    assert verdict == "reject" and "model-card" in pages[0]


def test_earlier_export_is_replaced_only_when_asked(hub, toy_run, tmp_path):
    with pytest.raises(FileExistsError, match="overwrite"):
        export_hub(toy_run, hub)
    export_hub(toy_run, hub, overwrite=True)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        export_hub(toy_run, tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="run folder"):
        export_space(toy_run, toy_run.folder / "space")
