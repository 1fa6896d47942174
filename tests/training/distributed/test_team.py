"""Processes that train together find each other and speak; here they are threads of one process."""

import contextlib
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from chexkeras.training.distributed.connection import Dismissed, WorkerGone
from chexkeras.training.distributed.membership import Membership
from chexkeras.training.distributed.team import Team, check_batch

VERSIONS = {"keras": "3.0", "jax": "0.5"}


def free_port():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def joined(count, *, versions=None, keys=None, arriving=None, seconds=60.0):
    """Returns what each of several workers gets from joining: its team, or the error."""
    port = free_port()

    def one(number):
        member = Membership(count, number, "127.0.0.1", port, key=(keys or {}).get(number, "word"))
        try:
            return Team.join(member, (versions or {}).get(number, VERSIONS), seconds)
        except (ValueError, WorkerGone) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count) if arriving is None else arriving))


@pytest.fixture
def teams():
    with contextlib.ExitStack() as opened:
        found = joined(3)
        for each in found:
            opened.callback(each.close)
        yield found


def test_the_first_tells_and_the_others_hear_in_order_with_bytes(teams):
    first, *others = teams
    assert first.leads
    assert not any(each.leads for each in others)
    first.tell({"n": 1}, [b"ab", b""])
    first.tell({"n": 2})
    for each in others:
        assert each.hear() == ({"n": 1}, [b"ab", b""])
        assert each.hear() == ({"n": 2}, [])


def test_all_wait_for_all(teams):
    here = []
    with ThreadPoolExecutor(3) as pool:

        def arrive(team):
            here.append(team.number)
            team.wait_for_all()
            return len(here)

        assert set(pool.map(arrive, teams)) == {3}


def test_a_worker_that_ends_is_lost_to_the_first_by_name(teams):
    teams[2].close()
    with pytest.raises(WorkerGone, match=r"worker 2 of 3 \(process \d+ on .*\) is lost .*every epoch .* is kept"):
        teams[0].wait_for_all()


def test_a_worker_that_fails_says_why(teams):
    teams[1].close(ValueError("no image here"))
    with pytest.raises(WorkerGone, match=r"worker 1 of 3 .*no image here"):
        teams[0].wait_for_all()


def test_the_end_of_the_first_dismisses_the_others_and_its_loss_is_told(teams):
    teams[0].close(ValueError("the run is there already"))
    for each in teams[1:]:
        with pytest.raises(Dismissed, match="the run is there already"):
            each.hear()


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_what_the_loss_of_a_worker_leads_to_is_told_as_its_loss(teams, kind):
    teams[1].close()
    with pytest.raises(WorkerGone, match="worker 1 of 3"), teams[0].watching():
        raise kind("UNKNOWN: Gloo AllGather failed: connection closed by peer")


def test_the_others_stay_until_the_first_is_done(teams, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(distributed=SimpleNamespace(shutdown=lambda: None)))
    with ThreadPoolExecutor(3) as pool:
        parted = [pool.submit(each.part) for each in teams]
        parted[0].result()
        assert not any(each.done() for each in parted[1:])
        teams[0].close()
        for each in parted:
            each.result()


def test_an_error_of_this_process_itself_is_told_as_it_is(teams):
    with pytest.raises(ValueError, match="too few"), teams[0].watching():
        raise ValueError("too few")


def test_workers_of_other_versions_are_refused_on_both_sides():
    first, second = joined(2, versions={1: {**VERSIONS, "jax": "0.9"}})
    assert isinstance(first, ValueError)
    assert "jax 0.9 there and 0.5 here" in str(first)
    assert isinstance(second, ValueError)
    assert "install the same" in str(second)


def test_who_does_not_know_the_word_is_turned_away_and_the_training_waits_on():
    first, second = joined(2, keys={1: "another"}, seconds=3.0)
    assert isinstance(second, ValueError)
    assert "CHEXKERAS_WORKERS_KEY" in str(second)
    assert isinstance(first, WorkerGone)
    assert "of 2 workers 1 did not arrive" in str(first)


def test_a_first_worker_that_cannot_be_reached_is_named_with_its_address():
    (alone,) = joined(2, arriving=[1], seconds=0.5)
    assert isinstance(alone, WorkerGone)
    assert "worker 1 of 2 cannot reach worker 0 at 127.0.0.1:" in str(alone)


def test_workers_that_do_not_come_are_named():
    (alone,) = joined(3, arriving=[0], seconds=0.5)
    assert isinstance(alone, WorkerGone)
    assert "of 3 workers 1, 2 did not arrive at 127.0.0.1:" in str(alone)


def test_a_stranger_at_the_port_does_not_disturb():
    port = free_port()
    members = [Membership(2, number, "127.0.0.1", port) for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Team.join, members[0], VERSIONS, 60.0)
        stranger = None
        while stranger is None:
            with contextlib.suppress(OSError):
                stranger = socket.create_connection(("127.0.0.1", port))
        # A web browser, and one that claims to send very much.
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n")
        other = socket.create_connection(("127.0.0.1", port))
        other.sendall(b"\xff" * 8)
        second = pool.submit(Team.join, members[1], VERSIONS, 60.0)
        teams = [first.result(), second.result()]
    teams[0].tell({"fine": True})
    assert teams[1].hear() == ({"fine": True}, [])
    for each in (*teams, stranger, other):
        each.close()


def test_a_batch_has_an_image_for_every_worker():
    check_batch(4, 4)
    with pytest.raises(ValueError, match=r"4 workers cannot share batches of 3 image\(s\).*batch_size"):
        check_batch(3, 4)
