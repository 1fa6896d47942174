"""What only the author of a submission can say: the questions, the TOML file that answers them, and one to start from.

The file is read strictly: an unknown key or an answer of the wrong kind is an error that names it.
"""

import inspect
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.checks import nearest
from chexkeras.report.goals import PerformanceGoals


@dataclass(frozen=True)
class Question:
    """One field that no run folder can fill.

    Attributes:
        key: Where the answer stands in submission.toml: the table's name, a dot, the key's name.
        section: Number of the report's section that asks; 0 for its head.
        text: What is asked, as printed in an open field; "{finding}" stands for a finding.
        kind: "text", of paragraphs, lists and tables; "phrase", a text that stands within a sentence or a cell; or
            "number", where the answer is printed by the sentence that uses it.
    """

    key: str
    section: int
    text: str
    kind: str = "text"


QUESTIONS: tuple[Question, ...] = (
    Question("device.submitter", 0, "name of the submitter", "phrase"),
    Question("device.name", 0, "name of the device", "phrase"),
    Question("device.intended_user", 1, "intended user, for example radiologists, and the clinical setting", "phrase"),
    Question(
        "device.intended_use",
        1,
        "confirm this intended use and the device type or state another, which then stands before this draft of the "
        "software, and say why the findings are time-sensitive enough for it",
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
    Question("reading.rates", 11, "images that arrive and images that a reader reads per hour", "number"),
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


FILE = "submission.toml"
"""The usual name of the file, and its name in facts."""

STATED = "goal stated by the sponsor"


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} is {_described(value)}; text in quotes was expected.")
    return " ".join(value.split())


def _prose(value: Any, key: str) -> str:
    """Returns a text with its paragraphs, lists and tables, without the indentation that it has in the file."""
    _text(value, key)
    return "\n".join(line.rstrip() for line in inspect.cleandoc(value).splitlines())


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{key} is {_described(value)}; a number without quotes was expected.")
    return float(value)


def _share(value: Any, key: str) -> float:
    return checks.probability(_number(value, key), key, open_interval=True)


def _correlation(value: Any, key: str) -> float:
    return checks.probability(_number(value, key), key)


def _rate(value: Any, key: str) -> float:
    number = _number(value, key)
    if not 0 < number < float("inf"):
        raise ValueError(f"{key}={value!r} must be above 0.")
    return number


def _at_least_one(value: Any, key: str) -> float:
    number = _number(value, key)
    if not 1 <= number < float("inf"):
        raise ValueError(f"{key}={value!r} must be at least 1.")
    return number


def _count(value: Any, key: str) -> int:
    return checks.positive_int(value, key)


def _shares(value: Any, key: str) -> list[float]:
    if not isinstance(value, list) or not value:
        raise TypeError(f"{key} is {_described(value)}; a list such as [0.05, 0.1, 0.2] was expected.")
    shares = [_share(entry, key) for entry in value]
    if sorted(set(shares)) != shares:
        raise ValueError(f"{key}={value!r} must ascend, each above the one before.")
    return shares


def _authorisation(value: Any, key: str) -> str:
    text = _text(value, key)
    if text and (not any(character.isdigit() for character in text) or len(text) > _LONGEST_AUTHORISATION):
        raise ValueError(
            f"{key}={text[:40]!r} must hold the number of the authorisation, in at most {_LONGEST_AUTHORISATION} "
            'characters, such as "K000000, FDA 510(k)".'
        )
    return text


def _discipline(value: Any, key: str) -> str:
    from chexkeras.evaluation.clinical_use.triage import DISCIPLINES

    return checks.one_of(_text(value, key), DISCIPLINES, key)


def _figure(value: Any, key: str) -> str:
    return checks.one_of(_text(value, key), ("auroc", "sensitivity", "specificity"), key)


_LONGEST_AUTHORISATION = 40
_EXAMPLE = "Effusion"
"""The finding of examples where no run says which there are."""

_VALUES: dict[str, tuple[Callable[[Any, str], Any], str, str]] = {
    "device.authorisation": (
        _authorisation,
        '"K000000, FDA 510(k)"',
        "number of the marketing authorisation; without it every DICOM object made of results says NOT FOR CLINICAL "
        "USE (this file must then lie in the run folder)",
    ),
    "goals.sensitivity_above": (_share, "0.80", "the lower limit of the sensitivity must lie above this"),
    "goals.specificity_above": (_share, "0.80", "the lower limit of the specificity must lie above this"),
    "goals.fewest_positives": (_count, "10", "groups with fewer positive images are called too few to judge"),
    "study.expected_sensitivity": (_share, "0.87", "sensitivity to plan the validation study with"),
    "study.expected_specificity": (_share, "0.87", "specificity to plan the validation study with"),
    "study.power": (_share, "0.8", "probability that the study shows what is so"),
    "study.images_per_patient": (_at_least_one, "1.5", "images per patient in the validation study"),
    "study.correlation": (_correlation, "0.4", "how much images of one patient agree in being called rightly, 0 to 1"),
    "decision.thresholds": (_shares, "[0.05, 0.1, 0.2]", "threshold probabilities of the decision curve, ascending"),
    "reading.arrivals_per_hour": (_rate, "12.0", "images that arrive, of all kinds"),
    "reading.reads_per_hour": (_rate, "15.0", "images that one reader reads"),
    "reading.readers": (_count, "1", "readers who share the queue"),
    "reading.discipline": (_discipline, '"non-pre-emptive"', 'or "pre-emptive": a flagged image interrupts another'),
    "comparison.run": (_text, '"runs/other"', "run folder to compare with, tested on the same images"),
    "comparison.name": (_text, '"the other run"', "what to call it"),
    "readers.file": (_text, '"readers.csv"', "readers' calls: image_id, and a column of 1 and 0 for each reader"),
    "readers.finding": (_text, f'"{_EXAMPLE}"', "the finding that they called"),
    "reader_study.file": (
        _text,
        '"reader_study.csv"',
        "readings with and without the device: reader, modality, "
        "image_id, patient_id, truth, rating, and finding where there are several",
    ),
    "reader_study.finding": (_text, f'"{_EXAMPLE}"', "the finding to report, where readers rated several"),
    "reader_study.with_device": (_text, '"with device"', "the modality in which readers saw the device's result"),
    "reader_study.without_device": (_text, '"without device"', "the modality in which they did not"),
    "reader_study.figure": (
        _figure,
        '"sensitivity"',
        'what is compared: "auroc" (if left out), "sensitivity" or "specificity"',
    ),
    "reader_study.threshold": (
        _number,
        "3.0",
        "for sensitivity and specificity: a rating from here on is a positive call",
    ),
    "reader_study.margin": (
        _share,
        "0.05",
        "how much worse reading with the device may be and still count as no worse; left out, it must be better",
    ),
}
"""Answers that are no prose: how each is checked, an example, and what it means."""

_PROSE = {question.key: question for question in QUESTIONS if question.kind != "number"}


@dataclass(frozen=True)
class Answers:
    """The author's answers.

    Attributes:
        values: By key, "device.name" for the name in the table [device]; only what was answered.
        folder: Where the file lies; paths in it are relative to this.
        name: The file's name.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    name: str = FILE

    def get(self, key: str) -> Any:
        """Returns an answer, or None."""
        return self.values.get(key)

    @property
    def prevalences(self) -> dict[str, float]:
        """The stated prevalences by finding."""
        found = {key: value for key, value in self.values.items() if key.startswith("prevalence.")}
        return {key.removeprefix("prevalence."): value for key, value in found.items()}

    def goals(self) -> PerformanceGoals | None:
        """Returns the stated goals, those not stated as by convention; None where none was."""
        names = ("sensitivity_above", "specificity_above", "fewest_positives")
        stated = {name: self.values[f"goals.{name}"] for name in names if f"goals.{name}" in self.values}
        return PerformanceGoals(**stated, origin=STATED) if stated else None

    def path(self, key: str) -> Path | None:
        """Returns a path that was answered, taken from the file's folder; None where it was not."""
        answer = self.get(key)
        return None if answer is None else (self.folder / answer).absolute()


@checked
def load_answers(path: str | Path) -> Answers:
    """Reads the author's answers.

    Args:
        path: A TOML file, as `write_answers_template` writes it. Empty texts count as not answered.

    Returns:
        The answers.

    Raises:
        FileNotFoundError: If there is no such file, or a file that it names is missing.
        TypeError: If an answer is of the wrong kind.
        ValueError: If it is no TOML, a key is unknown, or a number is out of range.
    """
    file = checks.existing_file(
        checks.typed_path(path, "answers"), "answers", "write one to start from with: chexkeras report-init."
    )
    try:
        # Some editors begin a text with a mark of its encoding.
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is not UTF-8 text (byte {error.start:,}); save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file.name} is no TOML file: {error}. Texts need quotes, tables brackets.") from error
    known = [*_PROSE, *_VALUES]
    tables = sorted({key.split(".")[0] for key in known} | {"prevalence"})
    values: dict[str, Any] = {}
    for table, entries in document.items():
        if table not in tables:
            raise ValueError(f"{file.name} has an unknown table [{table}]; {checks.nearest(table, tables)}")
        if not isinstance(entries, dict):
            raise TypeError(f"{file.name}: {table} is {_described(entries)}; a table [{table}] was expected.")
        for name, value in entries.items():
            key = f"{table}.{name}"
            if table != "prevalence" and key not in known:
                raise ValueError(f"{file.name} has an unknown key {key!r}; {checks.nearest(key, known)}")
            written = _prose if key in _PROSE and _PROSE[key].kind == "text" else _text
            check = _share if table == "prevalence" else _VALUES[key][0] if key in _VALUES else written
            answer = check(value, f"{file.name}: {key}")
            if answer != "":
                values[key] = answer
    answers = Answers(values, file.parent, file.name)
    _check_together(answers, file.name)
    return answers


def _check_together(answers: Answers, name: str) -> None:
    rates = [f"reading.{rate}" for rate in ("arrivals_per_hour", "reads_per_hour")]
    given = [key for key in rates if answers.get(key) is not None]
    if len(given) == 1:
        lacking = next(key for key in rates if key not in given)
        raise ValueError(f"{name} has {given[0]} but not {lacking}; waiting times need both.")
    if given:
        arrivals, reads = (answers.values[key] for key in rates)
        readers = answers.get("reading.readers") or 1
        if arrivals >= reads * readers:
            raise ValueError(
                f"{name}: reading.arrivals_per_hour={arrivals:g}, but {readers} reader(s) can read only "
                f"{reads * readers:g} per hour; the queue would grow without end."
            )
    if (answers.get("readers.file") is None) != (answers.get("readers.finding") is None):
        raise ValueError(f"{name}: readers.file and readers.finding go together; give both or neither.")
    file, folder = answers.path("readers.file"), answers.path("comparison.run")
    if file is not None:
        checks.existing_file(file, f"{name}: readers.file")
    if folder is not None:
        checks.existing_folder(folder, f"{name}: comparison.run")
    _check_reader_study(answers, name)


def _check_reader_study(answers: Answers, name: str) -> None:
    file = answers.path("reader_study.file")
    given = [key for key in _VALUES if key.startswith("reader_study.") and answers.get(key) is not None]
    if not given:
        return
    needed = ("file", "with_device", "without_device")
    lacking = [key for key in needed if answers.get(f"reader_study.{key}") is None]
    if lacking:
        raise ValueError(f"{name} has {given[0]} but not reader_study.{lacking[0]}; a reader study needs both.")
    figure, threshold = answers.get("reader_study.figure") or "auroc", answers.get("reader_study.threshold")
    if (figure == "auroc") != (threshold is None):
        fix = "leave it out" if figure == "auroc" else "say from which rating on readers call an image positive"
        raise ValueError(f"{name}: reader_study.threshold={threshold!r} with reader_study.figure={figure!r}; {fix}.")
    if file is not None:
        checks.existing_file(file, f"{name}: reader_study.file")


def _described(value: Any) -> str:
    kinds = {str: "the text", bool: "the truth value", int: "the number", float: "the number", list: "the list"}
    return f"{kinds.get(type(value), type(value).__name__)} {value!r}"


@checked
def write_answers_template(path: str | Path = FILE, *, findings: Iterable[str] = (), overwrite: bool = False) -> Path:
    """Writes the file to start from: every question as a comment, nothing answered.

    Args:
        path: The file to write.
        findings: Findings that are asked about, for example a run's targets; one as an example by default.
        overwrite: Whether a file that is there may be replaced.

    Returns:
        Its path.

    Raises:
        FileExistsError: If the file is there: answers are not to be lost.
    """
    destination = checks.typed_path(path, "path")
    if destination.exists() and not overwrite:
        raise FileExistsError(f"{str(destination)!r} exists and may hold answers; choose another name, or move it.")
    return files.write_text(destination, answers_template(findings))


def answers_template(findings: Iterable[str] = ()) -> str:
    """Returns the text of the file to start from; it is read as no answer at all.

    Args:
        findings: Findings that are asked about; one as an example by default.
    """
    asked = tuple(findings) or (_EXAMPLE,)
    tables: dict[str, list[str]] = {}
    for key, question in _PROSE.items():
        table, name = key.split(".")
        where = "head" if question.section == 0 else f"section {question.section}"
        tables.setdefault(table, []).extend(
            [*textwrap.wrap(f"{where}: {question.text}", 100, initial_indent="# ", subsequent_indent="# "),
             f'# {name} = ""', ""]
        )  # fmt: skip
    for key, (_, example, meaning) in _VALUES.items():
        table, name = key.split(".")
        # A finding that the run does not have would be refused.
        shown = example.replace(_EXAMPLE, asked[0])
        tables.setdefault(table, []).extend([f"# {meaning}", f"# {name} = {shown}", ""])
    head = [
        "# Answers to what no training run can know. Remove the # before a line and fill it in; what stays commented",
        "# stays an open field of the report. Texts stand in quotes, shares are fractions: 5 % is 0.05. A text between",
        '# three quotes (""") may have paragraphs, lists and tables, written as in Markdown.',
        "",
        "[prevalence]",
        "# section 1: share of images with each finding where the device will be used",
        *(f"# {finding} = 0.05" for finding in asked),
        "",
    ]
    body = [line for table, lines in tables.items() for line in (f"[{table}]", *lines)]
    return "\n".join([*head, *body]).rstrip() + "\n"
