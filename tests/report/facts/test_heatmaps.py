"""What the report says of heat maps."""

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Text

from chexkeras.evaluation.scores import scores_fingerprint
from chexkeras.plots import style
from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.figures.draw import plan_figures
from chexkeras.report.templating import TemplateContext
from chexkeras.results import (
    AgainstBaseline,
    BoxAgreement,
    Estimate,
    HeatmapStudy,
    Localization,
    MapChecks,
    RandomisedLevel,
)
from chexkeras.runs.gallery import write_gallery
from chexkeras.runs.run import HEATMAPS


def number(value, half=0.05):
    return Estimate(value, value - half, value + half, 0.95, 40, "mean")


def study_of(run, verdict="depends on the model"):
    checks = MapChecks(
        "Effusion", "gradcam", "relu", 40, (RandomisedLevel("whole network", number(0.21), number(0.11)),),
        number(-2.9), number(0.4), 0.5, verdict, "because it does", 3,
    )  # fmt: skip
    entry = BoxAgreement(
        "Effusion", 30, 34, 28, number(0.61), number(0.33), 0.12, (number(0.5),), (number(0.4),),
        (AgainstBaseline("mean box", number(0.3), number(0.31), 0.001, "better than the mean box"),),
        "for each patient the boxes of the other patients, 34 in all",
    )  # fmt: skip
    found = Localization("gradcam", "relu", (0.1,), (0.1,), (entry,))
    fingerprint = scores_fingerprint(run.scores("test"))
    return HeatmapStudy("Effusion", checks, found, number(0.7), scores_fingerprint=fingerprint)


def sections(run):
    text = submission.preview(collect_facts(run)).text
    return text[text.index("### 1. ") : text.index("### 2. ")], text[text.index("## 13. ") : text.index("## 14. ")]


def test_checks_boxes_and_verdicts_stand_in_the_report(make_run):
    run = make_run()
    study_of(run).save(run.folder / HEATMAPS)
    general, text = sections(run)
    assert (
        'made to study the model (section "Robustness and Repeatability"); they are no\npart of its output.' in general
    )
    assert 'relation to the model is "**depends on the model**": because it does.' in text
    assert "| whole network | 0.210 (95 % CI 0.160" in text
    assert "Against 34 boxes of the synthetic finding on 30 test images of 28 patients" in text
    assert "verdict: **better than the mean box**" in text
    assert "| mean box | 0.300 (95 % CI 0.250" in text and "| +0.310 (95 % CI +0.260 to +0.360) |" in text
    assert "It is no segmentation and no finding of a radiologist" in text
    assert "not drawn here" not in text


def test_maps_that_do_not_depend_on_the_model_are_not_drawn(make_run):
    run = make_run()
    study_of(run, "does not depend on the model").save(run.folder / HEATMAPS)
    assert "The maps are therefore not drawn here, and nothing is concluded from them." in sections(run)[1]


def with_gallery(run, **changed):
    """A run that keeps two images of its study."""
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32)).astype(np.uint8)
    examples = (
        {"image_id": "a", "outcome": "found", "score": 0.9, "hit": True, "map": [[0, 1], [2, 3]],
         "boxes": [[0.5, 0.5, 0.4, 0.4]]},
        {"image_id": "b", "outcome": "false alarm", "score": 0.8, "hit": None, "map": [[1, 0], [0, 0]], "boxes": []},
    )  # fmt: skip
    digest = write_gallery(run.folder, images)
    study = dataclasses.replace(study_of(run), examples=examples, gallery_sha256=digest, threshold=0.415, **changed)
    study.save(run.folder / HEATMAPS)
    return run


def test_the_gallery_is_drawn_from_the_run_alone_with_score_threshold_and_hit(make_run, tmp_path, monkeypatch):
    run = with_gallery(make_run())
    facts = collect_facts(run)
    (planned,) = (each for each in plan_figures(run, facts) if each.name == "heatmap_gallery")
    assert planned.caption == (
        "Heat maps of 2 test images for Effusion, drawn at random of each outcome at the threshold 0.415, each on its "
        "own scale. White: boxes of the synthetic finding"
    )
    texts = []
    monkeypatch.setattr(style, "save", lambda drawn, path, dpi: texts.extend(
        text.get_text() for text in drawn.findobj(Text)))  # fmt: skip
    planned.write(tmp_path, ("Synthetic images.",))
    assert "found, peak in a box\nscore 0.900, threshold 0.415" in texts
    assert "false alarm\nscore 0.800, threshold 0.415" in texts and "Synthetic images." in texts
    figures = {planned.name: planned.figure}
    text = TemplateContext(facts, figures, "figures").fill("sections/evidence/13_where_the_model_looks.md.j2")
    assert "(found 1, missed 0, false alarm 1, correct negative 0), drawn at random with the seed 0" in text
    assert "](figures/heatmap_gallery.png)" in text


def test_no_gallery_where_there_are_no_images_or_the_maps_are_not_believed(make_run):
    run = make_run()
    reason = "images of patients are not kept with the run"
    dataclasses.replace(study_of(run), no_gallery=reason).save(run.folder / HEATMAPS)
    assert f"No images with their maps are drawn: {reason}." in sections(run)[1]
    assert "heatmap_gallery" not in {each.name for each in plan_figures(run, collect_facts(run))}
    with_gallery(run)
    study_of(run, "not shown").save(run.folder / HEATMAPS)
    assert "heatmap_gallery" not in {each.name for each in plan_figures(run, collect_facts(run))}


def test_what_the_device_points_to_follows_what_is_given(make_run):
    run = make_run()
    with_gallery(run, part_of_output=True)
    general = sections(run)[0]
    assert "not mark or point to any part" not in general and "point to parts of an image" in general
    assert "they are no\npart of its output" not in general
    whole = submission.preview(collect_facts(run)).text
    assert "a heat map of where the score comes from" in whole and "no mark on the image" not in whole


def test_a_run_without_heat_maps_says_so(make_run):
    general, text = sections(make_run())
    assert "Not studied: no heat maps were made of this run." in text
    assert "it does\nnot mark or point to any part of an image. This wording" in general


def test_heat_maps_of_other_scores_are_not_shown(make_run):
    run = make_run()
    dataclasses.replace(study_of(run), scores_fingerprint="00" * 32).save(run.folder / HEATMAPS)
    assert "NOT SHOWN: heatmaps.json was made on other scores than those on file." in sections(run)[1]


def test_without_boxes_nothing_is_said_of_pointing(make_run):
    run = make_run()
    dataclasses.replace(study_of(run), localization=None).save(run.folder / HEATMAPS)
    assert "No test image has a box: whether the maps point at the finding was not measured." in sections(run)[1]


def test_a_damaged_file_is_named(make_run):
    run = make_run()
    (run.folder / HEATMAPS).write_text('{"checks": {}, "scores_fingerprint": ""}')
    with pytest.raises(ValueError, match=r"heatmaps\.json of the run lacks"):
        collect_facts(run)
