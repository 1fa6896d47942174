"""The figures of the algorithm and of the data."""

from chexkeras import plots
from chexkeras.data.image_table import finding_columns
from chexkeras.plots import style
from chexkeras.report.figure_plan import Plan


def algorithm(plan: Plan) -> None:
    """The way of a film through the algorithm, and how it was trained."""
    run = plan.run
    plan.add(
        "flowchart",
        f"Flow of a film through the algorithm, from the DICOM file to the call for {plan.named}",
        "recipe.json, stages.json and operating_points.json",
        lambda ax, notes: plots.flowchart(
            run.recipe,
            stages=run.stages,
            points=run.operating_points,
            kept=plan.facts["kept.stage"].value,
            ax=ax,
            note=notes,
        ),
        (7.2, 8.4),
    )
    plan.add(
        "training_curves",
        f"Loss and validation AUROC over {plan.facts['training.epochs'].text} epochs; the vertical line parts the "
        "stages; the star marks the epoch whose weights were kept",
        "history.csv",
        lambda ax, notes: plots.training_curves(run.history, kept=run.kept_epoch, ax=ax, note=notes),
        (6.6, 5.4),
    )
    if run.dicom_results is not None:
        reasons = [code for kind in ("reject", "warn") for code, _ in plan.facts[f"dicom.{kind}_reasons"].value]
        longest = max((len(str(code)) for code in reasons), default=0)
        plan.add(
            "dicom_verdicts",
            f"Verdicts on {plan.facts['dicom.files'].text} DICOM files, by reason",
            "dicom_results.csv",
            lambda ax, notes: plots.dicom_verdicts(run.dicom_results, ax=ax, note=notes),
            # A file may have several warnings, all of them in its label.
            (max(6.6, 5.4 + 0.085 * longest), 1.9 + 0.3 * len(reasons)),
            notes_above=True,
        )


def data(plan: Plan) -> None:
    """Who and what is on the films."""
    table, everyone, source = plan.run.table, plan.counted("all"), "table.csv"
    one = plan.findings[0] if len(plan.findings) == 1 else None
    share = f", with the share showing {plan.named}" if one else ""
    plan.add("prevalence", f"Findings among {everyone}", source,
             lambda ax, notes: plots.prevalence(table, ax=ax, note=notes), (6.6, 5.2))  # fmt: skip
    plan.add("age_sex", f"Age and sex of {everyone}", source,
             lambda ax, notes: plots.age_sex(table, ax=ax, note=notes), (6.6, 4.2))  # fmt: skip
    plan.add("views", f"Views of {everyone}{share}", source,
             lambda ax, notes: plots.views(table, one, ax=ax, note=notes), (6.6, 3.0))  # fmt: skip
    plan.add("images_per_patient", f"Images per patient among {everyone}", source,
             lambda ax, notes: plots.images_per_patient(table, ax=ax, note=notes), (6.6, 3.8))  # fmt: skip
    if len(finding_columns(table)) > 1:
        plan.add("cooccurrence", f"Findings that occur together among {everyone}", source,
                 lambda ax, notes: plots.cooccurrence(table, ax=ax, note=notes), (8.6, 8.0))  # fmt: skip

    bright = {finding: plan.facts[f"intensities.{finding}.shares"].value for finding in
              plan.facts["intensities.shown"].value}  # fmt: skip
    plan.sheet("intensities", "Brightness of training films with and without "
               f"{', '.join(map(style.words, bright))}: the mean film of each group", "intensities.json",
               lambda f, ax, n: plots.intensity_profile(bright[f], f, ax=ax, note=n),
               (6.2, 4.0), list(bright))  # fmt: skip
