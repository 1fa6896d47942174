"""Where work is done: what may be said of it, and what is told before any work where it cannot be done there."""

import builtins
import importlib.util
import socket

import pytest

from chexkeras.parallel import HERE, SharedFiles, WorkersUnavailable, Workplace, map_ordered, place_of
from chexkeras.parallel.cluster import check_worker, versions


def test_work_is_done_here_unless_asked_otherwise(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert place_of("processes") == HERE
    assert HERE.cluster is None and not HERE.on_cluster


def test_an_address_given_comes_before_the_variable(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert Workplace("ray").cluster == "10.0.0.1:6379"
    assert Workplace("ray", "auto").cluster == "auto"
    assert Workplace("ray", "[fd00::1]:6379").cluster == "[fd00::1]:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    assert Workplace("ray").cluster is None


@pytest.mark.parametrize(("given", "message"), [
    (("rays",), "did you mean 'ray'"),
    (("serial", "10.0.0.1:6379"), r"is 'serial'; choose executor='ray'"),
    (("ray", "head"), "address='head' is no address of a Ray cluster; 'host:port' of its head"),
    (("ray", "http://head:1"), "'host:port' of its head was expected"),
    (("ray", "ray://head:10001"), "'host:port' of its head was expected"),
    (("ray", ""), "'host:port' of its head was expected"),
])  # fmt: skip
def test_a_place_that_there_is_not_is_told_at_once(given, message):
    with pytest.raises(ValueError, match=message):
        Workplace(*given)


def test_an_address_in_the_variable_is_checked_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head")
    with pytest.raises(ValueError, match="RAY_ADDRESS='head' is no address"):
        Workplace("ray")


def test_without_ray_the_extra_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else find(name, *more))
    with pytest.raises(ValueError, match=r"pip install 'chexkeras\[ray\]'"):
        place_of("ray")


def test_an_address_where_nobody_answers_is_told_without_ray(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: find("sys" if name == "ray" else name, *more))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(WorkersUnavailable, match=f"no Ray cluster answers at {address} .*--address"):
            place_of(Workplace("ray", address))


def test_a_place_without_a_cluster_needs_no_ray(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *more):
        assert name.split(".")[0] != "ray"
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    assert list(map_ordered(abs, [-1, 2], executor=Workplace("serial"))) == [1, 2]


def test_a_worker_with_other_versions_is_refused():
    own = versions()
    check_worker("host", own, "")
    with pytest.raises(
        WorkersUnavailable, match=r"on the host 'host' runs chexkeras 0.0, not .*; results could differ"
    ):
        check_worker("host", {**own, "chexkeras": "0.0"}, "No module named 'elsewhere'")
    with pytest.raises(WorkersUnavailable, match=r"runs Python 2\.7, not .*; keras none, not "):
        check_worker("host", {**{name: own[name] for name in own if name != "keras"}, "Python": "2.7"}, "")
    with pytest.raises(WorkersUnavailable, match="cannot be given the work"):
        check_worker("host", own, "No module named 'elsewhere'")


def test_files_that_are_not_shared_are_told(tmp_path, monkeypatch):
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(b"1" * number)
    paths = [str(tmp_path / f"{number}.png") for number in range(40)]
    shared = SharedFiles.some_of(["", *paths, tmp_path / "absent.png"])
    assert 8 <= len(shared.sizes) <= 32
    shared.check()
    for path in paths:
        with open(path, "ab") as file:
            file.write(b"2")
    with pytest.raises(WorkersUnavailable, match=r"cannot read the files in .* every host of the cluster"):
        shared.check()
    # What is not there where the work begins need not be there elsewhere.
    SharedFiles.some_of([tmp_path / "absent.png"]).check()
