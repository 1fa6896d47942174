import json
import re
from pathlib import Path

import pandas as pd
import pytest

from chexkeras.report import submission
from chexkeras.report.answers import QUESTIONS, load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.run_reader import REQUIRED_FILES
from chexkeras.report.figures.draw import NAMES, Figure
from chexkeras.report.goals import PerformanceGoals
from chexkeras.runs.run import Run

TEMPLATES = sorted((Path(submission.__file__).parent / "templates").rglob("*.md.j2"))
TEMPLATES = [path for path in TEMPLATES if path.name != "model_card.md.j2"]
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
    "## 7. Device Identification and Predicate Comparison",
    "## 8. Standalone Performance",
    "## 9. Subgroups",
    "## 10. Calibration, Decision Curve and Prevalence Shift",
    "## 11. Triage Effectiveness",
    "## 12. Comparison of Experiments",
    "## 13. Robustness and Repeatability",
    "### Where the Model Looks",
    "## 14. Human Factors and Reader Study",
    "## 15. Software",
    "## 16. Risk",
    "## 17. Cybersecurity",
    "## 18. Predetermined Change Control Plan",
    "## 19. Performance Monitoring",
    "## 20. Labelling",
    "## 21. Crosswalk to Reporting Guidelines",
    "## 22. Conclusion",
    "## Data Cautions",
    "## Appendix A. DICOM Checks",
    "## Appendix B. Provenance",
]
CONDITIONAL = {
    "auroc_bars", "heatmap_gallery", "intensities", "triage_waiting", "roc_comparison", "difference_forest",
    "reader_roc", "reader_forest", "external", "novelty",
}  # fmt: skip
"""Figures of several findings, images looked at in training, stated rates, readers, another run or site, novelty."""


def _text(run, goals=None) -> str:
    """The report's text without drawing its figures, as one line per paragraph."""
    return " ".join(submission.preview(collect_facts(run, goals)).text.split())


def test_the_course_templates_headings_stand_verbatim_and_in_order_and_the_sections_after_them(report):
    lines = report.read_text().splitlines()
    found = [next(i for i, line in enumerate(lines) if line.startswith(heading)) for heading in HEADINGS]
    assert found == sorted(found)
    assert lines[0] == "# FDA  Submission"


def test_every_figure_is_there_linked_relatively_and_described(report):
    links = re.findall(r"!\[(.*?)\]\((.*?)\)", report.read_text())
    assert {Path(link).stem for _, link in links} == set(NAMES) - CONDITIONAL
    for described, link in links:
        assert len(described) > 20
        assert not Path(link).is_absolute()
        assert (report.parent / link).read_bytes().startswith(b"\x89PNG")


def test_facts_and_evaluation_lie_beside_the_figures(report, finished_run):
    folder = report.parent / "FDA_Submission_files"
    assert "test.Effusion.auroc" in json.loads((folder / "facts.json").read_text())
    assert (folder / "evaluation.json").read_text() == (finished_run / "evaluation.json").read_text()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_report_is_the_same_each_time_and_for_a_path_or_a_run(report, finished_run, tmp_path):
    import matplotlib.pyplot as plt

    # Other tests may have left figures of their own open.
    before = plt.get_fignums()
    again = submission.write_report(Run.load(finished_run), tmp_path / "FDA_Submission.md")
    assert plt.get_fignums() == before
    assert again.read_bytes() == report.read_bytes()
    folders = [path.with_name("FDA_Submission_files") for path in (again, report)]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_open_fields_are_marked_counted_and_listed(report, finished_run):
    text = " ".join(report.read_text().split())
    gaps = re.findall(r"\[SPONSOR TO COMPLETE: ([^\]]+)\]", text)
    fields = submission.open_fields(finished_run)
    assert [field.text for field in fields] == gaps
    assert f"Fields left for the sponsor: {len(gaps)}." in text
    assert fields[0] == (0, "device.submitter", "name of the submitter")
    assert (1, "prevalence.Effusion", "prevalence of Effusion where the device will be used") in fields
    known = {question.key for question in QUESTIONS} | {"prevalence.Effusion"}
    assert {field.key for field in fields} <= known


def test_strict_lists_every_open_field_and_writes_nothing(finished_run, tmp_path):
    out = tmp_path / "report.md"
    with pytest.raises(
        submission.OpenFields, match=r"section 1, prevalence\.Effusion: prevalence of Effusion"
    ) as caught:
        submission.write_report(finished_run, out, strict=True)
    assert isinstance(caught.value, ValueError)
    assert caught.value.fields == submission.open_fields(finished_run)
    assert all(field.text in str(caught.value) for field in caught.value.fields)
    assert list(tmp_path.iterdir()) == []


def test_strict_writes_a_report_whose_fields_are_all_answered(finished_run, answered, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "draw_figures", _touch)
    out = submission.write_report(finished_run, tmp_path / "report.md", answers=answered, strict=True)
    text = out.read_text()
    assert "**Name of your Device:** Stated: name." in text
    assert "Fields left for the sponsor: 0." in text
    assert submission.open_fields(finished_run, load_answers(answered)) == []


def test_answers_beside_the_report_are_not_used_unasked(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "draw_figures", _touch)
    (tmp_path / "submission.toml").write_text('[device]\nname = "Unasked"\n')
    assert "Unasked" not in submission.write_report(finished_run, tmp_path / "report.md").read_text()


def test_an_answer_can_neither_open_a_heading_nor_hide_a_gap(finished_run, tmp_path):
    path = tmp_path / "submission.toml"
    path.write_text('[device]\nname = "# Best | [SPONSOR TO COMPLETE: x] <b>"\n[data]\norigin = "- a\\n# b"\n')
    page = submission.preview(collect_facts(Run.load(finished_run), answers=load_answers(path)))
    assert r"\# Best \| \[SPONSOR TO COMPLETE: x\] &lt;b>" in page.text
    assert "\n\n- a\n\n**b**\n\n" in page.text
    assert "\n# b" not in page.text


def test_no_number_is_typed_into_a_template():
    """A digit may stand in a heading, in the name of a fact, or as a position in a list."""
    assert len(TEMPLATES) > 20
    for path in TEMPLATES:
        source = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
        outside = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", source, flags=re.DOTALL)
        body = "\n".join(line for line in outside.splitlines() if not line.startswith("#"))
        assert re.findall(r".*\d.*", body) == [], path.name
        for inside in re.findall(r"\{\{(.*?)\}\}|\{%(.*?)%\}", source, flags=re.DOTALL):
            code = re.sub(r'"[a-z_.]*[a-z_]\d+[a-z_.]*"|\w+\[[\d:]+\]', "", "".join(inside))
            # Lengths and counts may be compared with none and one.
            assert re.findall(r"\d", re.sub(r"(==|>) [01]\b", "", code)) == [], (path.name, inside)


def test_every_number_of_regulation_names_its_source(finished_run):
    facts = collect_facts(Run.load(finished_run))
    stated = {key: fact for key, fact in facts.items() if fact.file == "regulation"}
    assert stated["regulation.triage"].text == "21 CFR 892.2080"
    assert "85 FR 3543" in stated["regulation.triage"].field
    assert all(fact.field for fact in stated.values())


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_missing_file_is_named_and_leaves_the_old_report(name, run_folder, tmp_path):
    out = tmp_path / "FDA_Submission.md"
    out.write_text("the old report")
    (run_folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(name)):
        submission.write_report(run_folder, out)
    assert out.read_text() == "the old report"


def test_an_interrupted_report_leaves_the_old_text_and_figures(run_folder, tmp_path, monkeypatch):
    out, folder = tmp_path / "report.md", tmp_path / "report_files"
    folder.mkdir()
    out.write_text("the old report")
    (folder / "roc.png").write_text("the old figure")

    def fail(*_):
        (folder / next(path.name for path in folder.iterdir() if path.is_dir()) / "roc.png").write_text("new")
        raise KeyboardInterrupt

    monkeypatch.setattr(submission, "draw_figures", fail)
    with pytest.raises(KeyboardInterrupt):
        submission.write_report(run_folder, out)
    assert out.read_text() == "the old report"
    assert [path.name for path in folder.iterdir()] == ["roc.png"]
    assert (folder / "roc.png").read_text() == "the old figure"


def test_assets_elsewhere_are_linked_from_the_report(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "draw_figures", _touch)
    out = submission.write_report(run_folder, tmp_path / "a" / "report.md", assets=tmp_path / "b c" / "figures")
    link = re.search(r"\]\((.*?)/roc\.png\)", out.read_text())
    assert link is not None
    assert link[1] == "../b%20c/figures"
    assert (tmp_path / "b c" / "figures" / "roc.png").exists()


def _touch(run, facts, folder, answers=None):
    for name in NAMES:
        (folder / f"{name}.png").touch()
    return {name: Figure(name, name, "") for name in NAMES}


def test_a_figure_of_an_earlier_report_that_is_no_longer_drawn_is_removed(finished_run, tmp_path, monkeypatch):
    def fewer(*arguments):
        made = _touch(*arguments)
        (arguments[2] / made.pop("difference_forest").file).unlink()
        return made

    folder = tmp_path / "FDA_files"
    folder.mkdir()
    (folder / "difference_forest.png").touch()
    (folder / "of_the_author.png").touch()
    monkeypatch.setattr(submission, "draw_figures", fewer)
    submission.write_report(finished_run, tmp_path / "FDA.md")
    assert not (folder / "difference_forest.png").exists()
    assert (folder / "of_the_author.png").exists()


def test_every_figure_that_can_be_drawn_has_its_place_in_a_template():
    placed = {name for path in TEMPLATES for name in re.findall(r'figure\("(\w+)"\)', path.read_text())}
    assert placed == set(NAMES)


def test_synthetic_images_are_announced_first_and_never_count_as_evidence(make_run):
    text = _text(make_run(skill=5.0, dicom=False), PerformanceGoals(0.5, 0.5))
    assert text.startswith("# FDA Submission > **Caution.** Synthetic images, not clinical evidence.")
    assert "goals: MET**" in text
    assert "MET on synthetic radiographs" in text
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
    assert "**The scores rank radiographs the wrong way round:**" in _text(make_run(skill=-2.0))


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
    left_out = pd.DataFrame({"image_id": ["x"], "reason": ["a|b <script>alert(1)</script>\nnext"]})
    left_out.to_csv(run_folder / "left_out.csv", index=False)
    text = _text(Run.load(run_folder))
    assert r"a\|b &lt;script>alert(1)&lt;/script> next" in text
    assert "<script" not in text


def test_the_template_knows_facts_only(finished_run):
    import jinja2

    facts = collect_facts(Run.load(finished_run))
    context = submission.TemplateContext(facts)
    with pytest.raises(KeyError, match="did you mean"):
        context.text("test.Effusion.sensitivty")
    with pytest.raises(jinja2.UndefinedError):
        jinja2.Environment(undefined=jinja2.StrictUndefined).from_string("{{ sensitivity }}").render()
