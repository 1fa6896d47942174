import contextlib
import json
import math

import pandas as pd
import pytest

from chexkeras import files
from chexkeras.inference import results_file as journal_module
from chexkeras.inference.results_file import (
    FILE_COLUMNS,
    FORMATS,
    Journal,
    ResultsFormat,
    from_line,
    read_lines,
    read_results,
    results_path,
    rows_of,
    to_line,
    write_lines,
    write_results,
)

ACCEPTED = {
    "file": 'a "quoted", folder/\nimage.dcm',
    "verdict": "warn",
    "code": "age_format;lossy",
    "detail": "",
    "view": "PA",
    "age_years": 58.0,
    "findings": [
        {"finding": "Pneumonia", "score": 0.1 + 0.2, "threshold": 0.25, "decision": "positive"},
        {"finding": "Edema", "score": 1e-17, "threshold": 0.5, "decision": "negative"},
    ],
    "decoder": "native",
    "engine": "keras 3.15.1",
    "seconds": 0.0123,
    "profile": "clinical",
    "key": "0123456789abcdef",
    "synthetic": "no",
    "novelty": 0.1 + 0.2,
    "novelty_threshold": 1.7,
    "fingerprint": "00ff00ff00ff00ff",
}
REFUSED = {
    **ACCEPTED,
    "file": "b.dcm",
    "verdict": "reject",
    "code": "view",
    "detail": "view: expected PA or AP; found LL",
    "view": "",
    "age_years": math.nan,
    "findings": [],
    "decoder": "",
    "engine": "",
    "key": "",
    "novelty": math.nan,
    "novelty_threshold": math.nan,
}
RECORDS = [ACCEPTED, REFUSED]


def same(found, expected):
    """Compares records; NaN is equal to NaN."""
    assert [repr(sorted(record.items())) for record in found] == [repr(sorted(record.items())) for record in expected]


@pytest.mark.parametrize("name", ["results.csv", "results.jsonl"])
def test_results_are_read_back_as_they_were_written(tmp_path, name):
    path = tmp_path / name
    write_results(path, RECORDS)
    same(read_results(path), RECORDS)
    before = path.read_bytes()
    write_results(path, [dict(reversed(record.items())) for record in read_results(path)])
    assert path.read_bytes() == before
    assert read_results(tmp_path / "nothing.csv") == []


def test_no_cell_of_a_table_is_run_by_a_spreadsheet_and_numbers_stay(tmp_path):
    finding = {"finding": "=HYPERLINK(1)", "score": 0.5, "threshold": 0.5, "decision": "positive"}
    record = {
        **ACCEPTED,
        "file": "@a.dcm",
        "detail": "+cmd|x",
        "profile": "-own",
        "age_years": -1.0,
        "findings": [finding],
    }
    write_results(tmp_path / "results.csv", [record])
    (row,) = pd.read_csv(tmp_path / "results.csv", dtype=str).to_dict("records")
    shown = {name: row[name] for name in ("file", "detail", "profile", "finding", "age_years")}
    assert shown == {"file": "'@a.dcm", "detail": "'+cmd|x", "profile": "'-own", "finding": "'=HYPERLINK(1)",
                     "age_years": "-1.0"}  # fmt: skip
    same(read_results(tmp_path / "results.csv"), [record])


def test_a_table_has_a_row_for_every_finding_and_one_for_a_refused_file(tmp_path):
    write_results(tmp_path / "results.csv", RECORDS)
    table = pd.read_csv(tmp_path / "results.csv", keep_default_na=False)
    assert list(table.columns) == list(FILE_COLUMNS)
    assert table["finding"].tolist() == ["Pneumonia", "Edema", ""]
    assert table["score"].tolist() == ["0.30000000000000004", "1e-17", ""]
    assert table["age_years"].tolist() == ["58.0", "58.0", ""]
    assert [row["decision"] for record in RECORDS for row in rows_of(record)] == ["positive", "negative", ""]


def test_lines_of_json_hold_a_file_each_with_its_codes_and_findings(tmp_path):
    write_results(tmp_path / "results.jsonl", RECORDS)
    first, second = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert first["codes"] == ["age_format", "lossy"] and len(first["findings"]) == 2
    assert second["codes"] == ["view"] and second["findings"] == [] and second["age_years"] is None


@pytest.mark.parametrize("line", ["", "{}", "[]", "1", "null", '{"codes": []}', '{"codes": 3, "age_years": 1}', "{"])
def test_what_is_no_record_is_refused(line):
    with pytest.raises(ValueError, match=r"no result|Expecting"):
        from_line(line)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("old.csv", "file,verdict\na,accept\n"),
        ("text.jsonl", "hello\n"),
        ("binary.csv", "\0\xff"),
        ("words.csv", ",".join(FILE_COLUMNS) + "\n" + ",".join(["word"] * len(FILE_COLUMNS)) + "\n"),
    ],
)
def test_a_file_of_something_else_is_refused_by_its_name(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{name}' is no file of results of this version"):
        read_results(path)


def test_the_ending_says_how_results_are_written(tmp_path):
    assert results_path(tmp_path / "a.CSV").name == "a.CSV"
    with pytest.raises(ValueError, match=r"ends in '\.xlsx'; results are written as \.csv or \.jsonl"):
        results_path("results.xlsx")
    with pytest.raises(ValueError, match=r"is a folder; name the file to write, such as .*results\.csv"):
        results_path(tmp_path)


def journal_of(tmp_path, *records):
    journal = Journal(tmp_path / "results.csv")
    journal.open()
    for record in records:
        journal.add(record)
    journal.close()
    return journal


def test_a_journal_is_hidden_beside_the_results_and_grows_from_run_to_run(tmp_path):
    assert Journal(tmp_path / "new" / "results.csv").read() == []
    journal = journal_of(tmp_path, ACCEPTED)
    assert journal.path == tmp_path / ".results.csv.journal"
    same(journal_of(tmp_path, REFUSED).read(), RECORDS)
    journal.discard()
    journal.discard()
    assert list(tmp_path.iterdir()) == []


def test_every_record_is_on_its_way_to_the_disk_as_soon_as_it_is_added(tmp_path):
    journal = Journal(tmp_path / "results.csv")
    journal.open()
    journal.add(ACCEPTED)
    same(Journal(tmp_path / "results.csv").read(), [ACCEPTED])
    journal.close()
    with pytest.raises(ValueError, match="not open"):
        journal.add(REFUSED)


def test_a_journal_cut_off_anywhere_gives_its_whole_lines_and_goes_on(tmp_path):
    journal = journal_of(tmp_path, ACCEPTED, REFUSED)
    content = journal.path.read_bytes()
    first = len(to_line(ACCEPTED).encode())
    for end in range(0, len(content), 40):
        journal.path.write_bytes(content[:end])
        same(journal.read(), [ACCEPTED] if end >= first else [])
        same(journal_of(tmp_path, REFUSED).read(), [ACCEPTED, REFUSED] if end >= first else [REFUSED])


def test_blocks_of_zeros_in_a_journal_are_passed_over(tmp_path):
    journal = journal_of(tmp_path, ACCEPTED)
    journal.path.write_bytes(journal.path.read_bytes() + bytes(100) + b"\n\xff\xfe\n")
    same(journal_of(tmp_path, REFUSED).read(), RECORDS)


def test_a_journal_is_held_by_one_run_at_a_time(tmp_path):
    first, second = Journal(tmp_path / "results.csv"), Journal(tmp_path / "results.csv")
    first.open()
    with pytest.raises(FileExistsError, match=r"another process is writing results to .*results\.csv'"):
        second.open()
    first.add(ACCEPTED)
    first.discard()
    second.open()
    second.add(REFUSED)
    second.close()
    same(Journal(tmp_path / "results.csv").read(), [REFUSED])


def test_a_journal_that_was_removed_before_it_was_held_is_made_again(tmp_path, monkeypatch):
    held, lock = [], journal_module._lock

    def removed_meanwhile(handle, destination):
        lock(handle, destination)
        if not held:
            Journal(destination).path.unlink()
        held.append(handle)

    monkeypatch.setattr(journal_module, "_lock", removed_meanwhile)
    same(journal_of(tmp_path, ACCEPTED).read(), [ACCEPTED])
    assert len(held) == 2


def test_a_journal_without_records_leaves_nothing(tmp_path):
    journal = Journal(tmp_path / "results.csv")
    journal.open()
    journal.close()
    assert list(tmp_path.iterdir()) == []
    journal = journal_of(tmp_path, ACCEPTED)
    journal.open()
    journal.clear()
    journal.add(REFUSED)
    journal.close()
    same(journal.read(), [REFUSED])


def test_a_place_without_locks_is_told_and_written(tmp_path, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")

    def without(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", without)
    same(journal_of(tmp_path, ACCEPTED).read(), [ACCEPTED])
    assert "knows no locks; take care that no other process writes to results.csv" in capsys.readouterr().err


def one_object_an_image(path, records, sources):
    """A format of a folder with an object for every image that was scored, and the results in lines."""
    path.mkdir()
    for record in (kept := list(records)):
        if record["findings"]:
            (path / f"{record['key']}.object").write_bytes(b"object of " + sources[record["file"]].read_bytes())
    write_lines(path / "results.jsonl", kept, sources)


@pytest.fixture
def objects(monkeypatch):
    """The format, under the ending .objects."""

    def read(path):
        return read_lines(path / "results.jsonl")

    added = ResultsFormat("one object an image", one_object_an_image, read, lambda _: False, is_folder=True)
    monkeypatch.setitem(FORMATS, ".objects", added)


@pytest.mark.usefixtures("objects")
def test_a_format_of_one_object_an_image_is_one_entry(tmp_path):
    image, out = tmp_path / "image.dcm", tmp_path / "scored.objects"
    image.write_bytes(b"one")
    for content in (b"one", b"two"):
        image.write_bytes(content)
        write_results(results_path(out), RECORDS, {ACCEPTED["file"]: image, REFUSED["file"]: image})
        assert (out / f"{ACCEPTED['key']}.object").read_bytes() == b"object of " + content
        assert sorted(path.name for path in out.iterdir()) == [f"{ACCEPTED['key']}.object", "results.jsonl"]
        same(read_results(out), RECORDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.dcm", "scored.objects"]


@pytest.mark.usefixtures("objects")
def test_a_folder_of_results_is_whole_and_replaces_nothing_else(tmp_path):
    out = tmp_path / "scored.objects"
    with pytest.raises(KeyError):
        write_results(out, RECORDS)
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    assert results_path(out) == out
    (out / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no file of results of this version"):
        results_path(out)
    (tmp_path / "file.objects").write_text("")
    with pytest.raises(ValueError, match=r"results that end in \.objects are a folder"):
        results_path(tmp_path / "file.objects")


@contextlib.contextmanager
def files_of_at_most(size):
    """No room beyond a size, as on a full disk."""
    resource = pytest.importorskip("resource", reason="limits of Unix")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("cut", [0, 40])
def test_a_full_disk_costs_the_record_that_was_being_written_and_no_other(tmp_path, cut):
    journal = Journal(tmp_path / "results.csv")
    size = len(to_line(ACCEPTED).encode()) + len(to_line(REFUSED).encode()) + cut
    journal.open()
    with files_of_at_most(size):
        for record in RECORDS:
            journal.add(record)
        with pytest.raises(OSError) as full:
            journal.add(ACCEPTED)
        # What was not written is still waiting to be.
        with contextlib.suppress(OSError):
            journal.close()
    assert full.value.errno in files.NO_ROOM
    same(journal.read(), RECORDS)
    journal.open()
    journal.add({**ACCEPTED, "file": "next"})
    journal.close()
    same(journal.read(), [*RECORDS, {**ACCEPTED, "file": "next"}])


@pytest.mark.parametrize("name", ["results.csv", "results.jsonl"])
def test_a_full_disk_leaves_the_results_as_they_were(tmp_path, name):
    write_results(tmp_path / name, [REFUSED])
    before = (tmp_path / name).read_bytes()
    with files_of_at_most(100), pytest.raises(OSError) as full:
        write_results(tmp_path / name, RECORDS)
    assert full.value.errno in files.NO_ROOM
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]
