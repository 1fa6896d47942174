"""Facts on this run against another that was tested on the same films."""

from typing import Any

from chexkeras.report.facts.facts import Facts, difference_text, estimate_text

_FILE = "scores_test.csv"
THIS = "this run"


def add_comparison(facts: Facts, run: Any, answers: Any) -> None:
    """Records the differences from the run that the author named, with Holm's correction over all of them.

    Args:
        facts: Where they go.
        run: The `Run` of the report.
        answers: The author's `Answers`.

    Raises:
        FileNotFoundError: If the other run lacks a file.
        ValueError: If it was tested on other films or labels.
    """
    from chexkeras.evaluation.comparison.compare import compare
    from chexkeras.evaluation.p_values import p_text
    from chexkeras.runs.run import Run

    folder = answers.path("comparison.run")
    facts.add("comparison", folder is not None, file="convention", field="whether submission.toml names another run")
    if folder is None:
        return
    other = Run.load(folder)
    name = answers.get("comparison.name") or "the other run"
    facts.add("comparison.other", name, file="submission.toml", field="comparison.name")
    points = None
    if {point.finding for point in run.operating_points} == {point.finding for point in other.operating_points}:
        points = [run.operating_points, other.operating_points]
    try:
        made = compare(run.scores("test"), other.scores("test"), names=(THIS, name), points=points)
    except ValueError as error:
        raise ValueError(f"comparison.run in submission.toml cannot be compared with this run: {error}") from error
    rows = [
        [
            entry.finding.replace("_", " "),
            entry.statistic,
            estimate_text(entry.first_value),
            estimate_text(entry.second_value),
            difference_text(entry.difference),
            p_text(entry.p_adjusted),
            entry.verdict,
        ]
        for entry in made
    ]
    facts.add("comparison.made", [entry.to_dict() for entry in made], "", file=_FILE,
              field=f"paired with scores_test.csv of {name}, unrounded")  # fmt: skip
    facts.add("comparison.rows", rows, "", file=_FILE, field=f"paired with scores_test.csv of {name}")
    for verdict in ("better", "worse", "not distinguishable", "not estimable"):
        facts.add(f"comparison.{verdict}", sum(entry.verdict == verdict for entry in made), file=_FILE,
                  field=f"verdicts {verdict!r} of this run against {name}")  # fmt: skip
    facts.add("comparison.total", len(made), file=_FILE, field=f"comparisons with {name} made together")
