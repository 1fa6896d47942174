"""``chexkeras presets`` and ``chexkeras weights``: what a training can start from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.cli.app import app, errors_for_people, tell

if TYPE_CHECKING:
    from chexkeras.models.weights.sources import WeightsSource


@app.command()
@errors_for_people
def presets(
    name: Annotated[str | None, typer.Argument(help="Preset to explain; none lists them all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Recipe and source as JSON, for other software.")] = False,
) -> None:
    """Lists the recipes by name, or explains one: source, split, results, what was chosen, every setting."""
    import json

    from chexkeras.recipes import presets as recipes

    if as_json:
        wanted = recipes.names() if name is None else (name,)
        found = {
            each: {"recipe": recipes.preset(each).to_dict(), "source": recipes.source(each).to_dict()}
            for each in wanted
        }
        tell(json.dumps(found if name is None else found[name], indent=2, ensure_ascii=False))
    elif name is None:
        for each in recipes.names():
            tell(f"{each:20} {recipes.source(each).system}")
        tell("'chexkeras presets NAME' explains one; 'chexkeras train --preset NAME' trains it.")
    else:
        tell(recipes.explain(name))


@app.command()
@errors_for_people
def weights(
    name: Annotated[str | None, typer.Argument(help="Weights to tell all of; none lists them all.")] = None,
    weights_file: Annotated[
        Path | None,
        typer.Option(help="Look into a file of weights: its layout, and what it would be converted to. Runs nothing."),
    ] = None,
    backbone: Annotated[str, typer.Option(help="With --weights-file: the backbone that it is for.")] = "DenseNet121",
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, for other software.")] = False,
) -> None:
    """Lists weights to start from: size, licence, images that they have seen, where to get the file, checksum."""
    import json

    from chexkeras.models.weights import opening
    from chexkeras.models.weights.sources import WEIGHTS

    chosen = list(WEIGHTS.values()) if name is None else [WEIGHTS.find(name, "weights")]
    if weights_file is not None:
        found = opening.find(backbone, name or weights_file, None if name is None else weights_file)
        if found is None:
            raise ValueError(f"weights={name!r} name no file.")
        record = found.record() | {"backbone": backbone}
        tell(json.dumps(record, indent=2, ensure_ascii=False) if as_json else "\n".join(_listed(record)))
    elif as_json:
        tell(json.dumps({each.name: each.to_dict() for each in chosen}, indent=2, ensure_ascii=False))
    elif name is None:
        for each in chosen:
            tell(f"{each.name}: {each.title}")
            tell(f"  {each.size}; seen: {each.seen_words}")
            tell(f"  file: {each.where}; SHA-256: {each.checksum}")
            tell(f"  licence: {each.licence}")
        tell(
            "'chexkeras weights NAME' quotes what is said of the images they have seen; "
            "'chexkeras train --weights NAME --weights-file FILE' starts from them."
        )
    else:
        for line in _told(chosen[0]):
            tell(line)


def _told(source: "WeightsSource") -> list[str]:
    lines = [
        f"{source.name}: {source.title}",
        f"  for: {', '.join(source.backbones) or 'every backbone that has ImageNet weights'}",
        f"  size: {source.size}",
        f"  pixels: {source.input_words}",
        f"  licence: {source.licence}",
        f"  file: {source.where}",
        f"  SHA-256: {source.checksum}",
    ]
    for entry in source.seen or ():
        where = f" ({entry.where})" if entry.where else ""
        lines.append(f"  seen: {entry.dataset}: {entry.statement}{where}")
    if source.seen is None:
        lines.append("  seen: not stated")
    return lines + ([f"  note: {source.note}"] if source.note else [])


def _listed(record: dict[str, Any]) -> list[str]:
    return [f"{key}: {'not stated' if value is None else value}" for key, value in record.items() if key != "seen"]
