"""The command line: ``chexkeras demo | audit | train | evaluate | predict | report``."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.checks import one_of, probability

if TYPE_CHECKING:
    from chexkeras.results import Evaluation
    from chexkeras.training.run import Run

# TensorFlow's start-up notices would bury what the user wants to read; errors still come through.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Chest X-ray classifiers from a folder of films to an FDA-style report, every number with its interval.",
)

_USUAL_TARGET = 0.8
_SECOND_LOOK = "Exploratory: the test part was measured before; a rule picked by these numbers makes them optimistic."
_Data = Annotated[Path, typer.Option("--data", help="Folder with the films and NIH's CSV (flat or Kaggle layout).")]
_RunFolder = Annotated[Path, typer.Argument(help="Run folder, as written by 'chexkeras train'.")]
_Images = Annotated[str | None, typer.Option(help="Folder of the films inside --data, where there are several.")]
_Missing = Annotated[
    str, typer.Option(help="Films listed but absent or unreadable: 'error' stops, 'skip' leaves them out and says so.")
]
_Profile = Annotated[
    str,
    typer.Option(help="DICOM rules: 'clinical', or 'course' for the literal checks of Udacity's pneumonia project."),
]


def _errors_for_people(command: Callable[..., None]) -> Callable[..., None]:
    """Shows what the user can mend as one message instead of a traceback; exit status 2."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (ValueError, OSError) as error:
            typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
            raise typer.Exit(2) from None

    return wrapped


@app.command()
@_errors_for_people
def demo(
    out: Annotated[Path, typer.Option(help="Folder that receives everything the demo writes.")] = Path("."),
    images: Annotated[int, typer.Option(help="How many synthetic films.")] = 800,
) -> None:
    """Runs the whole job on synthetic films, from films to report, in minutes.

    Replaces runs/demo, reports/demo and FDA_Submission.md in the folder of --out.
    """
    from chexkeras.demo import run_demo

    report, assets = out / "FDA_Submission.md", out / "reports" / "demo"
    run = run_demo(
        out / "runs" / "demo", phantoms=out / "data" / "phantoms", images=images, report=report, assets=assets
    )
    _show(run.evaluation)
    _show_dicom(run)
    for name, path in (("run folder", run.folder), ("figures and numbers", assets), ("report", report)):
        typer.echo(f"{name:20} {path}")


@app.command()
@_errors_for_people
def audit(
    root: Annotated[Path, typer.Argument(help="Folder with the films and NIH's CSV.")],
    images: Annotated[
        str | None, typer.Option(help="Folder of the films inside ROOT, where there are several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the full audit to.")] = None,
) -> None:
    """Looks a folder of films over: missing, unreadable, duplicate and odd films, labels, ages, views."""
    from chexkeras import files
    from chexkeras.data.audit import audit as audit_films
    from chexkeras.data.nih import load_nih

    checked = audit_films(load_nih(root, images=images, missing="keep"), missing="skip")
    typer.echo(checked.summary)
    if out is not None:
        typer.echo(f"written: {files.write_json(out, checked.to_dict())}")


@app.command()
@_errors_for_people
def train(
    data: _Data,
    run: Annotated[Path, typer.Option(help="Run folder to write.")],
    finding: Annotated[
        list[str] | None, typer.Option(help="Finding to learn, by default the preset's; repeat for several.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Recipe to start from: two-stage, udacity-2a, demo or quick.")
    ] = "two-stage",
    weights: Annotated[
        str | None,
        typer.Option(help="'imagenet', a weights file, or 'none' for an untrained base; by default the preset's."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field of the recipe, e.g. stage2.learning_rate=3e-5.")
    ] = None,
    split: Annotated[str, typer.Option(help="'patient', 'official' (NIH's test list) or 'image' (leaky).")] = "patient",
    validation: Annotated[float, typer.Option(help="Share of films for validation.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of films for test (not with --split official).")] = 0.15,
    images: _Images = None,
    missing: _Missing = "error",
    features: Annotated[
        str, typer.Option(help="Compute what is frozen once: 'auto', 'float16', 'float32' or 'off'.")
    ] = "auto",
    draws: Annotated[
        int | None,
        typer.Option(help="With random augmentation: store so many fixed draws of it (changes the recipe)."),
    ] = None,
    caution: Annotated[
        list[str] | None, typer.Option(help="Sentence to show beside every number, e.g. how the films were sampled.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of split, weights, order and augmentation.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run of the same name.")] = False,
) -> None:
    """Trains in two stages, chooses the threshold on validation, evaluates on test, and writes a run folder."""
    from chexkeras.data.audit import audit as audit_films
    from chexkeras.data.nih import load_nih
    from chexkeras.progress import say
    from chexkeras.training import presets
    from chexkeras.training import run as run_folder
    from chexkeras.training.settings import with_settings

    recipe = presets.preset(preset).replace(seed=seed)
    if finding:
        recipe = recipe.replace(targets=tuple(finding))
    if weights is not None:
        recipe = recipe.replace(weights=None if weights.lower() == "none" else weights)
    recipe = with_settings(recipe, settings or ())
    run_folder.check_free(run, overwrite)
    one_of(missing, ("error", "skip"), "--missing")
    one_of(split, ("patient", "official", "image"), "--split")
    one_of(features, ("auto", "float16", "float32", "off"), "--features")
    for share, name in ((validation, "--validation"), (test, "--test")):
        probability(share, name, open_interval=True)
    checked = audit_films(load_nih(data, images=images, missing=missing), missing=missing)
    say(checked.summary)
    splits = _split(split, checked.table, recipe.targets, validation, test, recipe.seed)
    say(str(splits))
    from chexkeras.training.trainer import train as train_recipe

    finished = train_recipe(
        recipe,
        splits,
        run,
        audit=checked,
        cautions=caution or (),
        overwrite=overwrite,
        features=features,
        draws=draws,
    )
    _show(finished.evaluation)
    typer.echo(f"run folder: {finished.folder}")


def _split(kind: str, table: Any, targets: tuple[str, ...], validation: float, test: float, seed: int) -> Any:
    from chexkeras.data import splits

    if kind == "official":
        return splits.official_split(table, targets, validation=validation, seed=seed)
    make = splits.split_by_patient if kind == "patient" else splits.split_by_image
    return make(table, targets, validation=validation, test=test, seed=seed)


@app.command()
@_errors_for_people
def evaluate(
    run: _RunFolder,
    rule: Annotated[
        str | None,
        typer.Option(
            help="Choose the threshold anew: sensitivity, guarded_sensitivity, specificity, youden, f1 or fixed."
        ),
    ] = None,
    target: Annotated[float | None, typer.Option(help="What the rule aims at; 0.8 where a rule needs one.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the evaluation to.")] = None,
) -> None:
    """Shows a run's test results; with --rule, those at another threshold. The run folder stays as it is."""
    from chexkeras.evaluation.evaluate import evaluate as evaluate_scores
    from chexkeras.evaluation.thresholds import choose_threshold
    from chexkeras.training.run import Run

    loaded = Run.load(run)
    evaluation = loaded.evaluation
    if rule is not None:
        if target is None and rule in ("sensitivity", "guarded_sensitivity", "specificity"):
            target = _USUAL_TARGET
        validation = loaded.scores("validation")
        points = [
            choose_threshold(validation, rule=rule, target=target, finding=finding) for finding in loaded.recipe.targets
        ]
        evaluation = evaluate_scores(loaded.scores("test"), points, cautions=(*loaded.cautions, _SECOND_LOOK))
    elif target is not None:
        raise ValueError("--target needs --rule; for example --rule sensitivity --target 0.9.")
    _show(evaluation)
    if out is not None:
        typer.echo(f"written: {evaluation.save(out)}")


@app.command()
@_errors_for_people
def predict(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM, PNG or JPEG files, told apart by content.")],
    run: Annotated[Path, typer.Option(help="Run folder whose model and threshold are used.")],
    out: Annotated[Path, typer.Option(help="CSV file to write, one row a file and finding.")] = Path("results.csv"),
    profile: _Profile = "clinical",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the results with the run too, for its report.")] = False,
) -> None:
    """Scores a folder: a decision or a reasoned refusal for every file. Exit status 3 if any file was refused."""
    from chexkeras import files
    from chexkeras.inference.batch import find_files
    from chexkeras.inference.predictor import Predictor

    if out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a folder; name the CSV file to write, such as {out / 'results.csv'}.")
    # The table of an earlier run may lie among the films.
    found = [path for path in find_files(folder) if path.resolve() != out.resolve()]
    results = Predictor.load(run, profile).predict(found)
    results["file"] = [Path(name).relative_to(folder).as_posix() for name in results["file"]]
    for table in (out, run / "dicom_results.csv") if keep else (out,):
        files.write_csv(table, results)
    refused = results[results["verdict"] == "reject"]
    typer.echo(f"{len(found) - len(refused)} accepted, {len(refused)} refused; written: {out}")
    for code, count in refused["code"].value_counts().items():
        typer.echo(f"  refused {count:5}  {code}")
    if len(refused):
        raise typer.Exit(3)


@app.command()
@_errors_for_people
def report(
    run: _RunFolder,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("FDA_Submission.md"),
    assets: Annotated[
        Path | None, typer.Option(help="Folder for figures and numbers; default: the name of --out with _files.")
    ] = None,
) -> None:
    """Writes the FDA-style report from a run folder alone; needs neither films nor TensorFlow."""
    from chexkeras.report.fda import write_report

    typer.echo(f"written: {write_report(run, out, assets=assets)}")


def _show(evaluation: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for caution in evaluation.cautions:
        console.print(f"Caution: {caution}", markup=False, highlight=False)
    frame = evaluation.to_frame()
    table = Table("", *frame["finding"], title=f"Results on the {evaluation.split} part", title_justify="left")
    for name in frame.columns[1:]:
        table.add_row(name, *map(str, frame[name]))
    console.print(table)


def _show_dicom(run: "Run") -> None:
    results = run.dicom_results
    if results is None:
        return
    counts = results.drop_duplicates("file")["verdict"].value_counts()
    accepted = int(counts.get("accept", 0) + counts.get("warn", 0))
    typer.echo(f"DICOM files           {accepted} accepted, {int(counts.get('reject', 0))} rejected, with reasons")


def main() -> None:
    """Runs the command line; ``python -m chexkeras.cli`` does the same."""
    app(prog_name="chexkeras")


if __name__ == "__main__":
    sys.exit(main())
