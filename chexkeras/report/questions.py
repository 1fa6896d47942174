"""What only the author of a submission can say: every open field of the report, with the key that answers it."""

from dataclasses import dataclass

from chexkeras.checks import nearest


@dataclass(frozen=True)
class Question:
    """One field that no run folder can fill.

    Attributes:
        key: Where the answer stands in submission.toml: the table's name, a dot, the key's name.
        section: Number of the report's section that asks; 0 for its head.
        text: What is asked, as printed in an open field; "{finding}" stands for a finding.
        kind: "text", or "number" where the answer is printed by the sentence that uses it.
    """

    key: str
    section: int
    text: str
    kind: str = "text"


QUESTIONS: tuple[Question, ...] = (
    Question("device.submitter", 0, "name of the submitter"),
    Question("device.name", 0, "name of the device"),
    Question("device.intended_user", 1, "intended user, for example radiologists, and the clinical setting"),
    Question(
        "device.intended_use",
        1,
        "confirm or replace this intended use and the device type, and say why the findings are time-sensitive enough "
        "for it",
    ),
    Question(
        "device.use_conditions",
        1,
        "prescription use, reading environment, and conditions in which the device must not be used",
    ),
    Question(
        "device.confounders",
        1,
        "clinical confounders, such as devices, tubes and earlier surgery, and what they do to the output",
    ),
    Question(
        "device.error_consequences",
        1,
        "the clinical consequence of each error for these findings, and why this balance was chosen",
    ),
    Question("prevalence", 1, "prevalence of {finding} where the device will be used", "number"),
    Question("device.design_reason", 2, "why this design was chosen, and what was tried and given up"),
    Question("device.target_reason", 3, "the clinical reason for the target that the rule aims at"),
    Question("data.origin", 4, "licence, consent, sites, equipment, and years of acquisition of the data"),
    Question(
        "data.labeller_accuracy",
        5,
        "the labeller's accuracy as stated by its authors, and how it was established",
    ),
    Question(
        "data.label_source",
        5,
        "who or what assigned the labels, from which information, and how accurate they are",
    ),
    Question("study.population", 6, "sites, enrichment, dates, and clinical inclusion and exclusion criteria"),
    Question("study.truthers", 6, "truthers' number, qualifications and experience, and the reading protocol"),
    Question(
        "study.expected",
        6,
        "sensitivity and specificity to expect of the device, to plan with (study.expected_sensitivity and "
        "study.expected_specificity)",
        "number",
    ),
    Question("goals.justification", 6, "justify or replace these performance goals"),
    Question("identification.contact", 7, "submitter's address and contact person, and the date prepared"),
    Question("identification.classification", 7, "regulation, product code and class of the device"),
    Question("identification.predicate", 7, "the predicate device with its number, chosen and checked by the sponsor"),
    Question(
        "identification.comparison", 7, "how intended use and technology compare with the predicate, point by point"
    ),
    Question("subgroups.confounders", 9, "clinical groups that matter for this use and were not measured here"),
    Question(
        "decision.reason",
        10,
        "the range of threshold probabilities that clinicians would act on, and why",
    ),
    Question("reading.rates", 11, "films that arrive and films that a reader reads per hour", "number"),
    Question("reading.source", 11, "where the rates of the reading room come from, and why they are typical"),
    Question("comparison.statement", 12, "other experiments that this run was chosen from, or that there were none"),
    Question("robustness.results", 13, "reproducibility across sites, equipment and exposure settings"),
    Question("readers.study", 14, "human factors evaluation and reader study, or why neither is needed"),
    Question(
        "software.level",
        15,
        "documentation level (basic or enhanced) with its reason; software safety class and life cycle under IEC 62304",
    ),
    Question("software.tests", 15, "verification and validation summary, requirements and their traceability"),
    Question("risk.file", 16, "risk management file under ISO 14971: harms, severity, controls, residual risk"),
    Question(
        "cybersecurity.plan",
        17,
        "threat model, security architecture views, penetration tests, and coordinated disclosure of vulnerabilities",
    ),
    Question("changes.modifications", 18, "description of the modifications that are planned, or that there are none"),
    Question("changes.impact", 18, "impact assessment of these modifications"),
    Question("monitoring.plan", 19, "who monitors the device in use, how often, and what is done when it drifts"),
    Question("labelling.warnings", 20, "warnings, contraindications and instructions for use"),
    Question("labelling.installation", 20, "installation, customisation, and information for patients and caregivers"),
    Question(
        "reporting.rest", 21, "registration, protocol, funding, conflicts of interest, and access to data and code"
    ),
    Question("conclusion.signature", 22, "signature, name, position and date"),
)

_BY_KEY = {question.key: question for question in QUESTIONS}


def question(key: str) -> Question:
    """Returns a question by its key; a KeyError names the nearest keys."""
    if key not in _BY_KEY:
        raise KeyError(f"no question {key!r}; {nearest(key, _BY_KEY)}")
    return _BY_KEY[key]
