import re

from chexkeras import files
from chexkeras.plots import style
from chexkeras.report.answers import load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.facts import Facts
from chexkeras.report.figures.catalogue import _smallest_p
from chexkeras.report.figures.draw import NAMES, draw_figures, plan_figures
from chexkeras.report.figures.figure import intervals_in_words
from chexkeras.results import Estimate, Interaction, SubgroupAnalysis
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
        "auroc_bars", "intensities", "heatmap_gallery", "external", "novelty",
    }  # fmt: skip


def test_every_caption_names_its_source_and_no_number_that_is_no_fact(finished_run, answered):
    facts = collect_facts(Run.load(finished_run), answers=load_answers(answered))
    known = " ".join(fact.text for fact in facts.values())
    for job in _plan(Run.load(finished_run), answered).values():
        assert re.fullmatch(r"Source: .+(\.csv|\.json|runs|submission\.toml)\.", job.figure.source), job.figure.name
        for number in re.findall(r"[\d,.]*\d", job.figure.caption):
            assert number in known, job.figure.caption


def test_every_figure_carries_every_caution(finished_run, answered, monkeypatch, tmp_path):
    """The figure is drawn without being written; it names the caution, and so does what stands under it.

    In full they stand at the head of the document, see test_structure.py.
    """
    texts = {}
    monkeypatch.setattr(style, "save", lambda drawn, path, dpi: texts.update({path.stem: _words(drawn)}))
    run, answers = Run.load(finished_run), load_answers(answered)
    facts = collect_facts(run, answers=answers)
    made = draw_figures(run, facts, tmp_path, answers)
    assert set(texts) == set(made)
    # A reader study was not made of the run's images: its figures carry cautions of their own.
    of_study = dict.fromkeys(("reader_roc", "reader_forest"), ("approximate intervals", "Means near 0 or 1"))
    of_run = ("synthetic images", "Cautions, in full at the head of this document: synthetic images")
    for name, found in texts.items():
        named, sentence = of_study.get(name, of_run)
        assert any(
            words in found.casefold() for words in (named, sentence.casefold(), "synthetic images, not clinical")
        ), name
        assert sentence in made[name].small_print, name
        assert "Source: " in made[name].small_print


def test_captions_say_how_intervals_were_computed(finished_run):
    jobs = _plan(Run.load(finished_run))
    for name in ("roc", "precision_recall", "threshold_tradeoff", "robustness", "subgroup_forest_sensitivity"):
        assert jobs[name].figure.intervals.startswith("95 % intervals: "), name
    method = Run.load(finished_run).evaluation["Effusion"].auroc.method
    assert method.startswith(jobs["roc"].figure.intervals.removeprefix("95 % intervals: "))
    assert "paired DeLong, clustered by patient (Obuchowski 1997)" in jobs["robustness"].figure.small_print
    assert jobs["age_sex"].figure.intervals == ""


def test_methods_are_named_without_the_numbers_of_each_estimate():
    def of(method):
        return intervals_in_words([Estimate(0.5, 0.4, 0.6, method=method)])

    effective = "Clopper-Pearson at the effective sample size"
    assert of(f"{effective} 114.7 (Korn & Graubard 1998); 125 images") == (
        f"95 % intervals: {effective} (Korn & Graubard 1998)"
    )
    assert of("Clopper-Pearson on patients, worth 10.0, because the images do not vary; 20 images") == (
        "95 % intervals: Clopper-Pearson on patients"
    )
    assert of("average precision at the prevalence of these images, 0.3, logit interval with the standard error of a "
              "bootstrap of 61 patients (20 positive), 2000 replicates, seed 0") == (
        "95 % intervals: logit interval with the standard error of a bootstrap"
    )  # fmt: skip
    assert of("Newcombe 2006 method 5 on 20 positive and 45 negative patients, worth 6") == (
        "95 % intervals: Newcombe 2006 method 5"
    )
    assert intervals_in_words([Estimate.not_estimable("one class")]) == ""


def _words(drawn):
    from matplotlib.text import Text

    return " ".join(" ".join(text.get_text().split()) for text in drawn.findobj(Text))


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


def test_of_several_cautions_the_kinds_stand_on_the_figure_and_all_of_them_under_it(run_folder, tmp_path, monkeypatch):
    texts = {}
    monkeypatch.setattr(style, "save", lambda drawn, path, dpi: texts.update({path.stem: _words(drawn)}))
    run = Run.load(run_folder)
    document = files.read_json(run_folder / "provenance.json")
    document["cautions"] += ["Untrained backbone.", f"A third caution: {LONG}", "Ask Dr. Meier first."]
    files.write_json(run_folder / "provenance.json", document)
    made = draw_figures(run, collect_facts(run), tmp_path)
    for name, found in texts.items():
        assert "Synthetic images; case-control sample; " in found, name
        assert "see cautions" in found and "A third caution" not in found
        under = made[name].small_print
        # Kinds are named; a caution of no known kind is said in full.
        assert "at the head of this document: synthetic images, case-control sample, untrained base." in under
        assert "untrained base. Ask Dr. Meier first." in under and "not clinical evidence" not in under
