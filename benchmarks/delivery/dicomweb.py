"""What DICOMweb holds: a real archive asked and answered, and what hostile archives send.

python benchmarks/delivery/dicomweb.py archive --run RUN     Orthanc: films fetched, scored, results stored, twice
python benchmarks/delivery/dicomweb.py mutations             10,000 mutated answers

Orthanc and its DICOMweb plugin have to be installed for the first; all of it stays on this machine's own address, on
free ports, in a temporary folder.
"""

import argparse
import base64
import collections
import csv
import json
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

USER, PASSWORD = "reader", "secret"
PLUGINS = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so")
CR = "1.2.840.10008.5.1.4.1.1.1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_films(folder, count, size=256, seed=5):
    """Writes phantoms as DICOM files, two a study, of one day."""
    from pydicom import dcmread

    from chexkeras.phantoms.cohort import make_cohort
    from chexkeras.phantoms.dicom import write_dicom_image
    from chexkeras.phantoms.render import render

    folder.mkdir(parents=True)
    adults = [image for image in make_cohort(4 * count, seed) if image.age_years >= 18][:count]
    drawn = [render(image, seed, size)[0] for image in adults[:20]]
    for index, image in enumerate(adults):
        path = folder / f"film_{index:05d}.dcm"
        write_dicom_image(path, image, drawn[index % len(drawn)], seed)
        dataset = dcmread(path)
        dataset.StudyDate, dataset.StudyTime = "20261201", "101112"
        dataset.StudyInstanceUID, dataset.PatientID = f"1.2.826.0.1.3680043.10.999.{index // 2}", f"P{index // 2}"
        dataset.save_as(path)
    return sorted(folder.iterdir())


class Orthanc:
    """Orthanc with DICOMweb and a password, ended with the block."""

    def __init__(self, folder):
        plugin = next((path for path in PLUGINS if Path(path).exists()), None)
        if plugin is None:
            raise SystemExit("Orthanc's DICOMweb plugin is not installed (apt install orthanc orthanc-dicomweb)")
        folder.mkdir()
        self.port = free_port()
        settings = {
            "DicomPort": free_port(), "HttpPort": self.port, "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"), "RemoteAccessAllowed": False, "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD}, "Plugins": [plugin],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self._log = (folder / "log.txt").open("w")
        self._process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=self._log, stderr=self._log)
        self.url = f"http://127.0.0.1:{self.port}/dicom-web"

    def __enter__(self):
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            try:
                self.ask("/system")
                return self
            except OSError:
                time.sleep(0.2)
        raise SystemExit("Orthanc did not start")

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def ask(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def series(self):
        """Returns how many series of each modality each study has."""
        found = collections.Counter()
        for each in self.ask("/series?expand"):
            found[each["ParentStudy"], each["MainDicomTags"]["Modality"]] += len(each["Instances"])
        return found


def chexkeras(*words, folder, **environment):
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "chexkeras", *map(str, words)], cwd=folder, text=True, capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd(), **environment}, check=False,
    )  # fmt: skip
    return done, time.perf_counter() - began


def of_archive(arguments, folder):
    films = make_films(folder / "films", arguments.count)
    run = Path(arguments.run).resolve()
    key = {"CHEXKERAS_HASH_KEY": "benchmark", "TMPDIR": str(folder / "temporary")}
    login = {"CHEXKERAS_DICOMWEB_USER": USER, "CHEXKERAS_DICOMWEB_PASSWORD": PASSWORD}
    (folder / "temporary").mkdir()
    with Orthanc(folder / "orthanc") as archive:
        for path in films:
            archive.ask("/instances", path.read_bytes())
        call = ("predict", "--dicomweb", archive.url, "--date", "20261201", "--run", run, "--most-films", 100_000)
        refused, _ = chexkeras(*call, "--out", "x.csv", folder=folder, **key)
        print("without a password:", refused.returncode, " ".join(refused.stderr.split())[-160:])
        plain, seconds = chexkeras("predict", films[0].parent, "--run", run, "--out", "f.csv", folder=folder, **key)
        print(f"from a folder: {plain.returncode}, {seconds:.1f} s")
        alone, seconds = chexkeras(*call, "--out", "a.csv", folder=folder, **key, **login)
        print(f"from the archive: {alone.returncode}, {seconds:.1f} s")
        stores = (*call, "--out", "a.csv", "--resume", "--store-results", "--kinds", "sr")
        for name in ("results stored", "and again"):
            done, seconds = chexkeras(*stores, folder=folder, **key, **login)
            found = archive.series()
            reports = {study: count for (study, kind), count in found.items() if kind == "SR"}
            print(
                f"{name}: {done.returncode}, {seconds:.1f} s, {sum(reports.values())} reports in {len(reports)} of "
                f"{len({study for study, _ in found})} studies"
            )
        with (folder / "f.csv").open() as one, (folder / "a.csv").open() as other:
            scores = [sorted((row["key"], row["score"]) for row in csv.DictReader(file)) for file in (one, other)]
        print("scores as from the folder:", scores[0] == scores[1], len(scores[0]))
        print("left of the films:", list((folder / "temporary").iterdir()))


def of_mutations(arguments, folder):
    from chexkeras.delivery import DicomWebError, WebArchive, WebLimits

    (film,) = make_films(folder / "films", 1)
    content, draw = film.read_bytes(), random.Random(arguments.seed)
    server = Mutating(film, draw)
    limits = WebLimits(
        tries=1, silent_seconds=0.5, answer_seconds=2.0, film_bytes=3_000_000, list_bytes=1_000_000, pause_seconds=0.0
    )
    found, slowest, began = collections.Counter(), 0.0, time.perf_counter()
    for number in range(arguments.count):
        server.which = ("list", "film", "account")[number % 3]
        into = Path(tempfile.mkdtemp(dir=folder))
        start = time.perf_counter()
        with WebArchive(f"http://127.0.0.1:{server.port}/web", limits) as web:
            try:
                if server.which == "account":
                    found["account", "stored" if web.store([[film]]).stored else "counted as not stored"] += 1
                else:
                    web.fetch([server.place[0]], into)
                    same = next(into.rglob("*.dcm")).read_bytes() == content
                    found[server.which, "taken" if same else "taken, other bytes of the same film"] += 1
            except DicomWebError as error:
                found[server.which, "told"] += 1
                if server.place[0] in str(error) or list(into.rglob("*.dcm")):
                    found[server.which, "TOLD OR LEFT WHAT IT SHOULD NOT"] += 1
            except Exception as error:  # noqa: BLE001
                found[server.which, f"ESCAPED {type(error).__name__}"] += 1
        slowest = max(slowest, time.perf_counter() - start)
    for (which, outcome), count in sorted(found.items()):
        print(f"{which:8} {count:6} {outcome}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.perf_counter() - began:.0f} s, slowest {slowest:.2f} s, memory {memory:.0f} MB, "
          f"threads {threading.active_count()}")  # fmt: skip


class Mutating:
    """Answers over plain sockets, so that heads and bodies can be anything."""

    PIECES = (
        b"\r\n", b"\r\n\r\n", b"----a-boundary", b"Content-Length: 99999999999999999999\r\n", b"\0", b"9" * 40,
        b"Transfer-Encoding: chunked\r\n", b"Location: http://127.0.0.2/\r\n", b'"Value":[[]],',
    )  # fmt: skip

    def __init__(self, film, draw):
        from chexkeras.dicom.objects.source import film_identity

        self.place, self._draw, self.which = film_identity(film), draw, ""
        study, series, uid = self.place
        values = {"00080016": CR, "0020000D": study, "0020000E": series, "00080018": uid}
        listed = [{tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}]
        stored = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}}
        parts = b"----a-boundary\r\nContent-Type: application/dicom\r\n\r\n%s\r\n----a-boundary--" % film.read_bytes()
        self._answers = {
            "list": self._http(json.dumps(listed).encode(), "application/dicom+json"),
            "account": self._http(json.dumps(stored).encode(), "application/dicom+json"),
            "film": self._http(parts, 'multipart/related; type="application/dicom"; boundary="--a-boundary"'),
        }
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @staticmethod
    def _http(body, media):
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    def _serve(self):
        while True:
            threading.Thread(target=self._answer, args=(self._listening.accept()[0],), daemon=True).start()

    def _answer(self, connection):
        with connection:
            try:
                connection.settimeout(5)
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += connection.recv(65_536)
                head, _, body = asked.partition(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                               if line.startswith(b"content-length")), 0)  # fmt: skip
                came = len(body)
                while came < length:
                    came += len(connection.recv(2**20))
                which = "account" if head.startswith(b"POST") else "list" if b"/instances?" in head else "film"
                answer = self._answers[which]
                connection.sendall(self._mutated(answer) if which == self.which else answer)
            except OSError:
                return

    def _mutated(self, answer):
        draw, content = self._draw, bytearray(answer)
        head = content.index(b"\r\n\r\n") + 200
        for _ in range(draw.choice((1, 1, 2, 5, 20))):
            at = min(draw.randrange(head if draw.random() < 0.7 else len(content)), len(content) - 1)
            kind, length = draw.randrange(6), draw.randrange(1, 200)
            if kind == 0:
                content[at] = draw.randrange(256)
            elif kind == 1:
                del content[at : at + length // 8]
            elif kind == 2:
                content[at:at] = draw.randbytes(length // 8)
            elif kind == 3:
                del content[at:]
            elif kind == 4:
                content[at:at] = content[at : at + length]
            else:
                content[at:at] = draw.choice(self.PIECES)
            content = content or bytearray(b"x")
        return bytes(content)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("archive", "mutations"))
    parser.add_argument("--run", help="run folder, for 'archive'")
    parser.add_argument("--count", type=int, help="films, or mutated answers")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.what == "archive" and not arguments.run:
        parser.error("'archive' needs --run")
    arguments.count = arguments.count or {"archive": 200, "mutations": 10_000}[arguments.what]
    with tempfile.TemporaryDirectory() as folder:
        {"archive": of_archive, "mutations": of_mutations}[arguments.what](arguments, Path(folder))


if __name__ == "__main__":
    main()
