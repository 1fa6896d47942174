"""``chexkeras presets``."""

from typing import Annotated

import typer

from chexkeras.cli.app import app, errors_for_people, tell


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
