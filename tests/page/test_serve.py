"""Where a page may be served, and what is asked for before other machines reach it."""

import pytest
from typer.testing import CliRunner

from chexkeras.checks import is_loopback
from chexkeras.cli import app as command_line
from chexkeras.page.serve import (
    ServedPage,
    app,
    check_address,
    hub_proxy,
    make_page,
    read_password,
)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "hospital.example", ""])
def test_other_machines_need_a_password_or_a_word(host):
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="password"):
        check_address(host, 7860)
    check_address(host, 7860, "a long password")
    check_address(host, 7860, is_open=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_this_machine_needs_none(host):
    assert is_loopback(host)
    check_address(host, 7860)


def test_a_name_of_a_proxy_needs_a_password_too():
    with pytest.raises(ValueError, match=r"names=\['films.example'\].*password"):
        check_address("127.0.0.1", 7860, names=["films.example"])
    check_address("127.0.0.1", 7860, "a long password", names=["films.example"])
    with pytest.raises(TypeError, match="a list"):
        check_address("127.0.0.1", 7860, "a long password", names="films.example")


def test_jupyterhub_says_where_it_shows_a_port(monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    assert hub_proxy() == ""
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    assert hub_proxy() == "/user/ada/proxy/{port}/"
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "javascript:alert(1)//")
    assert hub_proxy() == ""


def test_what_is_no_path_of_a_proxy_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a path such as '/user/ada"):
        app(tmp_path, proxy="javascript:alert(1)")


def test_notebook_shows_the_page_where_its_browser_finds_it():
    page = ServedPage(None, None, "http://127.0.0.1:7860/", None, '/user/a"da/proxy/7860/')
    shown = page._repr_html_()
    assert 'src="/user/a&quot;da/proxy/7860/"' in shown and "127.0.0.1" not in shown
    assert 'src="http://127.0.0.1:7860/"' in ServedPage(None, None, "http://127.0.0.1:7860/", None)._repr_html_()


@pytest.mark.parametrize("port", [80, 1023, 65536, -1])
def test_ports_out_of_range_are_refused(port):
    with pytest.raises(ValueError, match="port"):
        check_address("127.0.0.1", port)


def test_short_passwords_are_refused():
    with pytest.raises(ValueError, match="at least 12"):
        check_address("0.0.0.0", 7860, "short")


def test_password_is_the_first_line(tmp_path):
    file = tmp_path / "password.txt"
    file.write_text("correct horse battery\nsecond line\n")
    assert read_password(file) == "correct horse battery"
    file.write_text("\n")
    with pytest.raises(ValueError, match="empty line"):
        read_password(file)
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="no text"):
        read_password(file)


def test_taken_port_is_told_before_anything_is_loaded(tmp_path):
    import socket

    with pytest.raises(FileNotFoundError):
        make_page(tmp_path / "none")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "recipe.json").write_text("{}")
        with pytest.raises(OSError, match="another port"):
            app(tmp_path, port=taken.getsockname()[1])


def test_missing_extra_gets_one_sentence(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ValueError, match=r"pip install 'chexkeras\[app\]'"):
        make_page(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "--password-file"),
        (["--name", "films.example"], "--password-file"),
        (["--port", "80"], "1024 to 65535"),
        (["--largest", "0"], "--largest"),
        (["--largest", "nan"], "--largest"),
        (["--password-file", "no-such-file"], "no-such-file"),
    ],
)
def test_command_refuses_in_words_before_anything_is_loaded(tmp_path, options, words):
    done = CliRunner().invoke(command_line, ["app", str(tmp_path), *options])
    assert done.exit_code == 2 and words in " ".join(done.output.split())


def test_export_asks_what_is_to_be_written(tmp_path):
    done = CliRunner().invoke(command_line, ["export", str(tmp_path)])
    assert done.exit_code == 2 and "--space" in done.output
