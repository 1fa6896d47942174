"""Results as DICOM files: which are written, whose they are, what they say, and that identifiers go nowhere else."""

import concurrent.futures
import dataclasses
import json
import logging
import shutil
import stat
import sys

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

import chexkeras as cx
from chexkeras.cli import app
from chexkeras.delivery.dicom_output import KINDS, OBJECTS, DicomOutput, device_facts, film_result, write_objects
from chexkeras.dicom.objects.source import NotDescribable
from chexkeras.dicom.workers.options import IN_PROCESS
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.parallel import WorkersUnavailable
from chexkeras.runs.run import HEATMAPS, Run
from tests.dicom.dicom_images import (
    CANARY,
    CANARY_DATE,
    CANARY_UID,
    canary_image,
    leaks,
    ramp,
    write,
)
from tests.dicom.objects.made import FILM, STUDY, film, raw
from tests.report.facts.test_heatmaps import study_of

pytest.importorskip("highdicom")
pytestmark = pytest.mark.keras


def drawable(run):
    """Notes with a run that its heat maps passed their checks."""
    study = study_of(run, "depends on the model")
    dataclasses.replace(study, checks=dataclasses.replace(study.checks, layer="block4_pool")).save(
        run.folder / HEATMAPS
    )
    return Run.load(run.folder)


@pytest.fixture
def run(toy_run, tmp_path):
    return drawable(Run.load(shutil.copytree(toy_run.folder, tmp_path / "run")))


@pytest.fixture
def real_run(run):
    """The same run, trained on images of patients by its own account."""
    provenance = json.loads((run.folder / "provenance.json").read_text())
    provenance["source"]["synthetic"] = False
    (run.folder / "provenance.json").write_text(json.dumps(provenance))
    return Run.load(run.folder)


@pytest.fixture
def films(tmp_path):
    """Three films of one study, one of them refused, and a file that is no DICOM file."""
    folder = tmp_path / "films"
    folder.mkdir()
    film(folder / "one")
    film(folder / "two", ramp(300, 400), SOPInstanceUID=f"{FILM}.2", PhotometricInterpretation="MONOCHROME1",
         PresentationLUTShape="INVERSE")  # fmt: skip
    film(folder / "refused", SOPInstanceUID=f"{FILM}.3", Modality="CT")
    (folder / "notes.txt").write_text("no film")
    return folder


def record(path, verdict="accept", score=0.8):
    findings = [{"finding": "Effusion", "score": score, "threshold": 0.5, "decision": "positive"}]
    return {
        "file": str(path), "verdict": verdict, "code": "" if verdict == "accept" else "modality",
        "detail": "" if verdict == "accept" else "modality: expected CR or DX; found CT",
        "findings": findings if verdict != "reject" else [], "engine": "keras", "profile": "clinical",
        "synthetic": "no",
    }  # fmt: skip


def modalities(paths):
    return [pydicom.dcmread(path, stop_before_pixels=True).Modality for path in paths]


def test_a_scored_film_has_an_object_of_every_kind_in_its_own_study(run, films, tmp_path):
    with DicomOutput(run) as output:
        paths = output.write(films / "two", record("two"), tmp_path / "out")
    assert modalities(paths) == ["SR", "OT", "PR"]
    for path in paths:
        found = pydicom.dcmread(path)
        assert path.name == f"{found.SOPInstanceUID}.dcm" and found.StudyInstanceUID == STUDY
        assert found.PatientName == "Doe^Jane" and found.PatientID == "A-17"
        assert [str(each).split()[0] for each in found.SoftwareVersions] == [cx.__version__, "highdicom", "pydicom"]
        assert f"{FILM}.2".encode() in path.read_bytes() and b"NOT FOR CLINICAL USE" in path.read_bytes()
    assert len({pydicom.dcmread(path).SeriesInstanceUID for path in paths}) == 3


def test_a_refused_film_has_a_report_that_says_why(run, films, tmp_path):
    with DicomOutput(run) as output:
        paths = output.write(films / "refused", record("refused", "reject"), tmp_path / "out")
    assert modalities(paths) == ["SR"]
    assert b"Not assessed: modality: expected CR or DX; found CT" in paths[0].read_bytes()


def test_the_same_film_of_the_same_run_is_recognised_and_no_other(run, films, tmp_path):
    names = []
    for folder in ("first", "second"):
        with DicomOutput(Run.load(run.folder)) as output:
            names.append([path.name for path in output.write(films / "one", record("one"), tmp_path / folder)])
    assert names[0] == names[1] and len(set(names[0])) == 3
    with DicomOutput(run, ("sr",)) as output:
        other = output.write(films / "two", record("two"), tmp_path / "first")
    assert other[0].name not in names[0]


def test_kinds_are_checked_and_made_in_their_order(run, films, tmp_path):
    for kinds, said in ((("xx",), "xx"), ((), "at least one"), (("sr", "sr"), "once at most")):
        with pytest.raises(ValueError, match=said):
            DicomOutput(run, kinds)
    with DicomOutput(run, ("pr", "sr")) as output:
        assert output.kinds == ("sr", "pr")
        assert modalities(output.write(films / "one", record("one"), tmp_path / "out")) == ["SR", "PR"]


def test_a_file_that_is_no_dicom_file_has_none_and_that_is_said_once(run, films, tmp_path, capsys):
    with DicomOutput(run, ("sr",)) as output:
        for _ in range(3):
            assert output.write(films / "notes.txt", record("notes"), tmp_path / "out") == []
    assert capsys.readouterr().err.count("no DICOM files have no DICOM objects") == 1


@pytest.mark.parametrize("heat_maps", [True, False])
def test_maps_that_are_not_drawn_are_in_no_object(toy_run, run, films, tmp_path, capsys, heat_maps):
    # The toy run's own maps were never checked; the other run's are left out on purpose.
    with DicomOutput(toy_run if heat_maps else run, heat_maps=heat_maps) as output:
        for _ in range(2):
            paths = output.write(films / "one", record("one"), tmp_path / "out")
    assert modalities(paths) == ["SR", "OT"]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("presentation states") == 1
    assert ("were never checked" in said) == heat_maps and "unchecked" not in said
    capture = pydicom.dcmread(paths[1])
    assert "heat map" not in capture.DerivationDescription
    assert not (capture.pixel_array == (0, 255, 255)).all(axis=2).any()


def test_the_map_marks_the_place_that_the_explainer_finds(run, films, tmp_path):
    from chexkeras.explanation import explain

    with DicomOutput(run, ("pr",)) as output:
        (path,) = output.write(films / "two", record("two"), tmp_path / "out")
    graphics = pydicom.dcmread(path).GraphicAnnotationSequence[0].get("GraphicObjectSequence", [])
    maps = explain(run, [films / "two"], layer="block4_pool")
    heat = maps.of(maps.images[0], "Effusion", (300, 400))
    marked = np.zeros(heat.shape, bool)
    for each in graphics:
        points = np.array(each.GraphicData).reshape(-1, 2)
        at = np.clip(points, 0, (399, 299)).astype(int)
        level = heat[at[:, 1], at[:, 0]] / max(heat.max(), 1e-9)
        # On the line the map is at half of its height, but where the line runs along the film's edge.
        within = ((points > 1) & (points < np.array([399, 299]))).all(axis=1)
        assert np.allclose(level[within], 0.5, atol=0.1)
        marked[at[:, 1], at[:, 0]] = True
    assert marked.any() == bool(heat.max() > 0)


def test_files_are_their_owner_s_alone(run, films, tmp_path):
    with DicomOutput(run, ("sr",)) as output:
        paths = output.write(films / "one", record("one"), tmp_path / "out")
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "out").iterdir()] == [paths[0].name]


def test_several_threads_write_at_once(run, films, tmp_path):
    with DicomOutput(run) as output, concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(output.write, films / name, record(name), tmp_path / f"out{at}")
            for at, name in enumerate(["one", "two"] * 3)
        ]
        found = [[path.name for path in job.result()] for job in jobs]
    assert found[0] == found[2] == found[4] and found[1] == found[3] == found[5]


def test_a_film_that_names_no_study_is_one_sentence_and_leaves_nothing(run, tmp_path):
    path = film(tmp_path / "film", drop=("StudyInstanceUID",))
    with DicomOutput(run) as output, pytest.raises(NotDescribable, match="StudyInstanceUID"):
        output.write(path, record("film"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_film_that_cannot_be_read_again_has_no_object_at_all(run, tmp_path):
    path = film(tmp_path / "film", Modality="CT")
    with DicomOutput(run) as output, pytest.raises(NotDescribable, match=r"cannot be read again .*\(modality\)"):
        output.write(path, record("film"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_library_says_of_a_film_is_not_repeated(run, films, tmp_path, monkeypatch):
    def quoting(*_):
        raise TypeError(f"cannot encode {CANARY}")

    monkeypatch.setattr(sys.modules["chexkeras.delivery.dicom_output"], "structured_report", quoting)
    with DicomOutput(run, ("sr",)) as output, pytest.raises(NotDescribable) as raised:
        output.write(films / "one", record("one"), tmp_path / "out")
    assert str(raised.value) == "no DICOM object could be made of the film (TypeError)."
    assert raised.value.__suppress_context__


def test_workers_that_do_not_start_are_no_fault_of_the_film(run, films, tmp_path, monkeypatch):
    def none(*_):
        raise WorkersUnavailable("no process can be started")

    monkeypatch.setattr(ReaderPool, "read", none)
    with DicomOutput(run) as output, pytest.raises(WorkersUnavailable):
        output.write(films / "one", record("one"), tmp_path / "out")


def test_results_that_lack_a_column_are_refused(run, films, tmp_path):
    results = scored(run, films).drop(columns="fingerprint")
    with DicomOutput(run, ("sr",)) as output, pytest.raises(ValueError, match=r"lacks the column.* fingerprint"):
        write_objects(output, films, tmp_path / "out", results)


def test_device_facts_are_those_of_the_run(run):
    facts = device_facts(run)
    entry = run.evaluation["Effusion"]
    assert facts.name == "chexkeras toy" and facts.version == cx.__version__
    assert facts.tested[0].sensitivity == entry.sensitivity and facts.tested[0].auroc == entry.auroc
    assert facts.cautions == run.cautions and facts.mark == "NOT FOR CLINICAL USE"


def test_the_fingerprint_changes_with_the_threshold(run):
    before = device_facts(run).fingerprint
    points = json.loads((run.folder / "operating_points.json").read_text())
    points[0]["note"] = "another"
    (run.folder / "operating_points.json").write_text(json.dumps(points))
    assert device_facts(Run.load(run.folder)).fingerprint != before


def test_figures_of_another_threshold_are_not_shown(run):
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    evaluation["findings"][0]["operating_point"]["threshold"] = 0.123
    (run.folder / "evaluation.json").write_text(json.dumps(evaluation))
    tested = device_facts(Run.load(run.folder)).tested[0]
    assert not tested.sensitivity.estimable and "no test at this threshold" in str(tested.sensitivity)
    assert tested.auroc.estimable


ANSWERED = '[device]\nname = "Chest Helper"\nsubmitter = "A Company"\nauthorisation = "K000000, FDA 510(k)"\n'


def test_the_sponsor_s_answers_name_device_and_authorisation(real_run, films, tmp_path):
    assert device_facts(real_run).mark == "NOT FOR CLINICAL USE"
    (real_run.folder / "submission.toml").write_text(ANSWERED)
    facts = device_facts(real_run)
    assert (facts.name, facts.manufacturer) == ("Chest Helper", "A Company")
    with DicomOutput(real_run) as output:
        for path in output.write(films / "one", record("one"), tmp_path / "out"):
            content = path.read_bytes()
            assert b"NOT FOR CLINICAL USE" not in content and b"Authorisation: K000000, FDA 510(k)" in content


def test_a_run_on_synthetic_images_is_not_for_clinical_use_whatever_is_answered(run):
    (run.folder / "submission.toml").write_text(ANSWERED)
    assert device_facts(run).mark == "NOT FOR CLINICAL USE"


@pytest.mark.parametrize("answer", ["yes", "cleared", "K" * 50 + "1"])
def test_an_authorisation_without_a_number_is_refused(real_run, answer):
    (real_run.folder / "submission.toml").write_text(f'[device]\nauthorisation = "{answer}"\n')
    with pytest.raises(ValueError, match="number of the authorisation"):
        device_facts(real_run)


def test_warnings_of_the_gate_and_synthetic_films_are_said_in_words():
    given = {**record("film"), "verdict": "warn", "code": "view_fallback;burned_in", "synthetic": "yes"}
    warnings = film_result(given).warnings
    assert any(each.startswith("view_fallback: expected ") for each in warnings) and len(warnings) == 3
    assert "a program made it" in warnings[-1]


def test_a_score_a_rounding_above_1_is_1():
    assert film_result(record("film", score=1.0004)).findings[0].score == 1.0


# ---- a folder


def scored(run, films):
    return cx.score_folder(run, films, keep=False, read_options=IN_PROCESS)


def test_every_film_of_a_folder_has_its_objects(run, films, tmp_path):
    results = scored(run, films)
    with DicomOutput(run) as output:
        count = write_objects(output, films, tmp_path / "out", results)
    written = sorted((tmp_path / "out").glob("*.dcm"))
    assert count == len(written) == 7 and sorted(modalities(written)) == ["OT", "OT", "PR", "PR", "SR", "SR", "SR"]
    assert stat.S_IMODE((tmp_path / "out" / OBJECTS).stat().st_mode) == 0o600


def test_an_interrupted_folder_goes_on_and_keeps_what_is_there(run, films, tmp_path, monkeypatch):
    results, out = scored(run, films), tmp_path / "out"
    write, calls = DicomOutput.write, []

    def broken(self, source, *rest):
        calls.append(source.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(self, source, *rest)

    monkeypatch.setattr(DicomOutput, "write", broken)
    with DicomOutput(run, ("sr",)) as output, pytest.raises(KeyboardInterrupt):
        write_objects(output, films, out, results)
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*.dcm")}
    with DicomOutput(run, ("sr",)) as output, pytest.raises(FileExistsError, match="holds DICOM objects already"):
        write_objects(output, films, out, results)
    with DicomOutput(run, ("sr",)) as output:
        assert write_objects(output, films, out, results, resume=True) == 3
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.dcm")}
    assert first and len(after) == 3 and all(after[name] == when for name, when in first.items())
    assert len(calls) == 3 + 4 - 2


def test_objects_of_films_that_changed_are_replaced_and_others_kept(run, films, tmp_path):
    out = tmp_path / "out"
    with DicomOutput(run, ("sr",)) as output:
        write_objects(output, films, out, scored(run, films))
        before = {path.name for path in out.glob("*.dcm")}
        film(films / "one", SOPInstanceUID=f"{FILM}.9")
        write_objects(output, films, out, scored(run, films), resume=True)
    after = {path.name for path in out.glob("*.dcm")}
    assert len(before) == len(after) == 3 and len(before & after) == 2


def test_overwriting_removes_earlier_objects_and_nothing_else(run, films, tmp_path):
    out, results = tmp_path / "out", scored(run, films)
    with DicomOutput(run, ("sr",)) as output:
        write_objects(output, films, out, results)
        (out / "mine.dcm").write_text("another's")
        (out / OBJECTS).open("a").write('{"file": "x", "mark": "y", "objects": ["mine.dcm", "../films/one"]}\nbroken\n')
        assert write_objects(output, films, out, results, overwrite=True) == 3
    assert (out / "mine.dcm").exists() and (films / "one").exists() and len(list(out.glob("2.25.*"))) == 3


@pytest.mark.parametrize("place", ["films/objects", "run/objects", "file", "taken"])
def test_objects_are_not_written_where_something_could_be_lost(run, films, tmp_path, place):
    (tmp_path / "file").write_text("x")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("x")
    with DicomOutput(run, ("sr",)) as output, pytest.raises(ValueError, match="out '"):
        write_objects(output, films, tmp_path / place, scored(run, films))


# ---- identifiers go into objects and nowhere else


@pytest.fixture
def canaries(tmp_path):
    folder = tmp_path / "canaries"
    folder.mkdir()
    for name, tags in (("scored", {}), ("refused", {"Modality": "CT"})):
        dataset = canary_image(**tags)
        dataset.PatientBirthDate, dataset.StudyDate = CANARY_DATE, CANARY_DATE
        # One valid value each: the canary of a UID is one.
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            setattr(dataset, keyword, CANARY_UID)
        write(folder / name, dataset)
    return folder


def test_identifiers_are_in_the_objects_and_in_nothing_else(run, canaries, tmp_path, capfd, caplog, monkeypatch):
    out = tmp_path / "out"
    with caplog.at_level(logging.DEBUG):
        done = CliRunner().invoke(
            app,
            ["predict", str(canaries), "--run", str(run.folder), "--out", str(tmp_path / "r.csv"), "--dicom-out",
             str(out), "--workers", "1", "--keep"],
        )  # fmt: skip
    assert done.exit_code == 3, done.output
    objects = sorted(out.glob("*.dcm"))
    assert sorted(modalities(objects)) == ["OT", "PR", "SR", "SR"]
    for path in objects:
        found = pydicom.dcmread(path)
        assert found.PatientName == CANARY and found.PatientID == CANARY and found.StudyInstanceUID == CANARY_UID
        assert found.PatientBirthDate == found.StudyDate == CANARY_DATE
        # What is not needed to find the patient and the study again is not taken along.
        for keyword in ("StudyDescription", "PatientAddress", "PatientComments", "InstitutionName", "OperatorsName"):
            assert keyword not in found, keyword
    shown = done.output + " ".join(capfd.readouterr()) + caplog.text
    assert leaks(shown) == []
    left = [
        tmp_path / "r.csv",
        out / OBJECTS,
        *(path for path in run.folder.rglob("*") if path.suffix in (".csv", ".json")),
    ]
    assert [path.name for path in left if leaks(path.read_text(encoding="utf-8", errors="replace"))] == []


def test_errors_repeat_no_identifier(run, tmp_path, caplog, capfd):
    dataset = canary_image()
    raw(dataset, "PatientID", "LO", CANARY.encode() * 4)
    path = write(tmp_path / "film", dataset)
    caplog.clear()
    with caplog.at_level(logging.DEBUG), DicomOutput(run) as output, pytest.raises(NotDescribable) as raised:
        output.write(path, record("film"), tmp_path / "out")
    told = str(raised.value) + repr(raised.value.__context__) + caplog.text + " ".join(capfd.readouterr())
    assert leaks(told) == []


def test_the_command_refuses_before_anything_is_scored(run, films, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("scored")

    monkeypatch.setattr(sys.modules["chexkeras.inference.score_folder"], "score_folder", never)
    shared = ["predict", str(films), "--run", str(run.folder), "--out", str(tmp_path / "r.csv"), "--dicom-out"]
    for place, more, said in (
        (films / "objects", [], "lies in the folder that is scored"),
        (run.folder / "objects", [], "lies in the run folder"),
        (tmp_path / "out", ["--kinds", "sr,xx"], "xx"),
        (tmp_path / "out", ["--kinds", ""], "kinds"),
    ):
        done = CliRunner().invoke(app, [*shared, str(place), *more])
        assert done.exit_code == 2 and said in " ".join(done.output.split()), done.output
    assert not (tmp_path / "r.csv").exists() and not (tmp_path / "out").exists()


def test_the_command_goes_on_with_its_objects(run, films, tmp_path):
    call = ["predict", str(films), "--run", str(run.folder), "--out", str(tmp_path / "r.csv"), "--dicom-out",
            str(tmp_path / "out"), "--kinds", "sr", "--workers", "0"]  # fmt: skip
    assert CliRunner().invoke(app, call).exit_code == 3
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.dcm")}
    assert CliRunner().invoke(app, call).exit_code == 2
    done = CliRunner().invoke(app, [*call, "--resume"])
    assert done.exit_code == 3 and "3 DICOM objects" in done.output, done.output
    assert first == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.dcm")}


def test_kinds_are_named_in_the_help():
    for kind in KINDS:
        assert f"'{kind}'" in CliRunner().invoke(app, ["predict", "--help"], env={"COLUMNS": "300"}).output
