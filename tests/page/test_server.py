"""The server: who may ask, how much, what every answer carries, and that no path leads out of its table."""

import asyncio
import base64
import json
import re
import threading

import pytest

from chexkeras.page.access import FREE_TRIES
from chexkeras.page.examples import ExampleFilm
from chexkeras.page.server import PageServer, ServerLimits

CANARY = "CANARY^PATIENT"


class Quiet:
    """A scorer that only counts."""

    def __init__(self):
        self.seen = []

    def answer(self, content, *, only_row=False):
        self.seen.append((len(content), only_row))
        return {"verdict": "accept", "rules": []}


@pytest.fixture
def quiet():
    return Quiet()


@pytest.fixture
def server(document, quiet):
    return PageServer(
        document,
        quiet,
        reports=lambda: {"report": "<p>report</p>"},
        examples={"one": ExampleFilm("a film", b"film", "accept")},
    )


def test_page_and_all_it_needs_come_from_the_server_itself(server, ask):
    page = ask(server, "/")
    assert page.status == 200 and b"Not a medical device" in page.body
    for needed in ("page.css", "page.js", "common.js", "viewer.js", "film.js", "folder.js", "run.js", "groups.js",
                   "icon.svg"):  # fmt: skip
        found = ask(server, f"/static/{needed}")
        assert found.status == 200 and found.body
        assert not [line for line in found.body.decode().splitlines() if "//" in line.replace("http://www.w3.org", "")
                    and "http" in line and "w3.org" not in line]  # fmt: skip
    assert b"http" not in page.body


def test_every_address_in_the_page_is_relative(server, ask):
    """So that a proxy may show the page below a path of its own."""
    for path in ("/", *(f"/static/{name}.js" for name in ("page", "common", "film", "folder", "run", "groups"))):
        text = ask(server, path).body.decode()
        assert not re.findall(r"""(?:src|href|fetch|ask|post)[=(: ]+["'`]/""", text), path
        assert "/" not in re.findall(r"""(?:href|src): (?:name|"[^"]*")""", text)


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/api/run", "/api/examples/one", "/nothing", "/report"])
def test_every_answer_carries_the_headers(server, ask, path):
    headers = ask(server, path).headers
    policy = headers["content-security-policy"]
    # The page itself shows a report in a frame; nobody else does, and nobody shows the page.
    frames, option = ("'self'", "SAMEORIGIN") if path == "/report" else ("'none'", "DENY")
    assert policy.startswith("default-src 'none'") and policy.endswith(f"frame-ancestors {frames}")
    assert headers["x-frame-options"] == option
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    if path == "/report":
        assert "sandbox allow-same-origin" in policy and "script" not in policy
    else:
        assert "unsafe" not in policy and "require-trusted-types-for 'script'" in policy


def test_a_frame_is_for_whom_it_was_allowed(document, quiet, ask):
    framed = ask(PageServer(document, quiet, framed_by="https://example.org"), "/").headers
    assert "frame-ancestors https://example.org" in framed["content-security-policy"]
    assert "x-frame-options" not in framed
    with pytest.raises(ValueError, match="no name of a host"):
        PageServer(document, quiet, framed_by="x; script-src *")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/..%2fserver.py", "/static//etc/passwd", "/../../etc/passwd", "/etc/passwd",
        "/static/", "/static", "/file=/etc/passwd", "/gradio_api/file=/etc/passwd", "/api/examples/../../etc/passwd",
        "/static/page.js\x00", "/report/../run", "\\etc\\passwd", "/static/page.html", "/run/model.keras",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file_of_the_machine(server, ask, path):
    found = ask(server, path)
    assert found.status == 404 and found.json == {"error": "There is nothing at this address."}


def test_another_name_for_this_machine_is_refused(server, ask):
    assert ask(server, "/", headers={"host": "evil.example:7860"}).status == 421
    assert ask(server, "/", headers={"host": "localhost:7860"}).status == 200
    assert ask(server, "/", headers={"host": "[::1]:7860"}).status == 200


def test_another_web_page_may_not_ask_for_scores(server, ask, quiet):
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert ask(server, "/api/film", b"x", headers=headers).status == 403
    assert not quiet.seen
    behind_a_proxy = {"origin": "https://space.example", "sec-fetch-site": "same-origin"}
    for headers in ({"origin": "http://127.0.0.1:7860"}, behind_a_proxy):
        assert ask(server, "/api/film", b"x", headers=headers).status == 200


def test_a_password_is_asked_for_and_compared(document, quiet, ask):
    server = PageServer(document, quiet, password="correct horse battery", hosts=())

    def given(password):
        coded = base64.b64encode(f"anyone:{password}".encode()).decode()
        return ask(server, "/api/run", headers={"authorization": f"Basic {coded}"})

    refused = ask(server, "/")
    assert refused.status == 401 and refused.headers["www-authenticate"].startswith("Basic")
    assert given("wrong").status == 401
    assert given("correct horse battery").status == 200
    assert ask(server, "/", headers={"authorization": "Basic ???"}).status == 401
    assert ask(server, "/api/film", b"x").status == 401 and not quiet.seen
    cookie = given("correct horse battery").headers["set-cookie"].partition(";")[0]
    known = {"authorization": "Basic " + base64.b64encode(b"a:correct horse battery").decode(), "cookie": cookie}
    assert "set-cookie" not in ask(server, "/api/run", headers=known).headers
    assert ask(server, "/api/run", headers={"cookie": cookie}).status == 401


def test_who_guesses_too_often_is_sent_away_in_words(document, quiet, ask):
    server = PageServer(document, quiet, password="correct horse battery", hosts=())

    async def at_once(seconds):
        pass

    # Time stands still, so the line of those who wait only grows.
    server._password._now, server._password._sleep = (lambda: 0.0), at_once
    wrong = {"authorization": "Basic " + base64.b64encode(b"a:wrong").decode()}
    statuses = [ask(server, "/api/run", headers=wrong).status for _ in range(FREE_TRIES + 12)]
    assert set(statuses[:FREE_TRIES]) == {401} and statuses[-1] == 429
    refused = ask(server, "/api/run", headers=wrong)
    assert int(refused.headers["retry-after"]) > 0 and "wait a little" in refused.json["error"]


def test_whoever_opens_an_address_reads_words_and_the_page_gets_json(server, ask):
    opened = ask(server, "/nothing", headers={"accept": "text/html,*/*"})
    assert opened.body == b"There is nothing at this address."
    assert opened.headers["content-type"].startswith("text/plain") and opened.status == 404
    assert ask(server, "/nothing", headers={"accept": "*/*"}).json == {"error": "There is nothing at this address."}


def test_uploads_have_a_largest_size_stated_or_not(document, quiet, ask):
    server = PageServer(document, quiet, limits=ServerLimits(largest_bytes=2**20))
    assert ask(server, "/api/film", b"x" * 2**20, parts=5).status == 200
    assert ask(server, "/api/film", b"x" * (2**20 + 1), parts=5).status == 413
    stated = ask(server, "/api/film", b"x", headers={"content-length": str(2**40)})
    assert stated.status == 413 and "at most 1 MiB" in stated.json["error"]
    assert ask(server, "/api/film", b"").status == 400
    assert quiet.seen == [(2**20, False)]


def test_more_uploads_than_fit_are_told_to_come_again(document, ask):
    release, inside = threading.Event(), []

    class Slow:
        def answer(self, content, *, only_row=False):
            inside.append(content)
            release.wait(30)
            return {"verdict": "reject", "rules": []}

    server = PageServer(document, Slow(), limits=ServerLimits(at_once=1, waiting=1))
    results = []

    async def one(name):
        async def receive():
            return {"type": "http.request", "body": name, "more_body": False}

        async def send(message):
            if message["type"] == "http.response.start":
                results.append((name, message["status"]))

        scope = {"type": "http", "method": "POST", "path": "/api/film", "headers": [(b"host", b"localhost")]}
        await server(scope, receive, send)

    async def all_of_them():
        running = [asyncio.create_task(one(name)) for name in (b"first", b"second")]
        while len(inside) < 1:
            await asyncio.sleep(0.01)
        await one(b"third")
        release.set()
        await asyncio.gather(*running)
        await one(b"fourth")

    asyncio.run(all_of_them())
    assert dict(results) == {b"first": 200, b"second": 200, b"third": 503, b"fourth": 200}


def test_what_goes_wrong_inside_is_told_without_its_insides(document, ask, caplog):
    class Broken:
        def answer(self, content, *, only_row=False):
            raise KeyError(CANARY)

    found = ask(PageServer(document, Broken()), "/api/film", b"x")
    assert found.status == 500 and "Something went wrong" in found.json["error"]
    assert CANARY not in found.body.decode() and CANARY not in caplog.text
    assert "Traceback" not in found.body.decode()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"nonsense", b'{"prevalence": "x"}', b'{"prevalence": 2}', b'{"prevalence": 0}',
     b'{"prevalence": NaN}', b"[" * 4000],
)  # fmt: skip
def test_a_question_that_makes_no_sense_gets_a_sentence(server, ask, body):
    found = ask(server, "/api/meaning", body)
    assert found.status == 400 and len(found.json["error"]) > 20


def test_only_what_is_meant_is_answered(server, ask):
    assert ask(server, "/api/film").status == 405
    assert ask(server, "/", b"x").status == 405
    assert ask(server, "/api/run", method="DELETE").status == 405
    assert ask(server, "/", method="HEAD").body == b""


def test_waiting_times_are_told_or_refused_in_words(server, ask):
    asked = {"finding": "Effusion", "prevalence": 0.1, "arrivals": 10, "reads": 12, "readers": 1}
    words = ask(server, "/api/waiting", json.dumps(asked).encode()).json["words"]
    assert "minutes" in words and "assumes" in words
    for change in ({"arrivals": 20}, {"readers": 1.5}, {"finding": "Nothing"}, {"readers": 10**8}, {"reads": True}):
        assert ask(server, "/api/waiting", json.dumps(asked | change).encode()).status == 400


def test_report_is_written_when_it_is_asked_for_and_once(document, quiet, ask):
    made = []

    def reports():
        made.append(1)
        if len(made) == 1:
            raise ValueError(CANARY)
        return {"report": "<p>report</p>", "model-card": "<p>card</p>"}

    server = PageServer(document, quiet, reports=reports)
    assert ask(server, "/api/run").json["pages"] == ["report", "model-card"] and not made
    broken = ask(server, "/report")
    assert broken.status == 500 and CANARY not in broken.body.decode()
    assert ask(server, "/report").body == b"<p>report</p>"
    assert ask(server, "/model-card").body == b"<p>card</p>"
    assert len(made) == 2
    assert "script-src" not in ask(server, "/report").headers["content-security-policy"]
    assert ask(PageServer(document, quiet), "/report").status == 404


def test_limits_below_one_are_refused():
    for wrong in ({"largest_bytes": 0}, {"at_once": 0}, {"waiting": -1}, {"upload_seconds": 0.0},
                  {"asking_seconds": 0.0}, {"connections": 0}):  # fmt: skip
        with pytest.raises(ValueError):
            ServerLimits(**wrong)
