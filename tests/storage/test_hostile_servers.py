"""Servers that refuse, send on, break off, are silent or gone: a sentence each, in bounded time, without a secret."""

import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from chexkeras import files, storage
from chexkeras.data.audit.image_checks import image_facts
from chexkeras.data.store.decoder import Problem, _fetched
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers.options import IN_PROCESS, ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.inference.read_files import read_files
from chexkeras.storage import Remote, drivers

SECRETS = ("a-key-of-the-tests", "a-secret-of-the-tests")


@pytest.fixture
def answering(monkeypatch, no_pauses):
    """Starts a server whose every answer a function writes; returns the requests that came."""
    pytest.importorskip("s3fs", reason="needs the extra remote (s3fs)")
    running = []

    def start(answer):
        came = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                came.append((self.command, self.path))
                # What is not read of a request would be taken for the next one.
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer(self)

            do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRETS[0])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS[1])
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        storage.forget()
        return came

    yield start
    storage.forget()
    for server in running:
        server.shutdown()
        server.server_close()


def refusing(status, code, **headers):
    """An answer of S3 with an error."""

    def answer(handler):
        body = b"" if handler.command == "HEAD" else f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def serving(content, sent=None, after=None):
    """An answer with a file, of which only so many bytes are sent before the line breaks."""

    def answer(handler):
        start, _, stop = handler.headers.get("Range", f"bytes=0-{len(content) - 1}")[6:].partition("-")
        part = content[int(start) : int(stop) + 1]
        handler.send_response(206 if "Range" in handler.headers else 200)
        handler.send_header("Content-Length", str(len(part)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(part[:sent])
            if after is not None:
                handler.wfile.flush()
                after()
        if sent is not None:
            handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusing(403, "AccessDenied"), PermissionError, r"no access to 's3://bucket/a\.png'"),
        (refusing(403, "InvalidAccessKeyId"), PermissionError, "AWS_PROFILE"),
        (refusing(404, "NoSuchBucket"), FileNotFoundError, "check bucket and name"),
        (refusing(500, "InternalError"), ConnectionError, "cannot be reached"),
        (refusing(503, "SlowDown"), ConnectionError, "cannot be reached"),
        (refusing(301, "PermanentRedirect"), ConnectionError, "sends on"),
    ],
)
def test_what_a_server_refuses_is_said_in_a_sentence(answering, answer, kind, words):
    came = answering(answer)
    with pytest.raises(kind, match=words) as refused:
        storage.content("s3://bucket/a.png", 1000)
    assert not any(secret in str(refused.value) for secret in SECRETS)
    assert refused.value.__cause__ is None
    # Where a region is looked for, the driver itself asks a hundred times.
    assert 1 <= len(came) <= (20 if words != "sends on" else 150)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusing(403, "AccessDenied"), PermissionError, "no access to"),
        (refusing(403, "SignatureDoesNotMatch"), OSError, "'s3://bucket/a.csv'"),
        (refusing(404, "NoSuchBucket"), FileNotFoundError, "check bucket and name"),
        (refusing(503, "SlowDown"), ConnectionError, "cannot be reached"),
        (refusing(507, "InsufficientStorage"), OSError, "'s3://bucket/a.csv'"),
    ],
)
def test_a_server_that_takes_nothing_is_said_to_in_a_sentence(answering, answer, kind, words, tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(tmp_path))
    answering(answer)
    file = Remote("s3://bucket/a.csv")
    with pytest.raises(kind, match=f"^--out: nothing can be written to 's3://bucket/a.csv': .*{words}") as checked:
        storage.check_writable(file, "--out")
    with pytest.raises(kind, match=words) as put:
        storage.put(file, b"result")
    with pytest.raises(storage.NotUploaded, match=r"kept, whole, in '.*output\.csv'\.$") as kept:
        files.write_text(file, "result")
    assert kept.value.kept.read_text() == "result"
    for error in (checked, put, kept):
        assert not any(secret in str(error.value) for secret in SECRETS)
        assert "\n" not in str(error.value)
        assert error.value.__cause__ is None


def test_a_command_that_may_not_write_says_so_before_it_reads(answering):
    from chexkeras.cli import app

    came = answering(refusing(403, "AccessDenied"))
    result = CliRunner().invoke(app, ["audit", "s3://bucket/nih", "--out", "s3://bucket/audit.json"])
    assert result.exit_code == 2
    assert "error: --out: nothing can be written to 's3://bucket/audit.json'" in result.output
    assert not any("nih" in path for _, path in came)


def test_a_server_that_sends_on_without_end_is_given_up(answering):
    came = answering(refusing(307, "TemporaryRedirect", Location="/again"))
    with pytest.raises(ConnectionError):
        storage.content("s3://bucket/a.png", 1000)
    assert len(came) < 150


def test_another_server_to_which_one_sends_on_gets_no_signature(answering):
    seen = []

    def other(handler):
        seen.append(dict(handler.headers))
        serving(b"film")(handler)

    answering(other)
    elsewhere = os.environ["AWS_ENDPOINT_URL"].replace("127.0.0.1", "localhost")
    answering(refusing(307, "TemporaryRedirect", Location=f"{elsewhere}/bucket/a.png"))
    # As S3 itself does with a bucket that is new; what comes is bounded and checked as any file.
    assert storage.content("s3://bucket/a.png", 1000) == b"film"
    assert seen
    assert not any("authorization" in {name.casefold() for name in headers} for headers in seen)


def test_no_credentials_are_said_to_be_missing(answering, monkeypatch):
    came = answering(serving(b"film"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    storage.forget()
    with pytest.raises(PermissionError, match=r"no credentials for 's3://bucket/a.png'.*AWS_PROFILE"):
        storage.content("s3://bucket/a.png", 1000)
    assert not came


def test_a_server_that_is_gone_is_said_to_be_so(answering, monkeypatch):
    answering(serving(b""))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:a-secret-of-the-tests@127.0.0.1:9")
    storage.forget()
    with pytest.raises(ConnectionError, match="cannot be reached") as refused:
        storage.content("s3://bucket/a.png", 1000)
    assert "a-secret-of-the-tests" not in str(refused.value)


def test_a_line_that_breaks_is_tried_again_and_then_the_file_is_unreadable(answering):
    came = answering(serving(b"f" * 1000, sent=500))
    with pytest.raises(ConnectionError, match="connection was lost"):
        storage.content("s3://bucket/a.png", 1000)
    tries = sum(command == "GET" for command, _ in came)
    assert len(drivers.PAUSES_SECONDS) + 1 <= tries <= 2 * (len(drivers.PAUSES_SECONDS) + 1)


def test_a_line_that_breaks_once_does_no_harm(answering):
    broken, whole = serving(b"f" * 1000, sent=500), serving(b"f" * 1000)
    gets = []

    def answer(handler):
        gets.extend([handler] * (handler.command == "GET"))
        (broken if len(gets) == 1 else whole)(handler)

    answering(answer)
    assert storage.content("s3://bucket/a.png", 1000) == b"f" * 1000
    assert len(gets) == 2


def test_a_silent_server_is_waited_for_no_longer_than_said(answering, monkeypatch):
    end = threading.Event()
    answering(serving(b"f" * 1000, sent=500, after=lambda: end.wait(30)))
    monkeypatch.setattr(drivers, "MOST_SECONDS", 1.0)
    try:
        with pytest.raises(TimeoutError, match="does not answer in time"):
            storage.content("s3://bucket/a.png", 1000)
    finally:
        end.set()


def test_a_file_larger_than_it_says_is_cut_where_it_was_to_end_and_a_smaller_one_is_refused(answering):
    def answer(handler):
        handler.send_response(206 if handler.command == "GET" else 200)
        handler.send_header("Content-Length", "2000" if handler.command == "HEAD" else "1000")
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(b"f" * 1000)

    answering(answer)
    with pytest.raises(ConnectionError):
        storage.content("s3://bucket/a.png", 10_000)


@pytest.mark.parametrize("options", [IN_PROCESS, ReadOptions(workers=1)], ids=["in this process", "in a worker"])
def test_a_file_that_cannot_be_fetched_is_refused_as_one_that_cannot_be_opened(answering, options):
    answering(refusing(500, "InternalError"))
    (result,) = read_files([Remote("s3://bucket/film.dcm")], read_options=options)
    assert (result.verdict, result.code) == ("reject", "unreadable")
    assert "(ConnectionError)" in result.detail
    assert "s3://" not in result.detail


def test_the_limit_of_bytes_holds_before_anything_is_fetched(answering):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(2**40))
        handler.end_headers()

    came = answering(answer)
    with ReaderPool(options=ReadOptions(workers=1)) as readers, pytest.raises(DicomRejected) as rejected:
        readers.read("s3://bucket/film.dcm")
    assert rejected.value.code == "too_large"
    facts = image_facts("s3://bucket/image.png")
    assert (facts.problem, facts.detail[:32]) == ("unreadable", "image.png has 1,099,511,627,776 ")
    assert {command for command, _ in came} == {"HEAD"}


def test_an_audit_names_no_folder_and_preparing_stops_rather_than_leave_an_image_out(answering):
    answering(refusing(500, "InternalError"))
    facts = image_facts("s3://bucket/secret-place/image.png")
    assert facts.problem == "unreadable"
    assert "secret-place" not in facts.detail
    with pytest.raises(ConnectionError):
        _fetched("s3://bucket/image.png", 1000)
    answering(refusing(403, "AccessDenied"))
    assert isinstance(_fetched("s3://bucket/image.png", 1000), Problem)


def test_a_command_says_one_sentence_and_nothing_is_logged(answering, caplog):
    from chexkeras.cli import app

    answering(refusing(403, "AccessDenied"))
    with caplog.at_level(logging.INFO):
        result = CliRunner().invoke(app, ["audit", "s3://bucket/nih"])
    assert result.exit_code == 2
    assert "error: the store gives no access to 's3://bucket/nih'" in result.output
    assert "Traceback" not in result.output
    assert not any(secret in result.output + caplog.text for secret in SECRETS)
