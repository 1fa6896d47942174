"""Pages that MkDocs makes from the code when the site is built: nothing in them is copied by hand.

The reference has a page for each package with public names, and pages made from the registries: command line, data
sets, recipe fields, presets, files of a run, DICOM rules. The tutorial is made of the executed notebooks
(docs/execute_notebooks.py).
"""

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "chexkeras"
TUTORIAL = ROOT / "build" / "docs" / "tutorial"

sys.path.insert(0, str(ROOT))


TITLES = {
    "data": "Data",
    "delivery": "Delivery",
    "dicom": "DICOM",
    "evaluation": "Evaluation",
    "inference": "Inference",
    "models": "Models",
    "phantoms": "Phantoms",
    "plots": "Plots",
    "recipes": "Recipes",
    "report": "Report",
    "results": "Results",
}

_LOSS_FIELDS = ("name", "class_weights", "target_weights")
RUN_FILES = {
    "recipe.json": "every setting of the training",
    "provenance.json": "package versions, commit, platform, cautions, and where the images are from",
    "splits.csv": "which image is in which part: training, validation or test",
    "splits.json": "how the images were divided, and whether the parts share patients",
    "table.csv": "the image table: labels, age, sex, view, size; without paths",
    "left_out.csv": "images that could not be used, and why",
    "audit.json": "what the audit found before training",
    "stages.json": "what each stage trained: first layer that may change, parameters, BatchNorm layers held",
    "history.csv": "loss and AUROC of every epoch",
    "intensities.json": "gray levels of the training images",
    "model.keras": "the classifier of the kept epoch, preprocessing included",
    "novelty.json": "what training images look like, and from where on an image is unlike them",
    "scores_validation.csv": "one score an image and finding, on the validation part",
    "scores_test.csv": "the same on the test part",
    "operating_points.json": "the frozen thresholds, their rule, and the fingerprint of the scores that chose them",
    "evaluation.json": "every figure with its interval",
    "shortcuts.json": "the model beside view, age and sex, image size and a thumbnail, on the test part",
    "image_fingerprints.csv": "hashes by which its images are known again under other names; no picture, no name",
    "thumbnail_shortcut.json": "what a thumbnail tells, as fitted to training images, to be asked elsewhere",
    "shortcut_scores.csv": "their scores of the test images, from which that comparison can be made again",
}
"""Files that every run has."""
LOSSES_MODULE = "chexkeras.models.losses"
LATER_FILES = {
    "dicom_results.csv": "decisions on DICOM files, once a folder was scored with `keep=True`",
    "recalibration.json": "how scores are recalibrated, once that was fitted",
    "robustness.json": "what changed images do to the scores, once that was measured",
    "readers.json": "its test scores against readers beside its labels, once they were compared",
    "heatmaps.json": "whether heat maps depend on the model, and how they meet boxes, once that was studied",
    "heatmaps.png": "a few images of that study, for the report: synthetic ones, others only where it was asked for",
    "external/": "its tests at other hospitals, a folder each: `external.json`, the scores, the shortcuts' scores",
    "epochs/": "further epochs that a recipe keeps (`keep_epochs`), each a run folder of its own",
}
"""Files that a run has once something was done with it."""


def _assigned(body: list[ast.stmt], name: str) -> tuple[ast.stmt | None, str]:
    """Returns the statement that defines a name in a module, and its docstring."""
    for position, node in enumerate(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, ast.get_docstring(node) or ""
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            after = body[position + 1] if position + 1 < len(body) else None
            said = after.value if isinstance(after, ast.Expr) else None
            return node, said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else ""
    return None, ""


def _imports(file: Path) -> Iterator[tuple[str, str]]:
    """Yields (module, name) for what a stub or a package imports from below chexkeras."""
    package = ".".join(file.parent.relative_to(ROOT).parts)
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, (package, node.module))) if node.level else node.module or ""
            if module.startswith("chexkeras"):
                yield from ((module, alias.name) for alias in node.names)


def _keras_losses(module: str) -> dict[str, Any]:
    """Returns the entries of losses by the Keras classes that a module makes of them when they are asked for."""
    from chexkeras.models.losses import LOSSES

    return {entry.keras_name: entry for entry in LOSSES.values()} if module == LOSSES_MODULE else {}


def defined_in(module: str, name: str) -> tuple[str, str]:
    """Returns the module that defines a name, and the first line of its docstring.

    Args:
        module: Where it is imported from, perhaps a package that hands it on.
        name: The name.

    Raises:
        PluginError: If it is not found or has no docstring.
    """
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    node, docstring = _assigned(ast.parse(file.read_text(encoding="utf-8")).body, name)
    if node is None and name in _keras_losses(module):
        docstring = _keras_losses(module)[name].doc
    elif node is None:
        handed_on = dict((inner, origin) for origin, inner in _imports(file))
        if name not in handed_on:
            raise PluginError(f"{module} has no {name}, which a stub lists")
        return defined_in(handed_on[name], name)
    if not docstring:
        raise PluginError(f"{module}.{name} is public and has no docstring")
    return module, docstring.strip().split("\n")[0]


def public(room: str) -> list[tuple[str, str, str]]:
    """Returns (name, module, first line) of the public names of a package, "" for the top."""
    stub = PACKAGE / room / "__init__.pyi"
    found = []
    for module, name in _imports(stub if stub.is_file() else stub.with_suffix(".py")):
        if ROOT.joinpath(*module.split("."), name).is_dir():
            continue
        origin, line = defined_in(module, name)
        found.append((name, origin, line))
    return sorted(found, key=lambda row: row[0].lower())


def _entry(name: str, module: str, shown: str) -> str:
    if name in (losses := _keras_losses(module)):
        signature = f"{name}({', '.join(losses[name].arguments)})"
        doc = inspect.cleandoc(losses[name].doc)
        return f"## `{shown}` {{#{module}.{name}}}\n\n```python\n{signature}\n```\n\n{doc}\n"
    return f"::: {module}.{name}\n    options:\n      heading: {shown}\n      toc_label: {name}\n"


def _package_page(room: str) -> str:
    doc = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    names = public(room)
    rows = [f"| [`{name}`][{module}.{name}] | {_cell(line)} |" for name, module, line in names]
    table = "\n".join(["| name | |", "| --- | --- |", *rows])
    entries = "\n".join(_entry(name, module, f"cx.{room}.{name}") for name, module, _ in names)
    return f"# {TITLES[room]}: `cx.{room}`\n\n{doc}\n\n{table}\n\n{entries}"


def _top_page() -> str:
    rooms = {name: room for room in TITLES for name, _, _ in public(room)}
    rows, entries = [], []
    for name, module, line in public(""):
        rows.append(f"| [`cx.{name}`][{module}.{name}] | {_cell(line)} |")
        if name not in rooms:
            entries.append(_entry(name, module, f"cx.{name}"))
    presets = ("names", "preset", "source", "explain", "table", "as_run_split")
    packages = [f"| [`cx.{room}`]({room}.md) | {TITLES[room]} |" for room in TITLES]
    return "\n".join([
        "# Reference", "", "```python", "import chexkeras as cx", "```", "",
        "The names of the main job stand at the top; all others are in the package of their subject. Names are loaded "
        "when they are first used.", "",
        "| name | |", "| --- | --- |", *rows, *packages, "",
        *entries,
        "## cx.presets", "", "Recipes by name, each with its source.", "",
        *(_entry(name, "chexkeras.recipes.presets", f"cx.presets.{name}")
          for name in presets),
    ])  # fmt: skip


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _rows(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)])


def _command_line() -> str:
    import typer

    from chexkeras.cli import app

    parts = ["# Command line", "", "What `chexkeras COMMAND --help` says.", ""]

    def describe(command: Any, name: str, level: int) -> None:
        parts.extend([f"{'#' * level} `{name}`", "", re.sub(r"[\b\f]", "", command.help or "").strip(), ""])
        if getattr(command, "commands", None):
            for inner in command.commands.values():
                describe(inner, f"{name} {inner.name}", level + 1)
            return
        rows = []
        for option in command.params:
            if option.name == "help" or getattr(option, "hidden", False):
                continue
            shown = " ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))
            if option.param_type_name == "argument":
                shown = f"`{option.name.upper()}`"
            default = option.default if option.default not in (None, (), []) and not callable(option.default) else ""
            usual = "required" if option.required else f"`{default}`" if default != "" else ""
            rows.append((shown, getattr(option, "help", "") or "", usual))
        if rows:
            parts.extend([_rows(("option", "", "default"), rows), ""])

    group = typer.main.get_command(app)
    for command in group.commands.values():
        describe(command, f"chexkeras {command.name}", 2)
    return "\n".join(parts)


def _described(docstring: str, title: str) -> dict[str, str]:
    """Returns what a section of a docstring in Google style, "Attributes" or "Args", says, by name."""
    section = re.split(rf"^\s*{title}:\s*$", docstring, flags=re.MULTILINE)[1:]
    found: dict[str, str] = {}
    if not section:
        return found
    last = ""
    for line in section[0].splitlines():
        entry = re.match(r"^ {4}(\w+)(?: \([^)]*\))?: (.*)$", line)
        if entry:
            last = entry[1]
            found[last] = entry[2]
        elif last and line.startswith("        "):
            found[last] += f" {line.strip()}"
        elif line.strip() and not line.startswith("    "):
            break
    return found


def _recipe_fields() -> str:
    from chexkeras.data.augmentation import Augmentation
    from chexkeras.models.losses import LOSSES, declared_numbers
    from chexkeras.recipes import Loss, Recipe, Stage, ThresholdRule

    parts = [
        "# Recipe fields",
        "",
        "Every field of a recipe, with its default. Each can be set by `Recipe.replace`, and on the command line by "
        "`--set FIELD=VALUE`, for example `--set stage2.learning_rate=3e-5` or `--set augment.flip=false`.",
        "",
    ]
    for title, kind in (
        ("Recipe", Recipe), ("Stage", Stage), ("Augmentation: `augment.`", Augmentation),
        ("Threshold: `operating_point.`", ThresholdRule),
    ):  # fmt: skip
        said = _described(inspect.getdoc(kind) or "", "Attributes")
        rows = []
        for entry in dataclasses.fields(kind):
            if entry.name not in said:
                raise PluginError(f"the docstring of {kind.__name__} does not describe its field {entry.name}")
            default = ""
            if entry.name == "stages":
                default = "a head, then the top fifth"
            elif entry.default is not dataclasses.MISSING:
                default = f"`{entry.default!r}`"
            elif entry.default_factory is not dataclasses.MISSING:
                default = "its fields' defaults"
            rows.append((f"`{entry.name}`", said[entry.name], default))
        parts.extend([f"## {title}", "", _rows(("field", "", "default"), rows), ""])
    said = _described(inspect.getdoc(Loss) or "", "Args")
    rows = [(f"`{name}`", said[name], f"`{getattr(Loss(), name)!r}`") for name in _LOSS_FIELDS]
    for declarations in declared_numbers().values():
        for own, users in declarations.items():
            names = ", ".join(f"`{name}`" for name in users)
            rows.append((f"`{own.name}`", f"{own.doc} For {names}.", f"`{own.default!r}`"))
    entries = [(f"`{name}`", entry.doc) for name, entry in LOSSES.items()]
    parts.extend(["## Loss: `loss.`", "", _rows(("field", "", "default"), rows), "",
                  "## Losses: `loss.name`", "", _rows(("name", ""), entries), ""])  # fmt: skip
    return "\n".join(parts)


def _presets() -> str:
    from chexkeras.recipes import presets

    parts = ["# Presets", "", "Recipes of others by name, as `chexkeras presets NAME` tells them. The published "
             "results are theirs, on their images, and not comparable: read the split.", ""]  # fmt: skip
    for name in presets.names():
        parts += [f"## {name}", "", "```text", presets.explain(name).strip(), "```", ""]
    return "\n".join(parts)


def _data_sets() -> str:
    from chexkeras.data.datasets.entries import DATA_SETS
    from chexkeras.data.datasets.overview import list_data_sets, list_findings

    parts = ["# Data sets", "", "What `cx.open_data(folder)` and every command read, told apart by what lies in the "
             "folder: `chexkeras datasets`, `cx.data.list_data_sets()`. None of them comes with this package, and "
             "most may not be handed on; read the terms at the publisher's page. "
             "What a name of a finding means here is declared once, "
             "and a name that sounds alike and is not the same thing is no label.", ""]  # fmt: skip
    known = list_data_sets()
    rows = [(row.name, row.size, row.images_of or "its own", row.labels) for row in known.itertuples(index=False)]
    parts += [_rows(("data set", "size", "images", "findings of NIH that it labels"), rows), ""]
    for entry in DATA_SETS:
        if not entry.source_name:
            continue
        loader = entry.loader.rpartition(":")[2]
        facts = [
            ("loader", f"`cx.data.{loader}`, see [Data](data.md)"),
            ("label files", ", ".join(f"`{name}`" for name in entry.label_files)),
            ("options", ", ".join(f"`{name}`" for name in entry.option_names)),
            ("downloads read", "; ".join(entry.layouts)),
            ("terms", entry.license),
            ("publisher", f"<{entry.page}>"),
            ("cite", entry.citation),
        ]
        parts += [f"## {entry.source_name}", "", _rows(("", ""), facts), ""]
        if entry.meanings:
            found = list_findings(entry.owner)
            same = found[found["here"] != ""]
            rows = list(same[["name", "here", "nih"]].itertuples(index=False))
            parts += ["Means a finding known here:", "", _rows(("its name", "here", "NIH's labels"), rows), ""]
            other = found[found["nih"] == ""]
            if len(other):
                rows = list(other[["name", "why"]].itertuples(index=False))
                parts += ["Not the same thing as any of NIH's labels:", "", _rows(("its name", "why"), rows), ""]
    return "\n".join(parts)


def _run_folder() -> str:
    from chexkeras.report.facts.run_reader import REQUIRED_FILES

    missing = set(REQUIRED_FILES) - set(RUN_FILES)
    if missing:
        raise PluginError(f"docs/hooks.py says nothing on these files of a run: {', '.join(sorted(missing))}")
    rows = [(f"`{name}`", text, "yes" if name in REQUIRED_FILES else "") for name, text in RUN_FILES.items()]
    later = [(f"`{name}`", text) for name, text in LATER_FILES.items()]
    return "\n".join([
        "# Files of a run folder", "",
        "A run folder appears under its name only when it is complete. `cx.Run.load` reads it, and a report is made "
        "from it alone: no GPU, no images, no TensorFlow.", "", _rows(("file", "holds", "a report needs it"), rows), "",
        "## Added later", "", _rows(("file", "holds"), later), "",
    ])  # fmt: skip


def _dicom_rules() -> str:
    from chexkeras.dicom.profiles import PROFILES, rules_table

    parts = ["# DICOM rules", "", "What a file must pass before it is scored: `cx.dicom.rules_table(profile)`. "
             "A `warn` is scored with a warning, a `reject` is not scored. Codes are stable.", ""]  # fmt: skip
    for name in PROFILES:
        table = rules_table(name)
        rows = [(f"`{row.code}`", row.expected, row.tag, row.severity, row.reason) for row in table.itertuples()]
        parts += [f"## Profile `{name}`", "", _rows(("code", "expected", "tag", "", "why"), rows), ""]
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """Returns the text of every page that is made from the code, by its path."""
    made = {f"reference/{room}.md": _package_page(room) for room in TITLES}
    return {
        **made,
        "reference/index.md": _top_page(),
        "reference/command-line.md": _command_line(),
        "reference/recipe-fields.md": _recipe_fields(),
        "reference/presets.md": _presets(),
        "reference/data-sets.md": _data_sets(),
        "reference/run-folder.md": _run_folder(),
        "reference/dicom-rules.md": _dicom_rules(),
    }


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages to the site (called by MkDocs)."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    if not sorted(TUTORIAL.glob("*.md")):
        raise PluginError("the notebooks were not executed yet: make docs does it")
    for path in sorted(TUTORIAL.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            name = f"tutorial/{path.relative_to(TUTORIAL).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files
