"""Facts on what the labels are worth: the run's test images that readers read again, and what is known of a source."""

from typing import Any

from chexkeras.data.datasets.registry import NIH
from chexkeras.data.readings.sources import NIH_FOUR_FINDINGS, NIH_LABELS
from chexkeras.report.facts.facts import Facts, add_study, difference_text, estimate_text
from chexkeras.results import FindingLabelQuality

_FILE = "readers.json"
_KNOWN = f"{NIH_FOUR_FINDINGS.citation} Counted from its table."


def add_ground_truth(facts: Facts, run: Any) -> None:
    """Records how the labels fare against readers: on the run's own test images, and what is published of its source.

    Args:
        facts: Where they go; the evaluated findings and the data's source are there already.
        run: The `Run`.

    Raises:
        ValueError: If readers.json is damaged or of another version.
    """
    found = add_study(
        facts, "reread", run.against_readers, run, file=_FILE, made="whether the model was held against new readings"
    )
    _add_known(facts)
    if found is None:
        return
    for name, text in (
        ("readings", found.readings),
        ("read_by", found.read_by),
        ("drawn", found.drawn),
        ("terms", found.terms),
        ("citation", found.citation),
        ("consensus", found.consensus),
    ):
        facts.add(f"reread.{name}", text, file=_FILE, field=name)
    facts.add("reread.elsewhere", found.images_elsewhere, file=_FILE, field="images_elsewhere")
    rows = [_quality_row(entry.quality) for entry in found.findings]
    facts.add("reread.labels", rows, "", file=_FILE, field="findings: quality")
    judged = [
        [
            entry.quality.finding,
            name,
            estimate_text(getattr(entry, f"{measure}_labels")),
            estimate_text(getattr(entry, f"{measure}_readers")),
            difference_text(entry.auroc_difference) if measure == "auroc" else "",
        ]
        for entry in found.findings
        for measure, name in (("auroc", "AUROC"), ("sensitivity", "Sensitivity"), ("specificity", "Specificity"))
    ]
    facts.add("reread.judged", judged, "", file=_FILE, field="findings: auroc, sensitivity, specificity")
    verdicts = [f"{entry.quality.finding}: the model {_told(entry.verdict)}." for entry in found.findings]
    facts.add("reread.verdicts", verdicts, " ".join(verdicts), file=_FILE, field="findings: verdict")
    left_out = [f"{finding}: {reason}" for finding, reason in found.left_out]
    facts.add("reread.left_out", left_out, "; ".join(left_out), file=_FILE, field="left_out")
    facts.add("reread.cautions", list(found.cautions), "", file=_FILE, field="cautions")


def _told(verdict: str) -> str:
    return verdict if verdict.startswith("agrees") else f"could not be compared: {verdict}"


def _add_known(facts: Facts) -> None:
    """Records what is published of the labels of the run's source, where they are NIH's."""
    nih = str(facts["source.dataset"].value).startswith(NIH.owner) and not facts["source.synthetic"].value
    rows = [_quality_row(entry) for entry in NIH_LABELS] if nih else []
    facts.add("labels.known", rows, "", file="convention", field=_KNOWN)
    facts.add("labels.known.drawn", NIH_FOUR_FINDINGS.drawn, file="convention", field="how the images were chosen")
    facts.add("labels.known.source", NIH_FOUR_FINDINGS.citation, file="convention", field="publication")


def _quality_row(entry: FindingLabelQuality) -> list[Any]:
    return [
        " or ".join(entry.labels).replace("_", " "),
        f"{entry.n_images:,}",
        f"{entry.both + entry.labelled_only:,}",
        f"{entry.both + entry.read_only:,}",
        f"{entry.both:,}",
        estimate_text(entry.sensitivity),
        estimate_text(entry.ppv),
        estimate_text(entry.perfect_auroc),
    ]
