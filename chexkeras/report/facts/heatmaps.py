"""Facts on where the model looks: heat maps of test images, checked, and compared with radiologists' boxes."""

from typing import Any

from chexkeras.report.facts.facts import Facts, add_study, difference_text, estimate_text
from chexkeras.results import HeatmapStudy
from chexkeras.results.heatmaps import DEPENDS, OUTCOMES

_FILE = "heatmaps.json"


def add_heatmaps(facts: Facts, run: Any) -> None:
    """Records what was found out about a run's heat maps, if it was found on the scores on file.

    Args:
        facts: Where they go; the evaluated findings are there already.
        run: The `Run`.

    Raises:
        ValueError: If heatmaps.json is damaged or of another version.
    """
    made: HeatmapStudy | None = run.heatmaps
    study = add_study(
        facts,
        "heatmaps",
        made,
        run,
        file=_FILE,
        made="whether heat maps were made",
        fits=made is not None and made.finding in facts["evaluated"].value,
        also=("finding", "evaluation.json"),
    )
    facts.add(
        "heatmaps.part_of_output",
        study is not None and study.part_of_output,
        file=_FILE if made else "convention",
        field="whether heat maps were drawn of the files whose results the run keeps",
    )
    if study is None:
        return
    checks = study.checks
    for name, value, text in (
        ("finding", study.finding, study.finding.replace("_", " ")),
        ("method", checks.method, None),
        ("layer", checks.layer, None),
        ("seed", study.seed, str(study.seed)),
        ("checked", checks.n_images, None),
        ("verdict", checks.verdict, None),
        ("reason", checks.reason, None),
        ("most_alike", checks.most_alike, f"{checks.most_alike:g}"),
    ):
        facts.add(f"heatmaps.{name}", value, text, file=_FILE, field=name)
    facts.add("heatmaps.believed", checks.verdict == DEPENDS, file=_FILE, field="checks.verdict")
    _add_gallery(facts, run, study)
    levels = [
        [level.name, estimate_text(level.rank_correlation), estimate_text(level.similarity)] for level in checks.levels
    ]
    facts.add("heatmaps.levels", levels, "", file=_FILE, field="checks.levels")
    for name in ("deletion", "insertion"):
        found = getattr(checks, name)
        facts.add(f"heatmaps.{name}", found, difference_text(found), file=_FILE, field=f"checks.{name}")
    facts.add("heatmaps.boxes", study.localization is not None, file=_FILE, field="whether test images have boxes")
    if study.localization is None:
        return
    (entry,) = (each for each in study.localization.findings if each.finding == study.finding)
    located: tuple[tuple[str, Any, str | None], ...] = (
        ("images", entry.n_images, None),
        ("boxes_drawn", entry.n_boxes, None),
        ("patients", entry.n_patients, None),
        ("hit_rate", entry.hit_rate, None),
        ("inside", entry.inside, None),
        ("box_share", entry.box_share, f"{entry.box_share:.3f}"),
        ("mean_box_from", entry.mean_box_from, None),
        ("against_mean_box", entry.verdict, None),
    )
    for name, found, text in located:
        facts.add(f"heatmaps.{name}", found, text, file=_FILE, field=f"localization: {name}")
    facts.add("heatmaps.afroc", study.afroc, file=_FILE, field="afroc")
    rows = [
        [other.baseline, estimate_text(other.hit_rate), difference_text(other.difference), other.verdict]
        for other in entry.baselines
    ]
    facts.add("heatmaps.rows", rows, "", file=_FILE, field="localization.baselines")


def _add_gallery(facts: Facts, run: Any, study: HeatmapStudy) -> None:
    """Records the images of the gallery, drawn only of maps that depend on the model."""
    gallery = run.heatmap_gallery if study.checks.verdict == DEPENDS else None
    facts.add("heatmaps.gallery", gallery is not None, file="heatmaps.png", field="whether there are images")
    # What a run of an earlier version says nothing of.
    facts.add("heatmaps.no_gallery", study.no_gallery, file=_FILE, field="no_gallery")
    if gallery is None:
        return
    facts.add("heatmaps.gallery.images", len(study.examples), file=_FILE, field="examples")
    facts.add("heatmaps.gallery.threshold", study.threshold, f"{study.threshold:.3f}", file=_FILE, field="threshold")
    counts = [sum(entry["outcome"] == outcome for entry in study.examples) for outcome in OUTCOMES]
    told = ", ".join(f"{outcome} {count}" for outcome, count in zip(OUTCOMES, counts, strict=True))
    facts.add("heatmaps.gallery.outcomes", counts, told, file=_FILE, field="examples: outcome")
