import re
import warnings

import pytest

from chexkeras import files
from chexkeras.plots import style
from chexkeras.report.answers import load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.catalogue import _smallest_p
from chexkeras.report.figures.draw import NAMES, draw_figures, plan_figures
from chexkeras.results import Interaction, SubgroupAnalysis
from chexkeras.results.evaluation import STATISTICS
from chexkeras.runs.run import Run

LONG = (
    "Case-control sample: images labelled positive and images without any finding in equal numbers, reduced in size; "
    "prevalence, predictive values and calibration do not carry over to patients. "
)


def _plan(run, answers=None):
    stated = load_answers(answers) if answers else None
    return {planned.name: planned for planned in plan_figures(run, collect_facts(run, answers=stated), stated)}


def test_with_every_answer_every_figure_is_planned_but_that_of_several_findings(finished_run, answered):
    assert set(_plan(Run.load(finished_run), answered)) == set(NAMES) - {
        "auroc_bars", "intensities", "heatmap_gallery",
    }  # fmt: skip


def test_every_caption_names_its_source_and_no_number_that_is_no_fact(finished_run, answered):
    facts = collect_facts(Run.load(finished_run), answers=load_answers(answered))
    known = " ".join(fact.text for fact in facts.values())
    for job in _plan(Run.load(finished_run), answered).values():
        assert re.fullmatch(r"Source: .+(\.csv|\.json|runs|submission\.toml)\.", job.figure.source), job.figure.name
        for number in re.findall(r"[\d,.]*\d", job.figure.caption):
            assert number in known, job.figure.caption


def test_every_figure_carries_every_caution(finished_run, answered, monkeypatch, tmp_path):
    """The figure is drawn without being written; the cautions must be among its texts."""
    texts = {}
    monkeypatch.setattr(style, "save", lambda drawn, path, dpi: texts.update({path.stem: _words(drawn)}))
    run, answers = Run.load(finished_run), load_answers(answered)
    facts = collect_facts(run, answers=answers)
    made = draw_figures(run, facts, tmp_path, answers)
    assert set(texts) == set(made)
    # A reader study was not made of the run's images: its figures carry cautions of its own.
    of_study = dict.fromkeys(("reader_roc", "reader_forest"), "Means near 0 or 1 have intervals that cover less")
    for name, found in texts.items():
        wanted = of_study.get(name, "Synthetic images, not clinical evidence.")
        assert wanted in found, name


def _words(drawn):
    from matplotlib.text import Text

    return " ".join(" ".join(text.get_text().split()) for text in drawn.findobj(Text))


@pytest.mark.parametrize("name", ["dicom_verdicts", "views", "confusion_matrix"])
def test_long_cautions_and_labels_leave_the_drawing_its_room(name, make_run, tmp_path):
    run = make_run()
    results = run.dicom_results
    results["code"] = results["code"].where(
        results["verdict"] != "warn", "sop_class_secondary;view_fallback;age_format"
    )
    results.to_csv(run.folder / "dicom_results.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        _plan(run)[name].write(tmp_path, (LONG, LONG, LONG))
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def _analysis(*p_values):
    tests = tuple(Interaction("auroc", p_value, 1.0) for p_value in p_values)
    return SubgroupAnalysis("sex", (), tests)


def test_of_many_findings_those_whose_groups_differ_most_are_drawn_in_groups(make_run):
    assert _smallest_p([_analysis(0.5), _analysis(0.02)]) == 0.02
    assert _smallest_p([_analysis(float("nan")), _analysis()]) == 1.0
    findings = ("Effusion", "Mass", "Nodule", "Edema", "Hernia")
    run = make_run(targets=findings, patients=200)
    jobs = _plan(run)
    facts: Facts = collect_facts(run)
    for statistic in STATISTICS:
        job = jobs[f"subgroup_forest_{statistic}"]
        p_values = {}
        for entry in run.evaluation.findings:
            others = SubgroupAnalysis.from_dict(facts[f"groups.{entry.finding}.other findings.analysis"].value)
            p_values[entry.finding] = _smallest_p([*entry.subgroups, others], statistic)
        assert job.panels == sorted(findings, key=p_values.get)[: len(job.panels)]
        assert 1 <= len(job.panels) < len(findings)
        assert "differ most clearly" in job.figure.caption
    assert "auroc_bars" in jobs


def test_of_many_findings_the_curves_of_those_with_the_most_positives_are_drawn(make_run):
    findings = ("Effusion", "Mass", "Nodule", "Edema", "Hernia", "Fibrosis", "Pneumonia")
    run = make_run(targets=findings, patients=150)
    jobs = _plan(run)
    counts = {entry.finding: entry.n_positive for entry in run.evaluation.findings}
    for name in ("reliability", "decision_curve", "threshold_tradeoff"):
        assert len(jobs[name].panels) == 6
        (left_out,) = set(findings) - set(jobs[name].panels)
        assert counts[left_out] == min(counts.values())
        assert "the 6 findings with the most positive test images" in jobs[name].figure.caption
    assert list(jobs["roc"].panels) == list(findings)
    assert "confusion_matrix" not in jobs and "score_histogram" not in jobs


def test_forests_can_be_read_on_paper(finished_run, tmp_path, monkeypatch):
    from matplotlib.text import Text

    drawn = {}
    monkeypatch.setattr(style, "save", lambda made, path, dpi: drawn.update({path.stem: made}))
    jobs = _plan(Run.load(finished_run))
    for statistic in STATISTICS:
        jobs[f"subgroup_forest_{statistic}"].write(tmp_path, (LONG,))
    for made in drawn.values():
        width, height = made.get_size_inches()
        # As html.py prints it: at 70 % of its size, no larger than a page.
        scale = min(0.7, 6.8 / width, 8.6 / height)
        made.draw_without_rendering()
        for text in made.findobj(Text):
            if text.get_text().strip() and text.get_visible():
                assert text.get_fontsize() * scale >= 6.99, text.get_text()
                box = text.get_window_extent()
                assert box.x0 >= -1 and box.x1 <= made.bbox.width + 1, text.get_text()
    assert len(drawn) == 3


def test_of_several_cautions_the_first_is_printed_and_the_others_are_counted(run_folder, tmp_path, monkeypatch):
    texts = {}
    monkeypatch.setattr(style, "save", lambda drawn, path, dpi: texts.update({path.stem: _words(drawn)}))
    run = Run.load(run_folder)
    document = files.read_json(run_folder / "provenance.json")
    document["cautions"] += ["A second caution.", "A third caution."]
    files.write_json(run_folder / "provenance.json", document)
    draw_figures(run, collect_facts(run), tmp_path)
    for name, found in texts.items():
        assert "Synthetic images, not clinical evidence. And 2 more cautions: see the first page." in found, name
        assert "A second caution." not in found
