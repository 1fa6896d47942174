"""The front page keeps to what the code says."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

import chexkeras
from chexkeras import _lazy
from chexkeras.cli import app
from chexkeras.recipes import presets

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
OWN = {"two-stage", "demo", "quick"}
SPLITS = {"image": "**by image, leaky**", "patient": "by patient", "official": "official", None: "not stated"}


@pytest.mark.parametrize("name", sorted(set(presets.names()) - OWN))
def test_the_table_of_presets_says_what_their_sources_say(name):
    (row,) = re.findall(rf"^\| `{re.escape(name)}` \|(.*)\|$", README, flags=re.MULTILINE)
    system, split, claims = (cell.strip() for cell in row.split("|"))
    source = presets.source(name)
    assert system == source.system.rstrip(".")
    assert split == SPLITS[source.split]
    for claim in source.claims:
        assert f"{claim.metric} {claim.low:g}" in claims
    assert len(claims.split("; ")) == max(1, len(source.claims))


def test_no_placeholder_is_left():
    assert not re.search(r"@[A-Z]+@", README)


def test_every_command_is_listed_and_every_listed_one_exists():
    listed = set(re.findall(r"^\| `chexkeras ([\w-]+)", README, flags=re.MULTILINE))
    assert listed == set(get_command(app).commands)


def test_the_names_of_its_example_exist():
    for name in re.findall(r"\bcx\.(\w+)", README):
        assert name in chexkeras.__all__
    for room, name in re.findall(rf"\bcx\.({'|'.join(_lazy.ROOMS)})\.(\w+)", README):
        assert name in _lazy.stub_names(room)
