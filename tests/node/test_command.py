"""What `chexkeras node` says before it listens."""

import importlib.util
import socket

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app


@pytest.fixture
def said(tmp_path):
    """Returns what the command says, and that it ended with status 2."""

    def run(*words, folder=tmp_path / "run", spool=tmp_path / "spool", peer="PACS@127.0.0.1:104"):
        given = ["node", "--run", folder, "--peer", peer, "--spool", spool, "--allow", "PACS", "--port", "0", *words]
        shown = CliRunner().invoke(app, [str(word) for word in given])
        assert shown.exit_code == 2, shown.output
        assert "Traceback" not in shown.output
        return " ".join(shown.output.split())

    return run


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--tls-cert", "a.pem"], "--tls-cert, --tls-key and --tls-ca belong together"),
        (["--peer-tls"], "--peer-tls needs --tls-cert"),
        (["--largest", "1000"], "from 1 to 256 MiB"),
        (["--aet", "TOO_LONG_FOR_A_TITLE"], "16 characters"),
        (["--refused", "perhaps"], "refused"),
        (["--waiting", "0"], "waiting"),
        (["--engine", "abacus"], "engine"),
        (["--profile", "veterinary"], "profile"),
    ],
)
def test_what_cannot_be_is_said_before_a_run_is_read(said, words, expected):
    assert expected in said(*words)


def test_peer_has_title_host_and_port(said):
    assert "TITLE@HOST:PORT" in said(peer="127.0.0.1:104")


def test_missing_run_is_named(said):
    assert "run" in said()


def test_missing_packages_are_named_with_the_extra(said, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "pynetdicom" else found(name, *more)
    )
    assert "pip install 'chexkeras[node]'" in said()


@pytest.mark.keras
def test_taken_port_is_named_and_the_spool_is_free_again(said, toy_run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen at 127.0.0.1:{port}" in said("--port", port, folder=toy_run.folder)
        assert "--metrics-port" in said("--metrics-port", port, folder=toy_run.folder)


@pytest.mark.keras
def test_spool_that_is_used_or_holds_something_else_is_named(said, toy_run, tmp_path):
    from chexkeras.node.settings import NodeLimits
    from chexkeras.node.spool import Spool

    held = Spool(tmp_path / "held", NodeLimits())
    assert "used by another node" in said(folder=toy_run.folder, spool=tmp_path / "held")
    held.close()
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.dcm").write_bytes(b"x")
    assert "something else" in said(folder=toy_run.folder, spool=tmp_path / "films")
