import json
import os
import time

import pytest

from chexkeras.node.audit_log import AuditLog
from chexkeras.node.metrics import Metrics
from chexkeras.node.sender import Sender
from chexkeras.node.spool import Spool
from tests.node.conftest import Peer


def wait_for(condition, seconds=20.0):
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.01)
    return found


def result(folder, uid, *, sop_class="1.2.840.10008.5.1.4.1.1.88.33"):
    """Writes a small object such as a result is."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientID = "1.2.3", "1.2.3.4", "PHANTOM"
    folder.mkdir(exist_ok=True)
    made.save_as(folder / f"{uid}.dcm", enforce_file_format=True)


@pytest.fixture
def sending(told):
    """Returns a sender with a spool of scored films; started by the test."""
    made = []

    def make(peer_port, films=3, results=1, limits=None, tls=None, **kinds):
        settings = told(peer_port, limits=limits, tls=tls)
        spool = Spool(settings.spool, settings.limits)
        for number in range(films):
            if spool.receive(f"1.2.{number}", b"head", b"data"):
                film = spool.claim(0)
                for each in range(results):
                    result(film.results, f"2.25.{number + 1}{each}", **kinds)
                spool.commit(film, {"verdict": "accept"})
        log = AuditLog(spool.folder, spool.unfinished())
        sender = Sender(settings, spool, Metrics(), log)
        sender.spool, sender.metrics, sender.log = spool, sender._metrics, log
        made.append(sender)
        return sender

    def end(sender):
        sender.close()
        sender.log.close()
        sender.spool.close()
        made.remove(sender)

    make.end = end
    yield make
    for sender in list(made):
        end(sender)


def lines(sender):
    return [json.loads(line) for line in sender.log.path.read_text().splitlines()]


def test_every_result_is_sent_once_and_written_down_once(sending, peer):
    sender = sending(peer.port, results=2)
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 3)
    assert sorted(peer.offered) == sorted(f"2.25.{n}{k}" for n in range(1, 4) for k in range(2))
    assert [line["outcome"] for line in lines(sender)] == ["sent"] * 3
    assert [line["results"] for line in lines(sender)] == [2] * 3
    assert sender.metrics.value("results") == 6


def test_films_wait_for_a_peer_that_is_down(sending):
    peer = Peer().start()
    port = peer.port
    peer.stop()
    sender = sending(port, limits={"tries": 2})
    sender.start()
    wait_for(lambda: sender.metrics.value("send_failures", "peer cannot be reached") >= 4)
    assert not sender.peer_is_up and sender.spool.counts()["scored"] == 3
    peer.start(port)
    wait_for(lambda: sender.spool.counts()["done"] == 3)
    assert sender.peer_is_up and sorted(peer.offered) == ["2.25.10", "2.25.20", "2.25.30"]
    peer.stop()


def test_film_whose_result_is_refused_becomes_a_dead_letter_and_the_others_go(sending, peer):
    peer.answer = lambda uid: 0xA900 if uid == "2.25.20" else 0x0000
    sender = sending(peer.port, limits={"tries": 3, "longest_pause_seconds": 0.05})
    sender.start()
    wait_for(lambda: sender.spool.counts() == {"received": 0, "scoring": 0, "scored": 0, "done": 2, "dead": 1})
    assert peer.offered.count("2.25.20") == 3
    (line,) = [line for line in lines(sender) if line["outcome"] == "dead"]
    assert "0xA900" in line["why"]
    (folder,) = (sender.spool.folder / "dead").iterdir()
    assert "3 times" in json.loads((folder / "why.json").read_text())["reason"]
    assert (folder / "results" / "2.25.20.dcm").is_file()


def test_peer_without_room_is_no_fault_of_the_film(sending, peer):
    answers = iter([0xA700] * 6)
    peer.answer = lambda uid: next(answers, 0x0000)
    sender = sending(peer.port, films=1, limits={"tries": 2, "longest_pause_seconds": 0.05})
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 1)
    assert sender.metrics.value("send_failures", "peer has no room") == 6


def test_results_go_encrypted_to_a_peer_whose_certificate_is_known_and_to_no_other(sending, certificates):
    from chexkeras.node.settings import Tls

    def tls(name, authority="ca.pem"):
        return Tls(certificates / f"{name}.pem", certificates / f"{name}.key", certificates / authority, to_peer=True)

    peer = Peer().start(tls=tls("stranger").server_context())
    sender = sending(peer.port, films=1, tls=tls("node"))
    sender.start()
    wait_for(lambda: sender.metrics.value("send_failures", "peer cannot be reached") >= 2)
    port = peer.port
    peer.stop()
    peer.start(port, tls=tls("caller").server_context())
    wait_for(lambda: sender.spool.counts()["done"] == 1)
    assert peer.offered == ["2.25.10"]
    peer.stop()


def test_warning_counts_as_taken(sending, peer):
    peer.answer = 0xB000
    sender = sending(peer.port, films=1)
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 1)


def test_peer_that_takes_no_such_objects_makes_a_dead_letter(sending, peer):
    sender = sending(peer.port, films=1, sop_class="1.2.840.10008.5.1.4.1.1.66.4",
                     limits={"tries": 2, "longest_pause_seconds": 0.05})  # fmt: skip
    sender.start()
    wait_for(lambda: sender.spool.counts()["dead"] == 1)
    assert peer.offered == []


def test_lost_answer_is_asked_for_and_nothing_is_sent_twice(sending, peer):
    peer.before_answer = lambda event: (setattr(peer, "before_answer", None), event.assoc.abort())
    sender = sending(peer.port, films=1)
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 1)
    assert peer.offered == ["2.25.10"]
    assert sender.metrics.value("results", "found there") == 1


def test_result_offered_by_a_process_that_was_ended_is_asked_for(sending, peer, told):
    from pydicom import dcmread

    sender = sending(peer.port, films=2)
    first, second = sender.spool.to_send(0)
    for film in (first, second):
        sender.spool.note_offered(film, film.unsent[0])
    # The first arrived, the second did not.
    peer.held["2.25.10"] = dcmread(first.unsent[0])
    sending.end(sender)
    sender = sending(peer.port, films=2)
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 2)
    assert peer.offered == ["2.25.20"]


def test_peer_that_answers_no_questions_gets_the_result_again(sending, peer):
    def unable(event):
        yield 0xC000, None

    from pynetdicom import evt

    peer.stop()
    peer.handlers[1] = (evt.EVT_C_FIND, unable)
    peer.start()
    peer.before_answer = lambda event: (setattr(peer, "before_answer", None), event.assoc.abort())
    sender = sending(peer.port, films=1)
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 1)
    assert peer.offered == ["2.25.10"] * 2


def test_line_written_before_the_end_of_the_process_is_not_written_again(sending, peer):
    sender = sending(peer.port, films=1)
    (film,) = sender.spool.to_send(0)
    sender.spool.note_sent(film, film.unsent[0])
    sender.log.write(film.name, {"outcome": "sent", "results": 1})
    sending.end(sender)
    sender = sending(peer.port, films=1)
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 1)
    assert len(lines(sender)) == 1 and peer.offered == []


def test_full_disk_delays_and_neither_sends_nor_writes_down_twice(sending, peer, monkeypatch):
    import errno

    from chexkeras.node import sender as senders
    from chexkeras.node import spool as spools

    def failing(times, real):
        left = iter(range(times))

        def work(*arguments):
            if next(left, None) is not None:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        return work

    monkeypatch.setattr(senders, "_PAUSE_SECONDS", 0.01)
    sender = sending(peer.port, films=2)
    monkeypatch.setattr(spools, "write_through", failing(2, spools.write_through))
    monkeypatch.setattr(spools, "write_json", failing(2, spools.write_json))
    sender.start()
    wait_for(lambda: sender.spool.counts()["done"] == 2)
    assert sorted(peer.offered) == ["2.25.10", "2.25.20"]
    assert len(lines(sender)) == 2
    assert sender.metrics.value("send_failures", "not noted (OSError ENOSPC)") == 4


def test_half_a_line_is_taken_back(tmp_path, monkeypatch):
    import errno

    log, write = AuditLog(tmp_path), os.write
    with monkeypatch.context() as patch:
        patch.setattr("chexkeras.node.audit_log.os.write", lambda handle, content: write(handle, content[:20]))
        with pytest.raises(OSError) as caught:
            log.write("a" * 32, {"outcome": "sent"})
    assert caught.value.errno == errno.ENOSPC
    assert log.write("a" * 32, {"outcome": "sent"}) and not log.write("a" * 32, {"outcome": "sent"})
    log.settle("a" * 32)
    assert log.write("a" * 32, {"outcome": "sent"})
    log.close()
    assert [json.loads(line)["film"] for line in log.path.read_text().splitlines()] == ["a" * 16] * 2


def test_line_that_was_cut_short_is_ended(tmp_path):
    (tmp_path / "audit.jsonl").write_text('{"film": "a", "outcome": "sent"}\n{"film": "b", "outc')
    log = AuditLog(tmp_path, ["b" * 32])
    assert log.write("b" * 32, {"outcome": "sent"})
    log.close()
    last = (tmp_path / "audit.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["outcome"] == "sent"


def test_long_log_is_put_aside_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("chexkeras.node.audit_log._MOST_BYTES", 300)
    log = AuditLog(tmp_path)
    for number in range(10):
        log.write(f"{number:032d}"[::-1], {"outcome": "sent", "more": "x" * 40})
    log.close()
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    assert len(kept.splitlines()) == 10
