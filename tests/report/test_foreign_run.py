"""A run folder from elsewhere: whatever its files hold, it works or is refused in one sentence that names the file."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.model_card import card_text
from chexkeras.report.submission import preview
from chexkeras.runs.run import Run

PROPERTIES = ("recipe", "provenance", "cautions", "stages", "history", "kept_epoch", "table", "splits", "split_record",
              "audit", "left_out", "operating_points", "evaluation", "dicom_results", "recalibrations", "robustness",
              "heatmaps", "intensities", "epochs", "novelty", "shortcuts", "against_readers")  # fmt: skip
FILES = ("audit.json", "dicom_results.csv", "evaluation.json", "history.csv", "intensities.json", "left_out.csv",
         "novelty.json", "operating_points.json", "provenance.json", "recalibration.json", "recipe.json",
         "robustness.json",
         "scores_test.csv", "scores_validation.csv", "shortcuts.json", "splits.csv", "splits.json", "stages.json",
         "table.csv")  # fmt: skip
WHOLE = {
    "a list": lambda data: b"[]",
    "an object": lambda data: b"{}",
    "null": lambda data: b"null",
    "a number": lambda data: b"1",
    "a text": lambda data: b'"text"',
    "nested": lambda data: b"[" * 10_000 + b"]" * 10_000,
    "nested a little": lambda data: b'{"a":' * 200 + b"1" + b"}" * 200,
    "a key twice": lambda data: b'{"a": 1, "a": 2}',
    "a long number": lambda data: b"[" + b"9" * 5000 + b"]",
    "half a character": lambda data: b'["\\ud800"]',
    "not UTF-8": lambda data: b"\xff\xfe" + data,
    "cut short": lambda data: data[: len(data) // 2 - 3],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(4096),
    "NaN": lambda data: data.replace(b"0.", b"NaN, 0.", 1).replace(b"1", b"NaN", 1),
}
VALUES = (None, [], {}, "x", "", -1, 1e308, True, 10**17, [[1]], "=1+1", "<b>|`", "\u202e", "long " * 5000, "drop")
CELLS = ("", "x", "-1", "inf", "nan", "1e400", "9" * 400, '"', "=1", "\u202e", "NA", "2", "\x00", "1,1")


@pytest.fixture
def spoilt(small_run, tmp_path):
    """A copy of the run, to spoil."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def refusal(folder):
    """Returns what a run is refused with, "" where it is read and reported."""
    try:
        run = Run.load(folder)
        for name in PROPERTIES:
            getattr(run, name)
        run.scores("test"), run.scores("validation"), run.checked_points(), repr(run)
        facts = collect_facts(run)
        json.dumps(facts.to_dict())
        preview(facts), card_text(facts)
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return ""


def refused(folder, name):
    said = refusal(folder)
    assert name in said, said
    assert len(said) < 600 and "\n" not in said
    return said


def test_the_run_is_accepted_as_it_is(small_run):
    # The shortcuts' scores are for people: no command of ours reads them again.
    assert {path.name for path in small_run.iterdir()} == {*FILES, "model.keras", "shortcut_scores.csv"}
    assert refusal(small_run) == ""


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_something_else_is_refused_by_its_name(spoilt, name):
    path = spoilt / name
    data = path.read_bytes()
    for what, spoil in WHOLE.items():
        path.write_bytes(spoil(data))
        said = refusal(spoilt)
        # A table may be cut within a number; and nothing may have been recalibrated or looked at.
        works = name.endswith(".csv") and what in ("cut short", "NaN")
        works |= (name, what) in (("recalibration.json", "a list"), ("intensities.json", "an object"))
        assert name in said or works, (what, said)
        assert len(said) < 900 and "\n" not in said, what


@pytest.mark.parametrize("name", FILES)
def test_a_field_of_another_kind_never_ends_in_another_error(spoilt, name):
    path = spoilt / name
    text, chance = path.read_text(), random.Random(name)
    for _ in range(5):
        path.write_text(_other_field(text, chance) if name.endswith(".json") else _other_cell(text, chance))
        said = refusal(spoilt)
        assert not said or name in said, said
        assert len(said) < 600


def _places(value, at=()):
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _places(each, (*at, key))


def _other_field(text, chance):
    document, value = json.loads(text), chance.choice(VALUES)
    *above, last = chance.choice([at for at in _places(document) if at])
    parent = document
    for key in above:
        parent = parent[key]
    if value == "drop":
        del parent[last]
    else:
        parent[last] = value
    return json.dumps(document)


def _other_cell(text, chance):
    rows = text.split("\n")
    row = chance.randrange(len(rows) - 1)
    cells = rows[row].split(",")
    cells[chance.randrange(len(cells))] = chance.choice(CELLS)
    return "\n".join([*rows[:row], ",".join(cells), *rows[row + 1 :]])


@pytest.mark.parametrize("name", ["provenance.json", "scores_test.csv", "recipe.json"])
@pytest.mark.parametrize("what", ["a list", "nested", "not UTF-8", "empty"])
def test_commands_refuse_it_in_one_sentence(spoilt, small_run, tmp_path, name, what):
    path = spoilt / name
    path.write_bytes(WHOLE[what](path.read_bytes()))
    for command in (
        ["evaluate", str(spoilt), "--rule", "youden"],
        ["compare", str(spoilt), str(small_run)],
        ["report", str(spoilt), "--out", str(tmp_path / "FDA_Submission.md")],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2, done.output
        refusals = [line for line in done.output.splitlines() if not line.endswith(" ...")]
        assert len(refusals) == 1 and name in refusals[0], done.output


@pytest.mark.parametrize("name", FILES)
def test_links_to_files_elsewhere_are_refused(spoilt, tmp_path, name):
    elsewhere = (spoilt / name).rename(tmp_path / name)
    (spoilt / name).symlink_to(elsewhere)
    assert "is a link to a file elsewhere" in refused(spoilt, name)


def test_what_was_found_of_heat_maps_is_read_as_strictly(spoilt):
    for text in ("[]", "{}", "null", '{"finding": 1}', "[" * 10_000):
        (spoilt / "heatmaps.json").write_text(text)
        refused(spoilt, "heatmaps.json")


def test_a_word_that_would_fill_a_figure_is_refused(spoilt):
    text = (spoilt / "dicom_results.csv").read_text()
    (spoilt / "dicom_results.csv").write_text(text.replace("modality", "m" * 2001))
    assert "holds a text without end in code" in refused(spoilt, "dicom_results.csv")


@pytest.mark.parametrize("name", ["recipe.json", "scores_test.csv", "table.csv"])
def test_a_pipe_is_not_waited_for(spoilt, name):
    (spoilt / name).unlink()
    os.mkfifo(spoilt / name)
    refused(spoilt, name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_gigabytes_is_not_read(spoilt, name):
    # Nothing is on the disk of it.
    os.truncate(spoilt / name, 3 * 2**30)
    assert "bytes, more than the" in refused(spoilt, name)


def _change(folder, name, change):
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(change(document) or document))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threshold": -1}, "the threshold -1 lies outside of the scores, 0 to 1"),
        ({"threshold": 2}, "the threshold 2 lies outside"),
        ({"threshold": None}, "threshold is null, a number was expected"),
        ({"threshold": "0.5"}, "threshold is a str, a number was expected"),
        ({"threshold": True}, "threshold is true or false, a number was expected"),
        ({"rule": "best"}, "the rule of Effusion is none of sensitivity"),
        ({"rule": "sensitivity", "target": 7}, "target=7 must lie between 0 and 1"),
        ({"target": [0.8]}, "target is a list, a number was expected"),
        ({"chosen_on": "cleared under K123456"}, r"\[0\].chosen_on is none of train, validation, test, stated"),
        ({"inequality": "score < threshold"}, "another inequality"),
        ({"scores_fingerprint": "<b>"}, "is no fingerprint"),
        ({"finding": "Mass"}, "Mass is no target of recipe.json: Effusion"),
        ({"finding": "=cmd|'/c calc'!A0"}, "holds '='"),
        ({"finding": "Effusion\n"}, r"holds '\\n'"),
        ({"finding": "x" * 10_000}, "10,000 characters; at most 100"),
        ({"finding": "\u202eEffusion"}, r"holds '\\u202e'"),
        ({"finding": "<script>"}, "holds '<'"),
        ({"n_positive": -3}, "fewer than no images"),
        ({"further": 1}, "no field 'further'"),
    ],
)
def test_an_operating_point_that_no_run_writes_is_refused(spoilt, changes, said):
    _change(spoilt, "operating_points.json", lambda points: points[0].update(changes))
    with pytest.raises(ValueError, match=f"^operating_points.json of the run is not what a run writes .*{said}"):
        _ = Run.load(spoilt).operating_points


def test_a_finding_has_one_operating_point_and_that_of_these_scores(spoilt, small_run, make_run):
    _change(spoilt, "operating_points.json", lambda points: points * 2)
    with pytest.raises(ValueError, match="Effusion stands there twice"):
        _ = Run.load(spoilt).operating_points
    (spoilt / "operating_points.json").write_text("[]")
    with pytest.raises(ValueError, match="has not one threshold for each target"):
        Run.load(spoilt).checked_points()
    shutil.copy(small_run / "operating_points.json", spoilt)
    assert Run.load(spoilt).checked_points() == Run.load(small_run).operating_points
    shutil.copy(make_run(patients=40, seed=3).folder / "operating_points.json", spoilt)
    with pytest.raises(ValueError, match=r"Effusion in operating_points\.json of the run is of another one, or was"):
        Run.load(spoilt).checked_points()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("recalibration.json", lambda d: d[0].update(slope=-1.0), "the slope -1 .* no rising map"),
        ("recalibration.json", lambda d: d[0].update(slope=None), "slope is null"),
        ("recalibration.json", lambda d: d[0].update(method="magic"), "the method of a recalibration"),
        ("recalibration.json", lambda d: d[0].update(method="isotonic", knots=[[0, 1], [1, 0]]), "do not rise"),
        ("recalibration.json", lambda d: d[0].update(method="isotonic", knots=[[0, 0], [1, 2]]), "within 0 to 1"),
        ("recalibration.json", lambda d: d[0].update(method="isotonic", knots=[]), "its points"),
        ("recalibration.json", lambda d: d[0].update(n_negative=0), "images of one class"),
        ("recalibration.json", lambda d: d * 2, "Effusion stands there twice"),
        ("recipe.json", lambda d: d.update(image_size=10**9), "image_size=1000000000 is above 4096"),
        ("recipe.json", lambda d: d.update(targets=["Effusion", "Effusion"]), "more than once: Effusion"),
        ("recipe.json", lambda d: d.update(targets=["=1+1"]), "holds '='"),
        ("recipe.json", lambda d: d.update(surprise=1), "surprise"),
        ("recipe.json", lambda d: d["stages"][0].update(name="x" * 201), "stage name has 201 characters"),
        ("provenance.json", lambda d: d.update(python="**3.12** cleared under K123456"), "python is no version"),
        ("provenance.json", lambda d: d.update(created_utc="today"), "created_utc is no date and time"),
        ("provenance.json", lambda d: d.update(precision="<b>"), "precision is none of float32"),
        ("provenance.json", lambda d: d["packages"].update({"a|b": "1"}), "is no name of a package"),
        ("provenance.json", lambda d: d["model"].update(name="`x`"), "model.name is no name of a layer"),
        ("provenance.json", lambda d: d["split"].update(kind="cleared"), "split.kind is none of patient"),
        ("provenance.json", lambda d: d["source"].update(dataset="x" * 2001), "a text of 2,001 characters"),
        ("evaluation.json", lambda d: d["findings"][0]["auroc"].update(method="x" * 2001), "method is a text of 2,001"),
        ("stages.json", lambda d: d[0].update(first_trainable_layer="` [x](http://y)"), "no name of a layer"),
        ("evaluation.json", lambda d: d.update(split="MET"), "split is none of train"),
        ("evaluation.json", lambda d: d["findings"][0].update(finding="Mass"), "Mass is no target"),
        ("evaluation.json", lambda d: d["findings"][0]["auroc"].update(confidence=2), "has the confidence 2"),
        ("evaluation.json", lambda d: d["findings"][0]["subgroups"].append(d["findings"][0]["subgroups"][0]), "twice"),
    ],
)
def test_values_that_cannot_be_are_refused(spoilt, name, change, said):
    _change(spoilt, name, change)
    with pytest.raises(ValueError, match=f"^{name} of the run is not what a run writes .*{said}"):
        for each in PROPERTIES:
            getattr(Run.load(spoilt), each)
