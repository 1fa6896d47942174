"""Facts on regulation and reporting guidelines: what the text refers to, with source and date; topics by section.

Guidance moves. The list says what was in force when this file was written and where that was read; whoever submits
checks it again.
"""

from typing import NamedTuple

from chexkeras.report.facts.facts import Facts

FILE = "regulation"
"""The origin of these facts; their field names the source."""


class Reference(NamedTuple):
    """A regulation, standard or guidance: how it is printed, and where it was read."""

    text: str
    source: str


REFERENCES: dict[str, Reference] = {
    "triage": Reference("21 CFR 892.2080", "85 FR 3543, order effective 22 January 2020"),
    "triage_name": Reference(
        "radiological computer aided triage and notification software", "85 FR 3543, 22 January 2020"
    ),
    "marking": Reference("21 CFR 892.2070", "Code of Federal Regulations, title 21, medical image analyzer"),
    "marking_and_diagnosis": Reference("21 CFR 892.2090", "90 FR 24969, 13 June 2025"),
    "pathway": Reference("510(k)", "Federal Food, Drug, and Cosmetic Act, section 510(k)"),
    "queue_tool": Reference("QuCAD", "Thompson et al., Queueing Systems 108, 2024"),
}
"""What sentences refer to, by the end of the fact's key: "regulation.triage"."""

GUIDANCE: tuple[tuple[str, str, str], ...] = (
    (
        "Computer-Assisted Detection Devices Applied to Radiology Images and Radiology Device Data: 510(k) "
        "submissions; and its companion on clinical performance assessment",
        "28 September 2022",
        "final",
    ),
    ("Content of Premarket Submissions for Device Software Functions", "14 June 2023", "final"),
    (
        "Artificial Intelligence-Enabled Device Software Functions: Lifecycle Management and Marketing Submission "
        "Recommendations",
        "7 January 2025",
        "draft",
    ),
    (
        "Marketing Submission Recommendations for a Predetermined Change Control Plan for Artificial "
        "Intelligence-Enabled Device Software Functions",
        "18 August 2025",
        "final; first issued 4 December 2024",
    ),
    (
        "Cybersecurity in Medical Devices: Quality Management System Considerations and Content of Premarket "
        "Submissions",
        "February 2026",
        "final; replaces that of 27 June 2025",
    ),
)
"""FDA's guidance that the sections of the report follow: title, date of issue, status."""

AS_OF = "May 2026"
"""When `GUIDANCE` was last checked."""


def add_regulation(facts: Facts) -> None:
    """Records what the text refers to, under "regulation.<name>", and the list of guidance."""
    for name, reference in REFERENCES.items():
        facts.add(f"regulation.{name}", reference.text, file=FILE, field=reference.source)
    rows = [list(row) for row in GUIDANCE]
    facts.add("regulation.guidance", rows, "", file=FILE, field="titles, dates and status as announced by FDA")
    facts.add("regulation.as_of", AS_OF, file=FILE, field="when the list of guidance was last checked")


GUIDELINES: dict[str, str] = {
    "CLAIM": "Tejani et al., CLAIM: 2024 update, Radiology: Artificial Intelligence 6, 2024",
    "TRIPOD+AI": "Collins et al., BMJ 385:e078378, 2024",
    "STARD-AI": "Sounderajah et al., Nature Medicine, 2025",
    "DECIDE-AI": "Vasey et al., Nature Medicine 28, 2022",
    "METRICS": "Kocak et al., Insights into Imaging 15, 2024",
}
"""The guidelines, and where they are published."""

TOPICS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("CLAIM", "intended use and clinical role of the algorithm", (1,)),
    ("CLAIM", "data sources, eligibility, exclusions and their reasons", (4,)),
    ("CLAIM", "preprocessing, de-identification of images", (2, 17)),
    ("CLAIM", "reference standard: definition, source, annotators and their agreement", (5, 6)),
    ("CLAIM", "partitions, and the level at which they are disjoint", (4,)),
    ("CLAIM", "model: structure, software, initial parameters", (2, 15)),
    ("CLAIM", "training: augmentation, hyperparameters, choice of the final model", (3,)),
    ("CLAIM", "evaluation: measures with uncertainty, statistical tests", (8, 12)),
    ("CLAIM", "robustness and sensitivity analysis", (13,)),
    ("CLAIM", "flow and demographic characteristics of each partition", (4,)),
    ("CLAIM", "failure analysis of wrong calls", (16,)),
    ("CLAIM", "limitations, bias, generalisability", (1, 9)),
    ("TRIPOD+AI", "objectives: development, evaluation, or both", (1, 6)),
    ("TRIPOD+AI", "participants, data preparation, outcome", (4, 5)),
    ("TRIPOD+AI", "sample size with its justification", (6,)),
    ("TRIPOD+AI", "missing data: unknown labels, ages and views", (4, 5)),
    ("TRIPOD+AI", "model building, class imbalance, recalibration", (3, 10)),
    ("TRIPOD+AI", "fairness: performance in groups and differences between them", (9,)),
    ("TRIPOD+AI", "model output and its threshold", (3, 20)),
    ("TRIPOD+AI", "performance: discrimination, calibration, clinical utility", (8, 10)),
    ("TRIPOD+AI", "usability in the context of current care", (11, 14)),
    ("TRIPOD+AI", "protocol, registration, funding, conflicts, data and code", (21,)),
    ("STARD-AI", "index test: version, inputs, threshold and how it was set", (2, 3)),
    ("STARD-AI", "reference standard and its rationale", (5,)),
    ("STARD-AI", "cross tabulation of calls by the reference standard", (8,)),
    ("STARD-AI", "estimates of accuracy with their precision", (8,)),
    ("STARD-AI", "indeterminate and refused inputs", (2, 16)),
    ("STARD-AI", "bias and fairness of the data", (4, 9)),
    ("DECIDE-AI", "intended users, setting, place in the workflow", (1, 11)),
    ("DECIDE-AI", "human factors evaluation, how users follow the output", (14,)),
    ("DECIDE-AI", "safety and errors: malfunctions, patient harm", (16,)),
    ("DECIDE-AI", "modifications of the system during evaluation", (18,)),
    ("METRICS", "test on data of another institution", (8,)),
    ("METRICS", "handling of confounders", (1, 9)),
    ("METRICS", "public availability of code and model", (21,)),
)
"""A guideline, a topic of it in our words, and the sections that treat it."""


def add_crosswalk(facts: Facts) -> None:
    """Records the guidelines with their sources, and their topics with the sections that treat them."""
    for name, source in GUIDELINES.items():
        facts.add(f"guideline.{name}", name, file=FILE, field=source)
    facts.add("guidelines", [[name, source] for name, source in GUIDELINES.items()], "", file=FILE,
              field="reporting guidelines and where they are published")  # fmt: skip
    facts.add("crosswalk", [[name, topic, list(sections)] for name, topic, sections in TOPICS], "", file=FILE,
              field="topics of reporting guidelines, and the sections of this report that treat them")  # fmt: skip


def status_of(facts: Facts, open_sections: set[int]) -> list[tuple[str, str, str, str]]:
    """Returns guideline, topic, sections and whether these have open fields, as the report prints them.

    Args:
        facts: With the crosswalk.
        open_sections: Numbers of sections with an open field.
    """
    rows = []
    for name, topic, sections in facts["crosswalk"].value:
        waiting = [str(number) for number in sections if number in open_sections]
        status = f"open fields in {' and '.join(waiting)}" if waiting else "no open field"
        rows.append((name, topic, ", ".join(str(number) for number in sections), status))
    return rows
