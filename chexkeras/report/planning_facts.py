"""Facts on the validation study: how many films the goals ask for, and what a study of the usual size can show."""

from typing import Any

from chexkeras.report.facts.facts import Facts, percent
from chexkeras.results import Estimate

_CONVENTION, _ANSWERS = "convention", "submission.toml"
POWER = 0.8
CLOSEST = 0.005
"""An expected rate less than this above its goal asks for more films than any study has."""

EXAMPLE_CASES = 500
EXAMPLE_RATES = (0.82, 0.85, 0.87, 0.90)
"""The reference project's plan: 1,000 films, half of them with the finding, and rates it might have in truth."""

_EXAMPLE = "validation plan of the reference project"
_STUDY_ITEMS = ("Kind of image", "Body part", "View", "Age", "Image description", "Pixel data")


def _expected(facts: Facts, finding: str, measure: str, answers: Any) -> tuple[float, str, str]:
    """Returns the rate to plan with, where it comes from in words, and its file."""
    stated = answers.get(f"study.expected_{measure}")
    if stated is not None:
        return float(stated), "stated by the sponsor", _ANSWERS
    measured: Estimate = facts[f"test.{finding}.{measure}"].value
    return measured.value, "as measured on the test part of this run", "evaluation.json"


def _add_size(facts: Facts, finding: str, measure: str, answers: Any) -> None:
    from chexkeras.evaluation.sample_size.rates import power_lower_bound, sample_size_lower_bound

    key = f"plan.{finding}.{measure}"
    goal = facts[f"goal.{measure}_above"].value
    power = answers.get("study.power") or POWER
    rate, origin, file = _expected(facts, finding, measure, answers)
    facts.add(f"{key}.expected", rate, f"{rate:.3f}" if rate == rate else "not estimable", file=file,
              field=f"{measure} of {finding}, expected")  # fmt: skip
    facts.add(f"{key}.origin", origin, file=file, field=f"{measure} of {finding}, where the expected value comes from")
    field = f"exact power of the Clopper-Pearson lower bound, {measure} of {finding}"
    cases = facts[f"test.{finding}.n_{'positive' if measure == 'sensitivity' else 'negative'}"].value
    confidence = facts["test.confidence"].value
    had = power_lower_bound(cases, rate, goal, confidence=confidence) if rate == rate and cases else float("nan")
    facts.add(f"{key}.power_here", had, f"{had:.3f}" if had == had else "not estimable", file=file,
              field=f"{field}, with {cases} cases")  # fmt: skip
    reason = ""
    if rate != rate:
        reason = "not known, since no rate to plan with is estimable"
    elif rate <= goal:
        reason = f"none is enough, since the expected {rate:.3f} does not lie above the goal"
    elif rate >= 1:
        reason = "not known, since no study can be planned with a rate that is never wrong; state one below it"
    elif rate - goal < CLOSEST:
        reason = f"more than can be planned for, since the expected {rate:.3f} is too close to the goal"
    cases_needed = None if reason else sample_size_lower_bound(rate, goal, power, confidence=confidence).lasting
    facts.add(f"{key}.cases", cases_needed, reason or f"{cases_needed:,}", file=file, field=field)
    facts.add(f"{key}.possible", cases_needed is not None, file=file, field=f"{field}, whether any number is enough")
    if cases_needed is None:
        return
    effect = facts["plan.design_effect"].value
    films = -(-cases_needed * effect // 1)
    facts.add(f"{key}.films", int(films), file=file, field=f"{field}, times the design effect")


def _add_example(facts: Facts) -> None:
    """Records what the reference project's 1,000 films, 500 with the finding, can show."""
    from chexkeras.evaluation.sample_size.rates import half_width_proportion, power_lower_bound, sample_size_lower_bound

    goal, confidence = facts["goal.sensitivity_above"].value, facts["test.confidence"].value
    facts.add("example.films", 2 * EXAMPLE_CASES, file=_CONVENTION, field=f"films in the {_EXAMPLE}")
    facts.add("example.cases", EXAMPLE_CASES, file=_CONVENTION, field=f"films of each class in the {_EXAMPLE}")
    rows = []
    for rate in EXAMPLE_RATES:
        width = half_width_proportion(EXAMPLE_CASES, rate, confidence=confidence)
        power = power_lower_bound(EXAMPLE_CASES, rate, goal, confidence=confidence)
        needed = "none is enough"
        if rate - goal >= CLOSEST:
            needed = f"{sample_size_lower_bound(rate, goal, POWER, confidence=confidence).lasting:,}"
        rows.append([f"{rate:.2f}", f"{width * 100:.1f}", f"{power:.3f}", needed])
    facts.add("example.rows", rows, "", file=_CONVENTION,
              field=f"exact power against the goal for rates that the {_EXAMPLE} might meet")  # fmt: skip


def _add_criteria(facts: Facts) -> None:
    """Records which films the DICOM gate keeps out of a study."""
    rules = facts["dicom.rules"].value
    at = {name: rules["columns"].index(name) for name in ("code", "item", "expected", "severity")}
    rows = [
        [row[at["item"]], row[at["expected"]], row[at["code"]]]
        for row in rules["rows"]
        if row[at["severity"]] == "reject" and row[at["item"]] in _STUDY_ITEMS
    ]
    facts.add("plan.criteria", rows, str(len(rows)), file=_CONVENTION,
              field=f"rules of severity reject in the profile {facts['dicom.profile'].value}")  # fmt: skip


def add_planning(facts: Facts, answers: Any) -> None:
    """Records sizes for the goals of every finding, the worked example, and the study's inclusion criteria.

    Args:
        facts: Where they go; goals, test numbers and DICOM rules are there already.
        answers: The author's `Answers`.
    """
    from chexkeras.evaluation.sample_size.rates import design_effect

    power = answers.get("study.power")
    facts.add("plan.power", power or POWER, f"{(power or POWER) * 100:g} %", file=_ANSWERS if power else _CONVENTION,
              field="study.power" if power else "power usually asked for")  # fmt: skip
    facts.add("plan.power_usual", POWER, f"{POWER * 100:.0f} %", file=_CONVENTION, field="power usually asked for")
    images, agree = answers.get("study.images_per_patient") or 1.0, answers.get("study.correlation") or 0.0
    effect = design_effect(images, agree)
    stated = images > 1 and agree > 0
    facts.add("plan.clustered", stated, file=_ANSWERS if stated else _CONVENTION,
              field="study.images_per_patient, study.correlation" if stated else "one film per patient")  # fmt: skip
    facts.add("plan.design_effect", effect, f"{effect:.2f}", file=_ANSWERS if stated else _CONVENTION,
              field="1 + (images per patient - 1) x correlation")  # fmt: skip
    for finding in facts["evaluated"].value:
        for measure in ("sensitivity", "specificity"):
            _add_size(facts, finding, measure, answers)
        share = answers.prevalences.get(finding)
        needed = f"plan.{finding}.sensitivity.films"
        films = facts[needed].value if needed in facts else None
        facts.add(f"plan.{finding}.consecutive", share is not None and films is not None, file=_CONVENTION,
                  field=f"whether the number of consecutive films can be computed for {finding}")  # fmt: skip
        if share is not None and films is not None:
            total = int(-(-films // share))
            facts.add(f"plan.{finding}.total", total, file=_ANSWERS, field=f"films with it / prevalence.{finding}")
            text = percent(share, 2)
            facts.add(f"plan.{finding}.prevalence", share, text, file=_ANSWERS, field=f"prevalence.{finding}")
    _add_example(facts)
    _add_criteria(facts)
