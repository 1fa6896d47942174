"""The whole node on a toy run: films in, results back, ended in order and by force."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from chexkeras.node.metrics import as_text
from chexkeras.node.node import Node
from tests.node.conftest import ARCHIVE, CALLER, NODE
from tests.node.hostile import data_set_of

pytestmark = [pytest.mark.keras, pytest.mark.slow]
DX, EXPLICIT = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.1"
SECONDS = 120


def wait_for(condition, seconds=SECONDS):
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.02)
    return found


def lines(spool):
    path = Path(spool) / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def changed(path, to, **values):
    """Writes a film with other values under another UID."""
    from pydicom import dcmread

    data = dcmread(path)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"{data.SOPInstanceUID[:50]}.1"
    data.save_as(to)
    return to


def test_films_come_back_as_results_bound_to_their_studies(toy_run, told, peer, calling, films, tmp_path, capfd):
    from pydicom import dcmread

    canary = "CANARY^PATIENT"
    child = changed(films[0], tmp_path / "child.dcm", PatientAge="007Y", PatientName=canary, PatientID="CANARY7")
    named = changed(films[1], tmp_path / "named.dcm", PatientName=canary, PatientID="CANARY7")
    settings = told(peer.port)
    with Node(toy_run, settings) as node:
        association = calling(node.receiver.port, (DX, [EXPLICIT]))
        for film in (*films[2:], child, named, named):
            assert association.send_c_store(film).Status == 0x0000
        wait_for(lambda: node.spool.counts()["done"] == 6)
        health = json.load(urllib.request.urlopen(f"http://127.0.0.1:{node.server.port}/health", timeout=5))
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{node.server.port}/metrics", timeout=5).read().decode()
        node._check_parts()
    assert health["status"] == "ok" and health["waiting"] == 0
    studies = {dcmread(film, stop_before_pixels=True).StudyInstanceUID for film in (*films[2:], child, named)}
    assert {result.StudyInstanceUID for result in peer.held.values()} == studies and len(peer.held) == 6
    # What the gate refuses is reported as not assessed; the patient's name goes back to the archive, and nowhere else.
    kept = lines(settings.spool)
    (refused,) = [line for line in kept if line["verdict"] == "reject"]
    assert refused["codes"] and not refused["findings"]
    assert len(kept) == 6 and all(line["outcome"] == "sent" for line in kept)
    assert {str(result.PatientName) for result in peer.held.values()} >= {canary}
    told_anywhere = json.dumps(kept) + metrics + "".join(capfd.readouterr())
    assert "CANARY" not in told_anywhere and "2.25." not in told_anywhere and "PHANTOM" not in told_anywhere
    assert "chexkeras_node_again_total 1" in metrics
    assert 'chexkeras_node_drift_high{of="positive calls",finding="Effusion"}' in metrics
    # Nothing of a film is left.
    assert [path.name for path in settings.spool.rglob("*.dcm")] == []


def test_scores_are_those_of_predict(toy_run, told, peer, calling, films):
    from chexkeras.inference.predictor import Predictor

    expected = {}
    for record in Predictor.load(toy_run).records(films):
        expected[Path(record["file"]).name] = record["findings"][0]
    settings = told(peer.port)
    with Node(toy_run, settings) as node:
        association = calling(node.receiver.port, (DX, [EXPLICIT]))
        for film in films:
            association.send_c_store(film)
        wait_for(lambda: node.spool.counts()["done"] == len(films))
        names = {node.spool.name_of(data_set_of(film)[0].decode())[:16]: film.name for film in films}
    for line in lines(settings.spool):
        entry = expected[names[line["film"]]]
        assert line["findings"]["Effusion"]["score"] == pytest.approx(entry["score"], abs=2e-6)
        assert line["findings"]["Effusion"]["call"] == entry["decision"]


def test_refused_film_is_silent_where_that_is_asked_for(toy_run, told, peer, calling, films, tmp_path):
    child = changed(films[0], tmp_path / "child.dcm", PatientAge="007Y")
    settings = told(peer.port, refused="silent")
    with Node(toy_run, settings) as node:
        assert calling(node.receiver.port, (DX, [EXPLICIT])).send_c_store(child).Status == 0x0000
        wait_for(lambda: node.spool.counts()["done"] == 1)
    assert peer.offered == []
    assert [line["outcome"] for line in lines(settings.spool)] == ["nothing to send"]


def test_object_that_is_no_image_is_put_aside_or_reported_and_the_node_goes_on(toy_run, told, peer, calling, films):
    import socket

    from tests.node import hostile

    settings = told(peer.port)
    with Node(toy_run, settings) as node:
        with socket.create_connection(("127.0.0.1", node.receiver.port), timeout=10) as to:
            to.sendall(hostile.associate(CALLER, NODE))
            to.recv(65_536)
            for number, data in enumerate((b"\x00" * 40, os.urandom(5_000), data_set_of(films[0])[1][:3_000])):
                to.sendall(b"".join(hostile.store(b"1.2.%d" % (number + 1), data)))
                to.recv(65_536)
        association = calling(node.receiver.port, (DX, [EXPLICIT]))
        association.send_c_store(films[1])
        wait_for(lambda: node.spool.queue_length == 0)
        node._check_parts()
        counts = node.spool.counts()
    assert counts["done"] + counts["dead"] == 4 and counts["done"] >= 1


def test_part_that_fails_ends_the_node_instead_of_leaving_films_unscored(toy_run, told, calling, films, monkeypatch):
    from chexkeras.node.spool import Spool

    def broken(*_):
        raise ZeroDivisionError("a name that nobody should read")

    with Node(toy_run, told()) as node:
        wait_for(lambda: node.scorer.is_ready)
        monkeypatch.setattr(Spool, "claim", broken)
        with pytest.raises(RuntimeError, match=r"scorer ended .ZeroDivisionError."):
            node.run()


def test_full_disk_while_results_are_made_delays_them(toy_run, told, peer, calling, films, monkeypatch):
    import errno

    from chexkeras.delivery.dicom_output import DicomOutput

    real, left = DicomOutput.write, iter(range(2))

    def full(*arguments):
        if next(left, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(DicomOutput, "write", full)
    monkeypatch.setattr("chexkeras.node.scorer._PAUSE_SECONDS", 0.05)
    settings = told(peer.port)
    with Node(toy_run, settings) as node:
        assert calling(node.receiver.port, (DX, [EXPLICIT])).send_c_store(films[0]).Status == 0x0000
        wait_for(lambda: node.spool.counts()["done"] == 1)
        assert node.metrics.value("scored") == 1
    assert len(peer.offered) == 1 and [line["outcome"] for line in lines(settings.spool)] == ["sent"]


def test_film_that_cannot_be_described_is_put_aside_with_the_reason_in_words(
    toy_run, told, calling, films, monkeypatch
):
    from chexkeras.delivery.dicom_output import DicomOutput
    from chexkeras.dicom.objects.source import NotDescribable

    def nameless(*_):
        raise NotDescribable("the film has no Study Instance UID.")

    monkeypatch.setattr(DicomOutput, "write", nameless)
    settings = told()
    with Node(toy_run, settings) as node:
        assert calling(node.receiver.port, (DX, [EXPLICIT])).send_c_store(films[0]).Status == 0x0000
        wait_for(lambda: node.spool.counts()["dead"] == 1)
        (why,) = (settings.spool / "dead").rglob("why.json")
        assert json.loads(why.read_text())["reason"] == "no result: the film has no Study Instance UID."
    assert [line["why"] for line in lines(settings.spool)] == ["no result: the film has no Study Instance UID."]


def test_metrics_name_what_made_the_results(toy_run, told):
    node = Node(toy_run, told())
    try:
        (info,) = [line for line in as_text(node.samples()).splitlines() if line.startswith("chexkeras_node_info")]
        assert f'run="{node.scorer.fingerprint}"' in info and 'highdicom="' in info and 'pynetdicom="' in info
    finally:
        node.close()


def test_drift_is_said_once_for_as_long_as_it_lasts(toy_run, told, capsys):
    from chexkeras.node.drift import DriftWatch, charts_of

    node = Node(toy_run, told())
    try:
        node.scorer.drift = DriftWatch(charts_of(toy_run), node.spool.folder)
        node._say_drift()
        record = {"verdict": "accept", "findings": [{"finding": "Effusion", "score": 1.0}]}
        node.scorer.drift.add([record] * 100)
        for _ in range(3):
            node._say_drift()
        assert 'drift_alarm{of="positive calls",finding="Effusion"} 1' in as_text(node.samples())
    finally:
        node.close()
    lines = [line for line in capsys.readouterr().err.split("drift: ") if "positive calls" in line]
    assert len(lines) == 1 and "100 of the last 100" in " ".join(lines[0].split())


def test_missing_run_and_unknown_kind_are_told_before_anything_listens(toy_run, told, tmp_path):
    with pytest.raises((FileNotFoundError, ValueError)):
        Node(tmp_path / "none", told())
    with pytest.raises(ValueError, match="kinds"):
        Node(toy_run, told(kinds=("xx",)))
    assert not (tmp_path / "spool").exists()


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(run, peer_port, port, spool, log):
    command = [sys.executable, "-m", "chexkeras", "node", "--run", str(run.folder), "--aet", NODE, "--allow", CALLER,
               "--peer", f"{ARCHIVE}@127.0.0.1:{peer_port}", "--port", str(port), "--spool", str(spool),
               "--metrics-port", "0"]  # fmt: skip
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    with open(log, "ab") as handle:
        return subprocess.Popen(command, stdout=handle, stderr=handle, env=environment)


@pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk is not installed")
def test_killed_node_loses_nothing_sends_nothing_twice_and_ends_in_order(toy_run, peer, films, tmp_path):
    port, spool, log = free_port(), tmp_path / "spool", tmp_path / "log.txt"
    # Each film under eight UIDs.
    folder = tmp_path / "films"
    folder.mkdir()
    for film in films:
        content, uid = film.read_bytes(), data_set_of(film)[0]
        for number in range(8):
            other = uid[:-2] + b"%02d" % number
            (folder / f"{film.stem}-{number}.dcm").write_bytes(content.replace(uid, other))
    waiting = sorted(folder.iterdir())
    node = started(toy_run, peer.port, port, spool, log)
    try:
        for kill_at in (3, 17):
            while waiting:
                sent = subprocess.run(["storescu", "-aet", CALLER, "-aec", NODE, "127.0.0.1", str(port),
                                       str(waiting[0])], capture_output=True, check=False)  # fmt: skip
                if sent.returncode == 0:
                    waiting.pop(0)
                elif node.poll() is not None:
                    pytest.fail(log.read_text()[-2_000:])
                if len(lines(spool)) >= kill_at or len(waiting) == 24 - kill_at:
                    break
            node.send_signal(signal.SIGKILL)
            node.wait()
            node = started(toy_run, peer.port, port, spool, log)
        whole = ["storescu", "-aet", CALLER, "-aec", NODE, "127.0.0.1", str(port), *map(str, sorted(folder.iterdir()))]
        wait_for(lambda: subprocess.run(whole, capture_output=True, check=False).returncode == 0)
        wait_for(lambda: len(lines(spool)) == 48)
        node.send_signal(signal.SIGTERM)
        assert node.wait(60) == 0
    finally:
        node.kill()
        node.wait()
    assert len(peer.held) == 48 and len(peer.offered) == 48
    assert len({line["film"] for line in lines(spool)}) == 48
    assert "ended; 0 films wait in the spool" in log.read_text()
    assert "Traceback" not in log.read_text()
