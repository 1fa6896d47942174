"""Facts on regulation and guidance: what the text refers to, each with its source and date.

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
