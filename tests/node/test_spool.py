import json
import multiprocessing
import os
import signal
import stat
import time

import pytest

from chexkeras.node import spool as spools
from chexkeras.node.settings import NodeLimits
from chexkeras.node.spool import Spool, SpoolFull

LIMITS = NodeLimits(free_bytes=0, attempts=3)


@pytest.fixture
def opened(tmp_path):
    made = []

    def make(folder=None, limits=LIMITS, **options):
        for each in made:
            each.close()
        made.append(Spool(folder or tmp_path / "spool", limits, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def scored(spool, uid="1.2.3", results=("a", "b")):
    assert spool.receive(uid, b"head", b"data")
    film = spool.claim(0)
    film.results.mkdir()
    for name in results:
        (film.results / f"{name}.dcm").write_bytes(b"result")
    return spool.commit(film, {"verdict": "accept"})


def test_film_goes_from_place_to_place(opened):
    spool = opened()
    film = scored(spool)
    assert spool.counts() == {"received": 0, "scoring": 0, "scored": 1, "done": 0, "dead": 0}
    assert [path.name for path in film.unsent] == ["a.dcm", "b.dcm"]
    for path in film.unsent:
        spool.note_sent(film, path)
    assert (film.unsent, film.sent_count) == ([], 2)
    spool.finish(film, {"outcome": "sent"})
    assert spool.counts()["done"] == 1 and spool.queue_length == 0
    assert [path.name for path in (spool.folder / "done").iterdir()] == [f"{film.name}.json"]
    assert not [path for path in spool.folder.rglob("film.dcm")]


def test_done_film_is_known_after_a_start(opened):
    spool = opened()
    spool.finish(scored(spool), {"outcome": "sent"})
    again = opened()
    assert not again.receive("1.2.3", b"", b"data")
    assert again.claim(0) is None and again.to_send(0) == []


def test_originals_are_kept_where_that_is_asked_for(opened):
    spool = opened(keep_originals=True)
    spool.finish(scored(spool), {"outcome": "sent"})
    assert (spool.folder / "kept" / spool.name_of("1.2.3") / "film.dcm").read_bytes() == b"headdata"
    assert spool.keeps("1.2.3") and not spool.keeps("1.2.4")


def test_film_is_forgotten_after_its_days(opened):
    spool = opened()
    spool.finish(scored(spool), {"outcome": "sent"})
    assert spool.forget_old() == 0
    old = time.time() - 91 * 86_400
    os.utime(spool.folder / "done" / f"{spool.name_of('1.2.3')}.json", (old, old))
    assert spool.forget_old() == 1
    assert spool.receive("1.2.3", b"", b"data")


def test_scoring_that_was_cut_short_begins_again_without_half_results(opened):
    spool = opened()
    spool.receive("1.2.3", b"", b"data")
    film = spool.claim(0)
    film.results.mkdir()
    (film.results / "half.dcm").write_bytes(b"ha")
    again = opened()
    film = again.claim(0)
    assert film.attempts == 1 and not film.results.exists()


def test_committed_score_stays_though_the_process_ended_before_the_folder_moved(opened, monkeypatch):
    spool = opened()
    spool.receive("1.2.3", b"", b"data")
    film = spool.claim(0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(spools.os, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        spool.commit(film, {"verdict": "accept"})
    again = opened()
    assert again.claim(0) is None
    (film,) = again.to_send(0)
    assert film.record == {"verdict": "accept"}


def test_film_that_ends_the_process_each_time_is_put_aside(opened):
    spool = opened()
    spool.receive("1.2.3", b"", b"data")
    for _ in range(3):
        assert spool.claim(0)
        spool = opened()
    assert spool.claim(0) is None and spool.counts()["dead"] == 1
    assert "ended" in json.loads(next(spool.folder.glob("dead/*/why.json")).read_text())["reason"]


def test_films_that_may_have_ended_the_process_are_scored_one_at_a_time(opened):
    spool = opened()
    for number in range(3):
        spool.receive(f"1.2.{number}", b"", b"data")
    for _ in range(2):
        assert spool.claim(0) and spool.claim(0)
        spool = opened()
    # The first two were in hand twice, the third never.
    first = spool.claim(0)
    assert first.attempts == 2 and spool.claim(0) is None
    spool.commit(first, {})
    second = spool.claim(0)
    assert second.attempts == 2 and spool.claim(0) is None
    spool.give_back(second)
    assert spool.claim(0).name == second.name and spool.claim(0) is None
    spool.bury(second.__class__(second.name, spool.folder / "scoring" / second.name, 0.0), {"reason": "x"})
    assert spool.claim(0).attempts == 0


def test_film_that_may_have_ended_the_process_waits_for_those_in_hand(opened):
    spool = opened()
    for number in range(2):
        spool.receive(f"1.2.{number}", b"", b"data")
    for _ in range(2):
        first, _ = spool.claim(0), spool.claim(0)
        spool.give_back(first)
        spool = opened()
    # The older film was never in hand at an end, the younger one twice.
    first = spool.claim(0)
    assert first.attempts == 0 and spool.claim(0) is None
    spool.commit(first, {})
    assert spool.claim(0).attempts == 2


def test_films_that_were_put_aside_are_tried_again_when_asked(opened):
    spool = opened()
    film = scored(spool)
    assert spool.tries(film, add=1) == 1
    spool.bury(film, {"reason": "refused"})
    spool = opened()
    assert spool.to_send(0) == [] and not spool.receive("1.2.3", b"", b"data")
    assert spool.revive() == 1
    (film,) = spool.to_send(0)
    assert spool.tries(film) == 0 and len(film.unsent) == 2


def test_finished_film_whose_removal_was_cut_short_is_gone_after_a_start(opened, monkeypatch):
    spool = opened()
    film = scored(spool)
    with monkeypatch.context() as patch:
        patch.setattr(spools.shutil, "rmtree", lambda folder, **_: os.unlink(folder / "film.dcm"))
        spool.finish(film, {"outcome": "sent"})
    opened()
    left = [path for path in spool.folder.rglob("*") if path.is_file() and path.parent != spool.folder]
    assert [path.parent.name for path in left] == ["done"]


def test_not_acknowledged_film_is_removed_at_the_start(opened):
    spool = opened()
    (spool.folder / "incoming" / "x").mkdir()
    (spool.folder / "incoming" / "x" / "film.dcm").write_bytes(b"half")
    opened()
    assert not list((spool.folder / "incoming").iterdir())


def test_queue_counts_what_is_not_done(opened):
    spool = opened(limits=NodeLimits(free_bytes=0, waiting=2))
    film = scored(spool, "1.2.1")
    assert spool.receive("1.2.2", b"", b"data")
    with pytest.raises(SpoolFull, match="queue"):
        spool.receive("1.2.3", b"", b"data")
    spool.finish(film, {})
    assert spool.receive("1.2.3", b"", b"data")


def test_files_are_for_their_owner_alone(opened):
    spool = opened()
    scored(spool)
    for path in spool.folder.rglob("*"):
        if path.name not in ("a.dcm", "b.dcm", "results", "lock"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_second_node_on_the_same_spool_is_refused(opened, tmp_path):
    opened()
    with pytest.raises(FileExistsError, match="another node"):
        Spool(tmp_path / "spool", LIMITS)


def test_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="something else"):
        Spool(tmp_path, LIMITS)


def test_key_of_the_environment_has_to_stay(opened, monkeypatch):
    monkeypatch.setenv("CHEXKERAS_HASH_KEY", "first")
    spool = opened()
    name = spool.name_of("1.2.3")
    assert "first" not in (spool.folder / "key").read_text()
    assert opened().name_of("1.2.3") == name
    for other in ("second", None):
        monkeypatch.setenv("CHEXKERAS_HASH_KEY", other) if other else monkeypatch.delenv("CHEXKERAS_HASH_KEY")
        with pytest.raises(ValueError, match="key"):
            opened()


def test_names_are_those_of_the_keyed_hash(opened):
    from chexkeras.dicom.privacy import keyed_hash

    spool = opened()
    assert spool.name_of("1.2.3")[:16] == keyed_hash("1.2.3", spool.key)


def _churn(folder, told):
    """Receives, scores and finishes films without an end, until the process is killed."""
    spool, number = Spool(folder, LIMITS), 0
    while True:
        number += 1
        uid = f"1.{os.getpid()}.{number}"
        spool.receive(uid, b"head", b"data" * 100)
        os.write(told, f"{spool.name_of(uid)}\n".encode())
        if film := spool.claim(0):
            film.results.mkdir(exist_ok=True)
            (film.results / "a.dcm").write_bytes(b"result")
            film = spool.commit(film, {"film": film.name})
            if number % 3:
                for path in film.unsent:
                    spool.note_sent(film, path)
                spool.finish(film, {"outcome": "sent"})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path, opened):
    folder, context, acknowledged = tmp_path / "spool", multiprocessing.get_context("fork"), set()
    limits = NodeLimits(free_bytes=0, attempts=100)
    for pause in (0.03, 0.07, 0.11, 0.17, 0.23):
        read, write = os.pipe()
        process = context.Process(target=_churn, args=(folder, write), daemon=True)
        process.start()
        os.close(write)
        first = os.read(read, 33)
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        content = first
        while piece := os.read(read, 65_536):
            content += piece
        os.close(read)
        acknowledged |= set(content.decode().split("\n")[:-1])
    spool = opened(limits=limits)
    assert len(acknowledged) > 5
    known = {name for name, place in spool._where.items()}
    assert acknowledged <= known
    counts = spool.counts()
    assert counts["dead"] == 0 and counts["scoring"] == 0
    for film in spool.to_send(0):
        assert film.record == {"film": film.name} and len(film.unsent) + film.sent_count == 1
        assert film.path.read_bytes() == b"head" + b"data" * 100
    while film := spool.claim(0):
        assert film.path.read_bytes() == b"head" + b"data" * 100
