"""A page of the toy run, served once; and a way to ask the server without a network."""

import asyncio
import json

import pytest

from tests.page.drawn import made_document


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def asked(server, path, body=None, *, method=None, headers=(), parts=1, query=b""):
    """Asks an ASGI application once; the body comes in so many parts."""
    content = b"" if body is None else body
    size = max(-(-len(content) // parts), 1)
    pieces = [content[at : at + size] for at in range(0, max(len(content), 1), size)]
    sent = []

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    given = {"host": "127.0.0.1:7860", **dict(headers)}
    scope = {
        "type": "http", "method": method or ("GET" if body is None else "POST"), "path": path, "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    asyncio.run(server(scope, receive, send))
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], told, sent[1]["body"])


@pytest.fixture(scope="session")
def ask():
    return asked


@pytest.fixture(scope="session")
def document():
    return made_document()


@pytest.fixture(scope="session")
def toy_document(toy_run):
    from chexkeras.page.document import PageDocument

    return PageDocument.of(toy_run)


@pytest.fixture(scope="session")
def films():
    from chexkeras.page.examples import example_films

    return example_films()


@pytest.fixture(scope="session")
def scorer(toy_run, toy_document):
    from chexkeras.page.film import FilmScorer

    made = FilmScorer(toy_run, toy_document)
    yield made
    made.close()
