"""Writing files: whole or not at all, strict JSON, and fingerprints that depend on contents only."""

import csv
import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chexkeras import files


def test_a_failed_write_leaves_the_previous_file_and_nothing_else(tmp_path):
    destination = tmp_path / "report.md"
    destination.write_text("old")
    with pytest.raises(RuntimeError, match="power cut"), files.replacing(destination) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError("power cut")
    assert destination.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.md"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    destination = tmp_path / "report.md"
    destination.write_text("old")
    with files.replacing(destination) as temporary:
        temporary.write_text("new")
        assert destination.read_text() == "old"
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".md")
    assert destination.read_text() == "new"
    assert os.listdir(tmp_path) == ["report.md"]


def test_written_files_have_the_permissions_of_any_other_new_file(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    written = files.write_text(tmp_path / "deep" / "folder" / "written", "Grüße")
    assert written.stat().st_mode == ordinary.stat().st_mode
    assert written.read_bytes() == "Grüße".encode()


def test_json_is_strict_and_takes_numpy_paths_and_tuples(tmp_path):
    value = {
        "nan": math.nan, "infinite": [np.float64("inf"), np.float32(0.5)], "count": np.int64(3), "path": Path("a/b"),
        7: (1, 2), "flag": np.bool_(True), "name": "Pleura – naïve",
    }  # fmt: skip
    path = files.write_json(tmp_path / "value.json", value)
    expected = {
        "nan": None, "infinite": [None, 0.5], "count": 3, "path": "a/b", "7": [1, 2], "flag": True,
        "name": "Pleura – naïve",
    }  # fmt: skip
    assert files.read_json(path) == json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail) == expected


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = files.write_json(tmp_path / "value.json", {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert files.read_json(path) == {"a": 1}


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "evaluation.json").write_text('{"split": ')
    with pytest.raises(ValueError, match=r"evaluation\.json is not valid JSON"):
        files.read_json(tmp_path / "evaluation.json")
    (tmp_path / "evaluation.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="write it again"):
        files.read_json(tmp_path / "evaluation.json")


def test_floats_in_csv_keep_all_their_digits(tmp_path):
    values = [0.1 + 0.2, np.nextafter(0.7, 1), 1e-300, 1 / 3]
    path = files.write_csv(tmp_path / "table.csv", pd.DataFrame({"value": values}))
    assert [float(line) for line in path.read_text().splitlines()[1:]] == values


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"image" * 100_000)
    assert files.sha256_file(tmp_path / "file") == hashlib.sha256(b"image" * 100_000).hexdigest()


def test_fingerprint_of_a_table_depends_on_values_and_column_names_only():
    frame = pd.DataFrame({"image": ["a", "b", "c"], "label": [1.0, math.nan, 0.0]})
    fingerprint = files.sha256_table(frame)
    assert files.sha256_table(frame.iloc[::-1].set_index(pd.Index([7, 8, 9]))) == fingerprint
    assert files.sha256_table(frame.rename(columns={"label": "score"})) != fingerprint
    assert files.sha256_table(frame.assign(label=[1.0, 0.0, 0.0])) != fingerprint
    assert files.sha256_table(frame[["label", "image"]]) != fingerprint
    assert files.sha256_table(pd.concat([frame, frame.iloc[[0]]])) != fingerprint


def test_what_lies_below_a_folder_comes_in_the_order_of_names_however_links_lead(tmp_path):
    for name in ("b/inner/1", "a/2", "c", "b/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "loop").symlink_to("loop")

    def found(**options):
        entries = files.entries_below(tmp_path, pytest.fail, **options)
        return [os.path.relpath(entry.path, tmp_path) for entry in entries]

    assert found(follow_links=False) == ["c", "loop", "a/2", "a/up", "b/3", "b/inner/1"]
    assert found(follow_links=True) == ["c", "loop", "a/2", "b/3", "b/inner/1"]
    left_alone = found(follow_links=False, enter=lambda entry: entry.name != "b")
    assert left_alone == ["b", "c", "loop", "a/2", "a/up"]


def test_a_folder_that_cannot_be_listed_is_told_and_the_others_are_listed(tmp_path):
    (tmp_path / "file").write_text("x")
    told = []
    gone = files.entries_below(tmp_path / "gone", lambda *one: told.append(one), follow_links=True)
    assert list(gone) == []
    ((path, error),) = told
    assert path == str(tmp_path / "gone") and isinstance(error, FileNotFoundError)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}', '{"a": NaN}', "[Infinity]", "[1e999]", f"[{'9' * 30}]", '["\\ud800"]', "[" * 100_000,
        "[" * 70 + "]" * 70,
    ],
)  # fmt: skip
def test_json_that_readers_take_in_different_ways_is_refused(tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=r"^recipe\.json is not valid JSON"):
        files.read_json(tmp_path / "recipe.json")


def test_only_files_of_a_size_that_can_be_read_are_opened(tmp_path):
    large, inside = tmp_path / "large.json", tmp_path / "run"
    inside.mkdir()
    large.touch()
    os.truncate(large, files.MOST_JSON_BYTES + 1)
    os.mkfifo(tmp_path / "pipe.json")
    (inside / "link.json").symlink_to(files.write_json(tmp_path / "small.json", 1))
    with pytest.raises(ValueError, match="more than the 16,777,216 that are read"):
        files.read_json(large)
    for path in (tmp_path / "pipe.json", tmp_path):
        with pytest.raises(ValueError, match="a file was expected"):
            files.read_json(path)
    assert files.read_json(inside / "link.json") == 1
    with pytest.raises(ValueError, match=r"link\.json is a link to a file elsewhere"):
        files.readable(inside / "link.json", 100, within=inside)


RUN = ["=1+1", "@SUM(A1)", "+cmd", "-2+3", "\tx", " =1", '"=1"', "'=1", "''=1", "＝1", '=HYPERLINK("a")']
NOT_RUN = ["-0.5", "+3", "1e5", "-1.5e-3", "a=b", "x-1.dcm", "'quoted'", "'", "", "./=1", "Épanchement"]


def test_texts_that_a_spreadsheet_would_run_are_written_behind_an_apostrophe_and_come_back(tmp_path):
    frame = pd.DataFrame({"=name": [*RUN, *NOT_RUN], "number": np.arange(len(RUN + NOT_RUN)) - 3.5, "finding": "Mass"})
    path = files.write_csv(tmp_path / "table.csv", frame)
    with path.open(newline="") as handle:
        header, *rows = csv.reader(handle)
    assert header == ["'=name", "number", "finding"]
    assert [row[0] for row in rows] == [*(f"'{text}" for text in RUN), *NOT_RUN]
    assert [row[1] for row in rows[:2]] == ["-3.5", "-2.5"]
    back = files.read_csv(path, keep_default_na=False)
    assert back.iloc[:, 0].tolist() == frame["=name"].tolist()
    assert frame["=name"].tolist() == [*RUN, *NOT_RUN]
    assert files.to_cell("\rx") == "'\rx" and files.to_cell(-1.5) == -1.5 and files.from_cell("'\rx") == "\rx"
