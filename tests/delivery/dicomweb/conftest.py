"""An archive behind DICOMweb on a free port of this machine's own address, which also misbehaves as it is told."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("dicomweb_client")

BOUNDARY = "----a-boundary"
CR = "1.2.840.10008.5.1.4.1.1.1"
_FILM = re.compile(r"/web/studies/([\d.]+)/series/([\d.]+)/instances/([\d.]+)")
_LIST = re.compile(r"/web/studies/([\d.]+)/instances")


class Archive:
    """Keeps films by study, series and instance; notes what it was asked.

    Attributes:
        films: (study, series, instance): (SOP class, bytes).
        asked: Method, path, query and headers of each question.
        stored: For each question to store: the study named and the parts that came.
        handle: Called with handler and path before a question is answered; True where it has answered itself.
        answer: Called with the UIDs that came to be stored; returns status, content type and body.
    """

    def __init__(self, tls=None):
        self.films, self.asked, self.stored = {}, [], []
        self.handle, self.answer = None, stored_all
        self.modality = "DX"
        self.most = 1_000_000
        archive = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                return

            def do_GET(self):
                archive.get(self)

            def do_POST(self):
                archive.post(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/web"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def add(self, path, sop_class=CR):
        from pydicom import dcmread

        found = dcmread(path, stop_before_pixels=True)
        place = tuple(str(found[key].value) for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
        self.films[place] = (sop_class, path.read_bytes())
        return place

    def get(self, handler):
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(("GET", parts.path, query, dict(handler.headers)))
        if self.handle is not None and self.handle(handler, parts.path):
            return
        film, listed = _FILM.fullmatch(parts.path), _LIST.fullmatch(parts.path)
        if film and film.groups() in self.films:
            send(handler, multipart(self.films[film.groups()][1]))
        elif listed:
            found = [entry(*place, kind) for place, (kind, _) in self.films.items() if place[0] == listed[1]]
            send_json(handler, page(found, query, self.most))
        elif parts.path == "/web/studies":
            studies = sorted({study for study, _, _ in self.films})
            found = [{"0020000D": {"vr": "UI", "Value": [study]}} for study in studies]
            send_json(handler, page(found, query, self.most) if query.get("ModalitiesInStudy") == self.modality else [])
        else:
            send(handler, b"<html>nothing here</html>", "text/html", 404)

    def post(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.asked.append(("POST", handler.path, {}, dict(handler.headers)))
        if self.handle is not None and self.handle(handler, handler.path):
            return
        boundary = re.search('boundary="([^"]+)"', handler.headers["Content-Type"])[1].encode()
        parts = [each.split(b"\r\n\r\n", 1)[1] for each in body.split(b"\r\n--" + boundary)[1:-1]]
        self.stored.append((handler.path.rpartition("/")[2], parts))
        status, media, told = self.answer([uid_of(part) for part in parts])
        send(handler, told if isinstance(told, bytes) else json.dumps(told).encode(), media, status)


def page(found, query, most):
    offset = int(query.get("offset", 0))
    return found[offset : offset + min(int(query.get("limit", len(found) or 1)), most)]


def entry(study, series, uid, kind):
    values = {"00080016": kind, "0020000D": study, "0020000E": series, "00080018": uid}
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}


def multipart(*films, boundary=BOUNDARY):
    parts = [b"--" + boundary.encode() + b"\r\nContent-Type: application/dicom\r\n\r\n" + each for each in films]
    return b"\r\n".join([*parts, b"--" + boundary.encode() + b"--\r\n"])


def send(handler, body, media=f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"', status=200,
         length=None, **headers):  # fmt: skip
    handler.send_response(status)
    if media:
        handler.send_header("Content-Type", media)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def send_json(handler, value, status=200):
    send(handler, json.dumps(value).encode(), "application/dicom+json", status)


def uid_of(content):
    import io

    from pydicom import dcmread

    return str(dcmread(io.BytesIO(content), stop_before_pixels=True).SOPInstanceUID)


def told_of(stored=(), failed=None):
    """What an archive says of objects, in DICOM's JSON."""

    def items(rows):
        return {"vr": "SQ", "Value": [
            {"00081155": {"vr": "UI", "Value": [uid]}}
            | ({"00081197": {"vr": "US", "Value": [reason]}} if reason is not None else {})
            for uid, reason in rows
        ]}  # fmt: skip

    found = {}
    if stored:
        found["00081199"] = items([(uid, None) for uid in stored])
    if failed:
        found["00081198"] = items(failed.items())
    return found


def stored_all(uids):
    return 200, "application/dicom+json", told_of(uids)


@pytest.fixture
def archive():
    made = Archive()
    yield made
    made.stop()
