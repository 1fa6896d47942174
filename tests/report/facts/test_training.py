import numpy as np
import pytest

from chexkeras import files
from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.training import INTENSITIES
from chexkeras.report.figures.draw import draw_figures
from chexkeras.runs.run import Run


def entry(positive, n_positive=100):
    shares = np.zeros(64)
    shares[positive] = 1.0
    return {
        "bins": np.linspace(0, 256, 65).tolist(), "positive": shares.tolist(), "negative": [1 / 64] * 64,
        "n_positive": n_positive, "n_negative": 90, "n_note": "of 103 training images with Effusion and 317 without",
    }  # fmt: skip


def text_of(run):
    return " ".join(submission.preview(collect_facts(run)).text.split())


def test_a_report_without_the_file_says_nothing_of_it(finished_run):
    facts = collect_facts(Run.load(finished_run))
    assert facts["intensities"].value is False
    assert "grey level |" not in text_of(Run.load(finished_run))


def test_mean_grey_levels_are_those_of_the_bins(run_folder, tmp_path):
    files.write_json(run_folder / INTENSITIES, {"Effusion": entry(positive=10)})
    run = Run.load(run_folder)
    facts = collect_facts(run)
    # All pixels in the eleventh band of four grey levels; and spread evenly over all.
    assert facts["intensities.Effusion.mean_positive"].value == pytest.approx(42)
    assert facts["intensities.Effusion.mean_negative"].value == pytest.approx(128)
    text = text_of(run)
    assert "| Effusion | 100 | 42.0 | 90 | 128.0 |" in text
    assert "Effusion: of 103 training images with Effusion and 317 without." in text
    made = draw_figures(run, facts, tmp_path)
    assert (tmp_path / made["intensities"].file).stat().st_size > 10_000


def test_at_most_four_findings_are_shown_those_with_the_most_images(make_run):
    findings = ("Effusion", "Mass", "Nodule", "Edema", "Hernia")
    run = make_run(targets=findings, patients=120)
    counts = (30, 10, 50, 40, 20)
    files.write_json(run.folder / INTENSITIES, {f: entry(3, n) for f, n in zip(findings, counts, strict=True)})
    facts = collect_facts(run)
    assert facts["intensities.shown"].value == ["Nodule", "Edema", "Effusion", "Hernia"]
    assert "intensities.Mass.note" not in facts


def test_a_finding_that_no_image_shows_has_no_mean(run_folder):
    files.write_json(run_folder / INTENSITIES, {"Effusion": {**entry(3), "positive": None, "n_positive": 0}})
    assert "| Effusion | 0 | not known | 90 | 128.0 |" in text_of(Run.load(run_folder))


@pytest.mark.parametrize("change", [{"bins": [0, 256]}, {"positive": [1.0]}, {"n_positive": "many"}])
def test_a_file_of_another_shape_is_refused_with_its_name(change, run_folder):
    files.write_json(run_folder / INTENSITIES, {"Effusion": {**entry(3), **change}})
    with pytest.raises(ValueError, match=r"intensities\.json of the run .*Effusion"):
        collect_facts(Run.load(run_folder))


def test_an_epoch_kept_besides_the_best_is_not_called_the_best(make_run):
    """The text of its report, its model card and its figure speak of the epoch whose weights it has."""
    run = make_run()
    record = files.read_json(run.folder / "provenance.json")
    record["best"] = {"stage": "stage1", "epoch": 4, "rank": 3}
    files.write_json(run.folder / "provenance.json", record)
    run = Run.load(run.folder)
    text = " ".join(submission.preview(collect_facts(run)).text.split())
    assert "| Model kept | epoch 4 of stage1, number 3 on the validation part;" in text
    assert "The epoch kept is number 3 by the" in text and "The epoch kept is the best" not in text
    assert "no epoch of it was better" not in text
    assert "best on the validation part" not in text
    assert run.kept_epoch == 4


def test_the_kept_epoch_is_counted_over_all_stages(make_run):
    assert make_run().kept_epoch == 11  # Epoch 5 of stage2, after 6 of stage1.
