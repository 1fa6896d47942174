"""What labels are worth against readers, and how a model fares against both."""

from dataclasses import dataclass

import pandas as pd

from chexkeras.arguments import checked
from chexkeras.results.estimate import Estimate
from chexkeras.results.record import Record


@dataclass(frozen=True)
class FindingLabelQuality(Record):
    """The labels of one finding against what readers said of the same images.

    Attributes:
        finding: As the readers call it.
        labels: The labels that mean the same; an image with any of them is labelled.
        n_images: Images with a label and a reading.
        n_patients: Patients of them; 0 where patients are not known.
        both: Images labelled that readers confirm.
        labelled_only: Images labelled that readers do not confirm.
        read_only: Images that readers call, without the label.
        neither: Images with neither.
        sensitivity: Share of the images that readers call which have the label.
        specificity: Share of the images that readers do not call which lack the label.
        ppv: Share of the labelled images that readers call.
        npv: Share of the images without the label that readers do not call.
        kappa: Agreement of labels and readers beyond chance.
        perfect_auroc: The AUROC that a model would reach against these labels if it said what the readers say, yes or
            no; one that also ranks images by how plain the finding is may exceed it.
    """

    finding: str
    labels: tuple[str, ...]
    n_images: int
    n_patients: int
    both: int
    labelled_only: int
    read_only: int
    neither: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    kappa: Estimate
    perfect_auroc: Estimate


_RATES = ("sensitivity", "specificity", "ppv", "npv", "kappa", "perfect_auroc")
_WORDS = {"ppv": "PPV", "npv": "NPV", "perfect_auroc": "AUROC of the readers"}


@checked
@dataclass(frozen=True)
class LabelQuality(Record):
    """Labels against readers, finding by finding.

    Attributes:
        readings: What the readings are called.
        read_by: Who read how.
        drawn: How the images that were read were chosen: what the numbers hold for.
        consensus: How several readings of an image became one.
        findings: One entry for each finding that labels and readers share.
        left_out: Findings of the readers that were not compared, each with the reason.
        cautions: Sentences that a reader must see beside the numbers.
    """

    readings: str
    read_by: str
    drawn: str
    consensus: str
    findings: tuple[FindingLabelQuality, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each finding, numbers with their intervals as text."""
        return pd.DataFrame(
            [
                {
                    "finding": entry.finding,
                    "labels": " or ".join(entry.labels),
                    "images": entry.n_images,
                    "patients": entry.n_patients or None,
                    "labelled": entry.both + entry.labelled_only,
                    "read": entry.both + entry.read_only,
                    "both": entry.both,
                    **{_WORDS.get(name, name): str(getattr(entry, name)) for name in _RATES},
                }
                for entry in self.findings
            ]
        )

    def __str__(self) -> str:
        """Returns the numbers in lines that fit a terminal."""
        lines = [f"Labels against {self.readings}", f"  {self.drawn}"]
        for entry in self.findings:
            labels = " or ".join(entry.labels)
            lines.append(
                f"{entry.finding} (label {labels}): {entry.n_images:,} images, {entry.both + entry.labelled_only:,} "
                f"labelled, {entry.both + entry.read_only:,} by readers, {entry.both:,} both"
            )
            lines += [f"  {_WORDS.get(name, name):22} {getattr(entry, name)}" for name in _RATES]
        lines += [f"{finding}: not compared: {reason}" for finding, reason in self.left_out]
        return "\n".join([*lines, *(f"Caution: {caution}" for caution in self.cautions)])


@dataclass(frozen=True, kw_only=True)
class FindingAgainstReaders(Record, nan=("p_value",)):
    """A model's scores of one finding, judged by its labels and by readers on the same images.

    Attributes:
        quality: The labels against the readers on these images.
        auroc_labels: Against the labels.
        auroc_readers: Against the readers.
        auroc_difference: Against the readers less against the labels, paired.
        p_value: That the two areas are equal; NaN where there is no test.
        sensitivity_labels: At the frozen threshold, against the labels.
        sensitivity_readers: At the frozen threshold, against the readers.
        specificity_labels: At the frozen threshold, against the labels.
        specificity_readers: At the frozen threshold, against the readers.
        verdict: In words.
    """

    quality: FindingLabelQuality
    auroc_labels: Estimate
    auroc_readers: Estimate
    auroc_difference: Estimate
    p_value: float
    sensitivity_labels: Estimate
    sensitivity_readers: Estimate
    specificity_labels: Estimate
    specificity_readers: Estimate
    verdict: str


@checked
@dataclass(frozen=True, kw_only=True)
class AgainstReaders(Record):
    """A model's scores against its labels and against readers, on the images that have both.

    Attributes:
        readings: What the readings are called.
        read_by: Who read how.
        drawn: How the images that were read were chosen.
        terms: Under which terms the readings may be used.
        citation: The publication of the readings.
        consensus: How several readings of an image became one.
        files: Name and SHA-256 of each file of readings.
        part: The part of the run whose scores were compared.
        images_elsewhere: Images that were read and belong to other parts of the run: they are not counted.
        scores_fingerprint: Of the scores that were judged.
        findings: One entry for each finding that the model has learnt and readers read.
        left_out: Findings of the readers that were not compared, each with the reason.
        cautions: Sentences that a reader must see beside the numbers.
    """

    readings: str
    read_by: str
    drawn: str
    terms: str
    citation: str
    consensus: str
    files: tuple[tuple[str, str], ...]
    part: str
    images_elsewhere: int
    scores_fingerprint: str
    findings: tuple[FindingAgainstReaders, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Returns one row for each finding and measure: against the labels, against the readers, the difference."""
        rows = []
        for entry in self.findings:
            about = {"finding": entry.quality.finding, "images": entry.quality.n_images}
            rows.append(
                about
                | {
                    "measure": "AUROC",
                    "against the labels": str(entry.auroc_labels),
                    "against the readers": str(entry.auroc_readers),
                    "difference": str(entry.auroc_difference),
                    "verdict": entry.verdict,
                }
            )
            for name in ("sensitivity", "specificity"):
                rows.append(
                    about
                    | {
                        "measure": name,
                        "against the labels": str(getattr(entry, f"{name}_labels")),
                        "against the readers": str(getattr(entry, f"{name}_readers")),
                        "difference": "",
                        "verdict": "",
                    }
                )
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        """Returns the numbers in lines that fit a terminal."""
        lines = [f"The {self.part} part against {self.readings}", f"  {self.drawn}"]
        for entry in self.findings:
            quality = entry.quality
            lines += [
                f"{quality.finding}: {quality.n_images:,} images, {quality.both + quality.labelled_only:,} labelled, "
                f"{quality.both + quality.read_only:,} by readers, {quality.both:,} both",
                f"  AUROC against the labels   {entry.auroc_labels}",
                f"  AUROC against the readers  {entry.auroc_readers}",
                f"  difference                 {entry.auroc_difference}",
                f"  the readers' own AUROC against the labels  {quality.perfect_auroc}",
                *(
                    f"  {name} against labels, readers  {getattr(entry, f'{name}_labels')}, "
                    f"{getattr(entry, f'{name}_readers')}"
                    for name in ("sensitivity", "specificity")
                ),
                f"  {entry.verdict}",
            ]
        lines += [f"{finding}: not compared: {reason}" for finding, reason in self.left_out]
        return "\n".join([*lines, *(f"Caution: {caution}" for caution in self.cautions)])
