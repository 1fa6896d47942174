"""The main job, run as `make demo` runs it, and what its images are worth."""

import inspect
import re
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.splits.splitters import split_by_image, split_by_patient
from chexkeras.evaluation.metrics import auc
from chexkeras.phantoms import make_phantoms
from chexkeras.runs.external import external_tests


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demonstration as it is, but for smaller images and three of its changes: every step."""
    from chexkeras import demo
    from chexkeras.recipes.presets import preset

    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as monkeypatch:
        few = ("contrast", "jpeg", "inverted")
        monkeypatch.setattr(demo, "CHANGES", tuple(change for change in demo.CHANGES if change.kind in few))
        run = demo.run_demo(
            folder / "runs" / "demo",
            images=700,
            recipe=preset("demo").replace(image_size=64),
            phantoms=folder / "data" / "phantoms",
            report=folder / "FDA_Submission.md",
            assets=folder / "reports" / "demo",
        )
    return folder, run


@pytest.mark.slow
@pytest.mark.keras
def test_the_phantom_task_is_learned_on_patients_never_seen(demo):
    _, run = demo
    area = run.evaluation["Cardiomegaly"].auroc
    # The test patients are worth few, so the interval is wide; it must still lie above chance.
    assert area.value > 0.7
    assert area.low > 0.5


@pytest.mark.slow
@pytest.mark.keras
def test_the_model_sees_more_of_the_phantoms_than_a_thumbnail_does(demo):
    folder, run = demo
    thumbnail = next(entry for entry in run.shortcuts.of("Cardiomegaly") if entry.shortcut == "thumbnail")
    assert thumbnail.alone.value < 0.8
    assert thumbnail.model.value > thumbnail.alone.value
    assert "The Model Beside Shortcuts" in (folder / "FDA_Submission.md").read_text()


@pytest.mark.slow
@pytest.mark.keras
def test_where_the_model_looks_is_studied_on_few_images(demo):
    _, run = demo
    study = run.heatmaps
    assert study.finding == "Cardiomegaly" and study.localization.findings[0].n_boxes > 0
    assert study.checks.n_images <= 20
    # A gallery only where the maps depend on the model.
    assert (run.heatmap_gallery is not None) == (study.checks.verdict == "depends on the model")


def test_heat_maps_come_before_the_report_and_only_for_it(monkeypatch, tmp_path):
    from chexkeras import demo

    done = []
    for name in ("make_phantoms", "load_nih", "load_boxes", "audit", "split_by_patient", "train", "measure_robustness",
                 "score_folder", "write_report", "write_html", "write_model_card", "study_heatmaps",
                 "evaluate_external"):  # fmt: skip
        answer = {"make_phantoms": tmp_path, "write_report": tmp_path / "r.md"}.get(name, MagicMock())
        monkeypatch.setattr(
            demo, name, lambda *_, called=name, answer=answer, **given: done.append((called, given)) or answer
        )
    demo.run_demo(tmp_path / "run", report=tmp_path / "r.md", assets=None)
    names = [name for name, _ in done]
    assert names.index("score_folder") < names.index("study_heatmaps") < names.index("write_report")
    assert names.index("train") < names.index("evaluate_external") < names.index("write_report")
    (given,) = [given for name, given in done if name == "study_heatmaps"]
    assert given["finding"] == "Cardiomegaly" and given["images"] == demo.HEATMAP_IMAGES
    done.clear()
    demo.run_demo(tmp_path / "run", report=None)
    assert not {"study_heatmaps", "evaluate_external"} & {name for name, _ in done}


@pytest.mark.slow
@pytest.mark.keras
def test_every_dicom_file_gets_the_verdict_it_was_made_for(demo):
    folder, run = demo
    expected = pd.read_csv(folder / "data" / "phantoms" / "dicom_expected.csv").set_index("file")["verdict"]
    found = run.dicom_results.set_index("file")["verdict"].replace("warn", "accept")
    assert found.sort_index().to_dict() == expected.sort_index().to_dict()
    assert (run.dicom_results.loc[run.dicom_results["verdict"] == "reject", "detail"] != "").all()


@pytest.mark.slow
@pytest.mark.keras
def test_the_run_is_measured_at_another_hospital_and_the_report_says_so(demo):
    folder, run = demo
    (test,) = external_tests(run)
    assert test.name == "portable" and test.synthetic and not test.same_source
    (entry,) = test.findings
    assert entry["AUROC"].difference.estimable and entry["AUROC"].margin == 0.05
    # Calls at the frozen threshold fail there, in one direction or the other: measured losses are 0.50 and 0.58.
    assert test.leading != "holds"
    assert min(entry[name].difference.value for name in ("sensitivity", "specificity")) < -0.1
    report = (folder / "FDA_Submission.md").read_text()
    assert "### External Validation" in report and "**portable**" in report
    assert (folder / "reports" / "demo" / "external.png").is_file()


@pytest.mark.slow
@pytest.mark.keras
def test_report_and_figures_are_where_the_demo_says_and_marked_synthetic(demo):
    folder, _ = demo
    report = (folder / "FDA_Submission.md").read_text()
    assert "Synthetic images, not clinical evidence." in report[:300]
    for figure in ("roc", "precision_recall", "training_curves", "confusion_matrix", "threshold_tradeoff"):
        assert (folder / "reports" / "demo" / f"{figure}.png").is_file()
        assert f"(reports/demo/{figure}.png)" in report
    page, card = (folder / "reports" / "demo" / name for name in ("FDA_Submission.html", "model_card.md"))
    assert "Synthetic images, not clinical evidence." in page.read_text()
    assert page.read_text().count("data:image/png;base64,") == report.count("![")
    assert "Synthetic images, not clinical evidence." in card.read_text()[:600]


ROOT = Path(__file__).parent.parent


def test_the_demo_writes_where_nothing_is_committed_and_make_example_alone_renews_the_example(monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from chexkeras import demo as main_job
    from chexkeras.cli import app

    job, asked = main_job.run_demo, {}

    def run_demo(run_dir, **options):
        asked.update(options, run_dir=run_dir)
        raise ValueError("far enough")

    monkeypatch.setattr(main_job, "run_demo", run_demo)
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(app, ["demo"])
    paths = [asked[name] for name in ("run_dir", "phantoms", "report", "assets")]
    assert {Path(path).parts[0] for path in paths} == {"demo"}
    defaults = inspect.signature(inspect.unwrap(job)).parameters
    for name in ("run_dir", "phantoms", "report", "assets"):
        assert Path(defaults[name].default).parts[0] == "demo"
    assert "/demo/" in (ROOT / ".gitignore").read_text().splitlines()
    recipes = dict(re.findall(r"^(demo|example):.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert recipes == {"demo": "$(BIN)/chexkeras demo", "example": "$(BIN)/chexkeras demo --out ."}
    # The example's places are those that the committed report and its links have.
    CliRunner().invoke(app, ["demo", "--out", "."])
    assert (asked["report"], asked["assets"]) == (Path("FDA_Submission.md"), Path("reports/demo"))


def pixels(table, size=24):
    images = [Image.open(path).convert("L").resize((size, size), Image.Resampling.BOX) for path in table["path"]]
    return np.stack([np.asarray(image, float).ravel() for image in images]) / 255.0


@pytest.mark.release
def test_a_split_by_image_is_visibly_too_good(tmp_path):
    """Images of one patient share anatomy and findings, so a nearest neighbour among them gives the label away."""
    from sklearn.neighbors import KNeighborsClassifier

    table = load_nih(make_phantoms(tmp_path / "phantoms", images=700, size=64, seed=1, dicom=False))
    table["pixels"] = list(pixels(table))
    areas = {}
    for make in (split_by_patient, split_by_image):
        splits = make(table, "Effusion", validation=0.1, test=0.3, seed=0)
        model = KNeighborsClassifier(5, weights="distance")
        model.fit(np.stack(splits.train["pixels"]), splits.train["Effusion"])
        scores = model.predict_proba(np.stack(splits.test["pixels"]))[:, 1]
        areas[splits.kind] = auc(splits.test["Effusion"], scores)
    assert areas["image"] > areas["patient"] + 0.05
