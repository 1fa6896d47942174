import json
import re
from pathlib import Path

import pandas as pd
import pytest

from chexkeras import files
from chexkeras.report import fda
from chexkeras.report.facts import REQUIRED_FILES, collect_facts
from chexkeras.report.figures import Figure
from chexkeras.report.goals import PerformanceGoals
from chexkeras.training.run import Run

TEMPLATE = Path(fda.__file__).parent / "templates" / fda.TEMPLATE
HEADINGS = [
    "# FDA  Submission",
    "**Your Name:**",
    "**Name of your Device:**",
    "## Algorithm Description",
    "### 1. General Information",
    "**Intended Use Statement:**",
    "**Indications for Use:**",
    "**Device Limitations:**",
    "**Clinical Impact of Performance:**",
    "### 2. Algorithm Design and Function",
    "**DICOM Checking Steps:**",
    "**Preprocessing Steps:**",
    "**CNN Architecture:**",
    "### 3. Algorithm Training",
    "**Parameters:**",
    "**Final Threshold and Explanation:**",
    "### 4. Databases",
    "**Description of Training Dataset:**",
    "**Description of Validation Dataset:**",
    "### 5. Ground Truth",
    "### 6. FDA Validation Plan",
    "**Patient Population Description for FDA Validation Dataset:**",
    "**Ground Truth Acquisition Methodology:**",
    "**Algorithm Performance Standard:**",
]
FIGURES = re.findall(r'figure\("(\w+)"\)', TEMPLATE.read_text())


def _text(run, goals=None) -> str:
    """The report's text without drawing its figures, as one line per paragraph."""
    facts = collect_facts(run, goals)
    return " ".join(fda.render(facts, {name: Figure(name, name) for name in FIGURES}).split())


@pytest.fixture(scope="module")
def report(finished_run, tmp_path_factory):
    """One whole report, figures included."""
    return fda.write_report(finished_run, tmp_path_factory.mktemp("report") / "FDA_Submission.md")


def test_the_course_templates_headings_stand_verbatim_and_in_order(report):
    lines = report.read_text().splitlines()
    found = [next(i for i, line in enumerate(lines) if line.startswith(heading)) for heading in HEADINGS]
    assert found == sorted(found)
    assert lines[0] == "# FDA  Submission"


def test_every_figure_is_there_linked_relatively_and_described(report):
    links = re.findall(r"!\[(.*?)\]\((.*?)\)", report.read_text())
    assert {Path(link).stem for _, link in links} == set(FIGURES)
    for described, link in links:
        assert len(described) > 20
        assert not Path(link).is_absolute()
        assert (report.parent / link).read_bytes().startswith(b"\x89PNG")


def test_facts_and_evaluation_lie_beside_the_figures(report, finished_run):
    folder = report.parent / "FDA_Submission_files"
    assert "test.Effusion.auroc" in json.loads((folder / "facts.json").read_text())
    assert (folder / "evaluation.json").read_text() == (finished_run / "evaluation.json").read_text()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_no_figure_is_left_open(report):
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_the_report_is_the_same_each_time_and_for_a_path_or_a_run(report, finished_run):
    again = fda.render(
        collect_facts(Run.load(finished_run)),
        {name: Figure(name, caption) for name, caption in _captions(report).items()},
        "FDA_Submission_files",
    )
    assert again == report.read_text()


def _captions(report):
    links = re.findall(r"!\[(.*?)\]\((.*?)\)", report.read_text())
    return {Path(link).stem: text.removesuffix(".") for text, link in links}


def test_gaps_are_marked_and_counted(report):
    text = " ".join(report.read_text().split())
    gaps = re.findall(r"\[SPONSOR TO COMPLETE: [^\]]+\]", text)
    assert len(gaps) >= 10
    assert f"Fields left for the sponsor: {len(gaps)}." in text


def test_no_number_is_typed_into_the_template():
    source = re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", "", TEMPLATE.read_text(), flags=re.DOTALL)
    body = "\n".join(line for line in source.splitlines() if not line.startswith("#"))
    body = re.sub(r"21 CFR \d+(\.\d+)?|510\(k\)|chexkeras", "", body)
    assert re.findall(r".*\d.*", body) == []
    # Nor may one hide inside an expression.
    inside = " ".join(re.findall(r"\{\{(.*?)\}\}", TEMPLATE.read_text(), flags=re.DOTALL))
    assert re.findall(r"\d", inside.replace("row[0]", "").replace("row[1:]", "")) == []


def _json(folder, name, change):
    document = files.read_json(folder / name)
    change(document)
    files.write_json(folder / name, document)


def _csv(folder, name, change):
    table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(folder / name, index=False)


def _set(frame, row, column, value):
    frame.loc[row, column] = value


def _move_a_patient(frame):
    rows = frame.index[frame["patient_id"].duplicated(keep=False) & (frame["part"] == "test")]
    frame.loc[rows[0], "part"] = "train"


def _leave_out_one_more(frame):
    frame.loc[len(frame), ["image_id", "reason"]] = ["x", "blank"]


CHANGES = {
    "recipe.json": [
        (_json, lambda d: d.update(image_size=161), "161 × 161 pixels"),
        (_json, lambda d: d.update(batch_size=77), "Batch size: 77"),
        (_json, lambda d: d["stages"][1].update(learning_rate=0.00003), "0.00003 in stage2"),
        (_json, lambda d: d["augment"].update(rotation_degrees=9.0), "at most 9 degrees"),
    ],
    "provenance.json": [
        (_json, lambda d: d.update(seconds=600), "trained in 10.0 minutes"),
        (_json, lambda d: d["cautions"].append("A case-control sample."), "> **Caution.** A case-control sample."),
        (_json, lambda d: d["source"].update(implausible_ages=17), "treated as unknown: 17."),
    ],
    "stages.json": [(_json, lambda d: d[1].update(trainable_parameters=3517314), "3,517,314")],
    "history.csv": [(_csv, lambda t: _set(t, 2, "val_auroc", "0.9876"), "0.988 (epoch 3)")],
    "splits.csv": [(_csv, _move_a_patient, "**LEAKY:** patients with images in more than one part: 1;")],
    "table.csv": [(_csv, lambda t: _set(t, 0, "age_years", "97.0"), "to 97 years of age in all parts together")],
    "left_out.csv": [(_csv, _leave_out_one_more, "Left out before the split: 4")],
    "audit.json": [(_json, lambda d: d["issues"]["unreadable"].update(count=23), "cannot be decoded | 23 |")],
    "scores_validation.csv": [(_csv, lambda t: _set(t, 0, "score", "0.123"), "validation: NO")],
    "scores_test.csv": [(_csv, lambda t: _set(t, 0, "score", "0.123"), "| test: NO")],
    "operating_points.json": [
        (_json, lambda d: d[0].update(threshold=0.4321), "at least 0.4321"),
        (_json, lambda d: d[0].update(threshold=0.4321), "differs from operating_points.json"),
        (_json, lambda d: d[0].update(n_positive=991), "991 positive"),
    ],
    "evaluation.json": [
        (_json, lambda d: d["findings"][0]["sensitivity"].update(value=0.8765), "**0.876 (95 % CI"),
        (_json, lambda d: d["findings"][0]["specificity"].update(low=0.8123), "Specificity: MET (the lower limit"),
        (_json, lambda d: d["findings"][0]["auroc"].update(low=0.456), "not distinguishable from chance"),
        (_json, lambda d: d["findings"][0].update(false_negatives=4321), "4,321 false negative"),
        (_json, lambda d: d["findings"][0]["ppv"].update(value=0.1111), "agree with the label is 0.111"),
    ],
    "dicom_results.csv": [(_csv, lambda t: _set(t, 0, "verdict", "reject"), "4 (44.4 %) were rejected")],
}  # fmt: skip


def test_every_file_of_the_run_folder_is_covered_by_a_change():
    assert set(CHANGES) >= set(REQUIRED_FILES)


@pytest.mark.parametrize(
    ("name", "edit", "change", "sentence"), [(name, *case) for name, cases in CHANGES.items() for case in cases]
)
def test_changing_one_number_in_the_run_folder_changes_the_sentence(name, edit, change, sentence, run_folder):
    assert sentence not in _text(Run.load(run_folder))
    edit(run_folder, name, change)
    assert sentence in _text(Run.load(run_folder))


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_missing_file_is_named_and_leaves_the_old_report(name, run_folder, tmp_path):
    out = tmp_path / "FDA_Submission.md"
    out.write_text("the old report")
    (run_folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(name)):
        fda.write_report(run_folder, out)
    assert out.read_text() == "the old report"


def test_an_interrupted_report_leaves_the_old_text_and_figures(run_folder, tmp_path, monkeypatch):
    out, folder = tmp_path / "report.md", tmp_path / "report_files"
    folder.mkdir()
    out.write_text("the old report")
    (folder / "roc.png").write_text("the old figure")

    def fail(*_):
        (folder / next(path.name for path in folder.iterdir() if path.is_dir()) / "roc.png").write_text("new")
        raise KeyboardInterrupt

    monkeypatch.setattr(fda, "draw_figures", fail)
    with pytest.raises(KeyboardInterrupt):
        fda.write_report(run_folder, out)
    assert out.read_text() == "the old report"
    assert [path.name for path in folder.iterdir()] == ["roc.png"]
    assert (folder / "roc.png").read_text() == "the old figure"


def test_assets_elsewhere_are_linked_from_the_report(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fda, "draw_figures", lambda run, facts, folder: _touch(folder))
    out = fda.write_report(run_folder, tmp_path / "a" / "report.md", assets=tmp_path / "b c" / "figures")
    link = re.search(r"\]\((.*?)/roc\.png\)", out.read_text())
    assert link is not None
    assert link[1] == "../b%20c/figures"
    assert (tmp_path / "b c" / "figures" / "roc.png").exists()


def _touch(folder):
    for name in FIGURES:
        (folder / f"{name}.png").touch()
    return {name: Figure(name, name) for name in FIGURES}


def test_synthetic_films_are_announced_first_and_never_count_as_evidence(make_run):
    text = _text(make_run(skill=5.0, dicom=False), PerformanceGoals(0.5, 0.5))
    assert text.startswith("# FDA Submission > **Caution.** Synthetic films, not clinical evidence.")
    assert "goals: MET**" in text
    assert "MET on synthetic films" in text
    assert "it is no evidence about patients" in text
    assert "right by construction" in text
    assert "No DICOM file was scored in this run" in text


def test_a_bad_model_reads_as_a_bad_model(make_run):
    text = _text(make_run(skill=0.0, synthetic=False))
    assert "goals: NOT MET**" in text
    assert "an aim, not a demonstrated capability" in text
    assert "**The scores are not distinguishable from chance:**" in text
    assert "should not be used for the intended use" in text
    assert "text-mined from the radiology reports" in text


def test_a_model_that_ranks_the_wrong_way_is_said_to(make_run):
    assert "**The scores rank films the wrong way round:**" in _text(make_run(skill=-2.0))


def test_a_leaky_split_proves_nothing_however_good(make_run):
    text = _text(make_run(leaky=True, skill=6.0, patients=500))
    assert "**Caution.** LEAKY:" in text
    assert "goals: NOT ESTIMABLE**" in text
    assert "| **MET** |" not in text
    assert "disjoint by patient" not in text


def test_nothing_is_claimed_that_a_run_cannot_show(make_run):
    for run in (make_run(skill=6.0, patients=500, synthetic=False), make_run(skill=0.0)):
        text = _text(run).casefold()
        for claim in ("substantially equivalent", "radiologist-level", "fda-cleared", "fda cleared", "outperform"):
            assert claim not in text
        assert "it makes no claim of clearance" in text


def test_several_findings_each_get_their_numbers_and_one_missed_goal_misses(make_run):
    run = make_run(targets=("Effusion", "Pleural_Thickening"), skill=2.0)
    text = _text(run)
    facts = collect_facts(run)
    assert "Effusion and Pleural Thickening" in text
    for finding in ("Effusion", "Pleural_Thickening"):
        assert facts[f"test.{finding}.auroc"].text in text
        assert facts[f"point.{finding}.threshold"].text in text


def test_goals_can_be_replaced(finished_run):
    run = Run.load(finished_run)
    goals = PerformanceGoals(sensitivity_above=0.3, specificity_above=0.35, origin="goal of the sponsor")
    text = _text(run, goals)
    assert "goals: MET**" in text
    assert "above 0.30 for the sensitivity and above 0.35 for the specificity" in text
    assert "goal of the sponsor" in text


def test_text_from_files_cannot_break_tables_or_smuggle_html(run_folder):
    _csv(run_folder, "left_out.csv", lambda t: _set(t, 0, "reason", "a|b <script>alert(1)</script>\nnext"))
    text = _text(Run.load(run_folder))
    assert r"a\|b &lt;script>alert(1)&lt;/script> next" in text
    assert "<script" not in text


def test_the_template_knows_facts_only(finished_run):
    import jinja2

    facts = collect_facts(Run.load(finished_run))
    page = fda._Page(facts, {}, "")
    with pytest.raises(KeyError, match="did you mean"):
        page.text("test.Effusion.sensitivty")
    with pytest.raises(jinja2.UndefinedError):
        jinja2.Environment(undefined=jinja2.StrictUndefined).from_string("{{ sensitivity }}").render()
