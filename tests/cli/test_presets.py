import json

import pytest
from typer.testing import CliRunner

from chexkeras.cli import presets as command
from chexkeras.cli.app import app
from chexkeras.recipes import presets
from chexkeras.recipes.recipe import Recipe

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, ["presets", *arguments])


def test_the_command_is_there():
    assert callable(command.presets)
    assert run("--help").exit_code == 0


def test_without_a_name_all_are_listed():
    result = run()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()[:-1]] == list(presets.names())


def test_with_a_name_it_is_explained():
    assert run("udacity-2a").output == presets.explain("udacity-2a") + "\n"


def test_json_says_how_the_source_read_and_divided_its_images():
    found = json.loads(run("--json").output)
    libauc = found["libauc-chexpert"]["source"]["reading"]
    assert libauc["uncertain"] == {
        "Atelectasis": "ones", "Cardiomegaly": "zeros", "Consolidation": "zeros", "Edema": "ones",
        "Pleural Effusion": "zeros",
    }  # fmt: skip
    assert (libauc["views"], libauc["blank"]) == ("frontal", "negative")
    assert found["chexpert-uones"]["source"]["reading"] == {"views": "all", "uncertain": "ones", "blank": "negative"}
    assert found["two-stage"]["source"]["reading"] is None
    shares = [
        (found[name]["source"]["validation"], found[name]["source"]["test"]) for name in ("hborhan-r1", "chexnet")
    ]
    assert shares == [(0.1, 0.1), (0.1, 0.2)]


@pytest.mark.parametrize("name", ["chexvision-densenet", "hborhan-r3"])
def test_json_gives_the_recipe_and_its_source(name):
    found = json.loads(run(name, "--json").output)
    assert Recipe.from_dict(found["recipe"]) == presets.preset(name)
    assert found["source"]["split"] == presets.source(name).split == "image"
    assert json.loads(run("--json").output)[name] == found


def test_a_misspelt_name_is_one_message_and_status_2():
    result = run("udacity-2")
    assert result.exit_code == 2
    assert "did you mean 'udacity-2" in result.output
    assert "Traceback" not in result.output
