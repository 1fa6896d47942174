"""``chexkeras evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from chexkeras.cli.app import RunFolder, app, errors_for_people, tell
from chexkeras.cli.destination import check_destination, object_with
from chexkeras.cli.output import show_evaluation


@app.command()
@errors_for_people
def evaluate(
    run: RunFolder,
    rule: Annotated[
        str | None,
        typer.Option(
            help="Choose the threshold again by this rule, such as sensitivity or youden; '--rule list' names them all."
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="What the rule aims at. Left out, 0.8 for a rule that reaches for a sensitivity or specificity; other "
            "rules with a target need it stated."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the evaluation to.")] = None,
) -> None:
    """Shows a run's test results; with --rule, those at another threshold. The run folder stays as it is."""
    from chexkeras.evaluation.thresholds import RULES
    from chexkeras.runs.analysis import evaluate_at
    from chexkeras.runs.run import Run

    if rule == "list":
        tell("\n".join(f"{name}: {entry.summary}" for name, entry in RULES.items()))
        return
    if out is not None:
        check_destination(out, "--out", {".json": object_with("findings", "split")})
    loaded = Run.load(run)
    evaluation = loaded.evaluation
    if rule is not None:
        evaluation = evaluate_at(loaded, rule, target)
    elif target is not None:
        raise ValueError("--target needs --rule; for example --rule sensitivity --target 0.9.")
    show_evaluation(evaluation)
    if out is not None:
        tell(f"written: {evaluation.save(out)}")
