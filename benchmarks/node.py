"""What the node holds: kills, a peer that is down, throughput, memory, and what hostile callers send.

python benchmarks/node.py kills --run RUN            Orthanc sends 200 films while the node is killed ten times
python benchmarks/node.py down --run RUN             the peer is away for a minute
python benchmarks/node.py throughput --run RUN       the node against `Predictor.records` on the same folder
python benchmarks/node.py memory --run RUN           1,000 films
python benchmarks/node.py mutations --run RUN        10,000 mutated associations and objects

`--films FOLDER` takes films from a folder instead of drawing phantoms. Orthanc and dcmtk have to be installed; all of
it stays on this machine's own address, on free ports, in a temporary folder.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

CALLER, NODE, ARCHIVE = "BENCH", "CHEXKERAS", "ORTHANC"
TOLD = ("received", "again", "connections", "stores_refused", "associations", "scored", "sent", "dead")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_films(folder, count, size=256, seed=5):
    """Writes phantoms as DICOM files; forty drawings, each film a study of its own."""
    from chexkeras.phantoms.cohort import make_cohort
    from chexkeras.phantoms.dicom import write_dicom_image
    from chexkeras.phantoms.render import render

    folder.mkdir(parents=True)
    adults = [image for image in make_cohort(4 * count, seed) if image.age_years >= 18][:count]
    drawn = [render(image, seed, size)[0] for image in adults[:40]]
    for index, image in enumerate(adults):
        write_dicom_image(folder / f"film_{index:05d}.dcm", image, drawn[index % len(drawn)], seed)
    return sorted(folder.iterdir())


class Process:
    """A child process that is ended with the block."""

    def __init__(self, command, log):
        self.command, self.log = command, log
        self.process = None

    def start(self):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
        return self

    def end(self, number=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.end()


class Archive(Process):
    """Orthanc, which knows the node as "node"; its log has a line for each object that it is offered."""

    def __init__(self, folder, node_port):
        self.http, self.port, self.folder = free_port(), free_port(), folder
        folder.mkdir(exist_ok=True)
        script = folder / "taken.lua"
        script.write_text(
            "function ReceivedInstanceFilter(dicom, origin)\n"
            "  print('OFFERED ' .. dicom.SOPInstanceUID .. ' ' .. origin['RequestOrigin'])\n  return true\nend\n"
        )
        settings = {
            "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "HttpPort": self.http,
            "DicomPort": self.port, "DicomAet": ARCHIVE, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True, "DicomCheckCalledAet": False, "OverwriteInstances": False,
            "DicomAlwaysAllowFind": True, "Plugins": [], "LuaScripts": [str(script)], "DicomScuTimeout": 10,
            "DicomModalities": {"node": [NODE, "127.0.0.1", node_port]},
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(settings))
        super().__init__(["Orthanc", str(folder / "orthanc.json")], folder / "log.txt")

    def start(self):
        super().start()
        wait_for(lambda: self.get("/system"), 60)
        return self

    def get(self, path):
        with contextlib.suppress(OSError, ValueError):
            return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=30))

    def post(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body, method="POST")
        return json.load(urllib.request.urlopen(request, timeout=60))

    def offered(self):
        """Returns how often the archive was offered each object by DICOM."""
        lines = self.log.read_text(errors="replace").splitlines()
        return collections.Counter(
            line.split("OFFERED ")[1].split()[0] for line in lines if "OFFERED " in line and "DicomProtocol" in line
        )


class RunningNode(Process):
    """`chexkeras node` with its own spool and ports."""

    def __init__(self, run, folder, peer_port, port, *further):
        self.port, self.metrics_port, self.spool = port, free_port(), folder / "spool"
        command = [
            sys.executable, "-m", "chexkeras", "node", "--run", str(run), "--peer", f"{ARCHIVE}@127.0.0.1:{peer_port}",
            "--spool", str(self.spool), "--allow", ARCHIVE, "--allow", CALLER, "--aet", NODE, "--port", str(port),
            "--metrics-port", str(self.metrics_port), *further,
        ]  # fmt: skip
        super().__init__(command, folder / "node.txt")

    def health(self):
        with contextlib.suppress(OSError, ValueError, urllib.error.HTTPError):
            return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/health", timeout=5))

    def until_ready(self):
        wait_for(lambda: (self.health() or {}).get("status") == "ok", 180)
        return self

    def metrics(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5).read().decode()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("chexkeras_node_"): float(value) for name, value in lines}

    def lines(self):
        path = self.spool / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def waiting(self):
        return sum(len(list((self.spool / place).iterdir())) for place in ("received", "scoring", "scored"))

    def seconds(self):
        process = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def memory(self):
        process = psutil.Process(self.process.pid)
        return process.memory_info().rss, sum(child.memory_info().rss for child in process.children(recursive=True))


def wait_for(condition, seconds, every=0.1):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if found := condition():
            return found
        time.sleep(every)
    raise TimeoutError(f"not within {seconds} s")


def bound_to_studies(archive):
    """Returns how many studies hold exactly one film and one result."""
    whole = 0
    for study in archive.get("/studies"):
        series = [archive.get(f"/series/{each}") for each in archive.get(f"/studies/{study}")["Series"]]
        kinds = collections.Counter()
        for each in series:
            kinds[each["MainDicomTags"]["Modality"]] += len(each["Instances"])
        whole += kinds == {"DX": 1, "SR": 1}
    return whole


def send_all(archive, ids, told):
    """Has the archive send each film, again and again until the node has acknowledged it."""
    for each in ids:
        while True:
            try:
                archive.post("/modalities/node/store", each.encode())
                break
            except OSError:
                told["again"] += 1
                time.sleep(0.2)
    told["all"] = True


def kills(run, films, folder, kills_wanted=10):
    port, rng = free_port(), random.Random(7)
    with Archive(folder / "orthanc", port) as archive:
        ids = [archive.post("/instances", path.read_bytes())["ID"] for path in films]
        node = RunningNode(run, folder, archive.port, port)
        told = collections.Counter()
        marks = sorted(rng.sample(range(3, len(films) - 5), kills_wanted))
        node.start()
        sender = threading.Thread(target=send_all, args=(archive, ids, told), daemon=True)
        sender.start()
        places = collections.Counter()
        for mark in marks:
            wait_for(lambda mark=mark: len(node.lines()) >= mark, 600, every=0.002)
            time.sleep(rng.random() * 0.15)
            node.end(signal.SIGKILL)
            for place in ("incoming", "received", "scoring", "scored"):
                places[place] += len(list((node.spool / place).iterdir()))
            node.start()
        wait_for(lambda: told["all"], 600)
        wait_for(lambda: len(node.lines()) >= len(films) and node.waiting() == 0, 600)
        time.sleep(1)
        lines = node.lines()
        node.end()
        offered = archive.offered()
        per_film = collections.Counter(line["film"] for line in lines)
        series = [archive.get(f"/series/{each}") for each in archive.get("/series")]
        results = sum(len(each["Instances"]) for each in series if each["MainDicomTags"]["Modality"] == "SR")
        return {
            "films": len(films), "kills": len(marks), "films in hand at the kills, by place": dict(places),
            "tries of the sender that met no node": told["again"],
            "results in the archive": results, "studies with one film and one result": bound_to_studies(archive),
            "lost": len(films) - results, "lines in the audit log": len(lines),
            "films with two lines": sum(count > 1 for count in per_film.values()),
            "results offered to the archive more than once": sum(count > 1 for count in offered.values()),
            "exit status after SIGTERM": node.process.returncode,
        }  # fmt: skip


def down(run, films, folder, seconds=60):
    port = free_port()
    archive = Archive(folder / "orthanc", port).start()
    try:
        ids = [archive.post("/instances", path.read_bytes())["ID"] for path in films]
        with RunningNode(run, folder, archive.port, port) as node:
            node.until_ready()
            told = collections.Counter()
            send_all(archive, ids[: len(ids) // 4], told)
            # The other films come from elsewhere while the archive is away.
            archive.end(signal.SIGKILL)
            gone = time.monotonic()
            subprocess.run(["storescu", "-aet", CALLER, "-aec", NODE, "127.0.0.1", str(port),
                            *map(str, films[len(ids) // 4 :])], check=True)  # fmt: skip
            time.sleep(max(seconds - (time.monotonic() - gone), 0))
            waiting = node.waiting()
            archive.start()
            back = time.monotonic()
            wait_for(lambda: len(node.lines()) >= len(films) and node.waiting() == 0, 300)
            took = time.monotonic() - back
            offered = archive.offered()
            return {
                "films": len(films), "seconds without the peer": round(back - gone), "films that waited": waiting,
                "sent": sum(line["outcome"] == "sent" for line in node.lines()),
                "studies with one film and one result": bound_to_studies(archive),
                "seconds until all had arrived": round(took, 1),
                "offered more than once": sum(count > 1 for count in offered.values()),
            }  # fmt: skip
    finally:
        archive.end()


def own_seconds():
    """Returns the processor's seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def throughput(run, films, folder, rounds=3):
    """The node against the predictor on the same folder, round by round: seconds of the clock and of the processor.

    The node's time runs from the first film's sending to the last result's taking, its model loaded before; the
    predictor's from the first file's reading to the last score, without and with the same objects.
    """
    from chexkeras.delivery.dicom_output import DicomOutput
    from chexkeras.dicom.workers.options import ReadOptions
    from chexkeras.inference.predictor import Predictor
    from chexkeras.runs.run import Run

    loaded = Run.load(run)
    predictor, output = Predictor.load(loaded), DicomOutput(loaded, ("sr",))
    list(predictor.records(films[:16], 16, ReadOptions(workers=2)))
    clock, processor = collections.defaultdict(list), collections.defaultdict(list)
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        start, used = time.monotonic(), own_seconds()
        records = list(predictor.records(films, 16, ReadOptions(workers=2)))
        clock["predict"].append(time.monotonic() - start)
        processor["predict"].append(own_seconds() - used)
        for path, record in zip(films, records, strict=True):
            output.write(path, record, place / "objects")
        clock["predict and objects"].append(time.monotonic() - start)
        processor["predict and objects"].append(own_seconds() - used)
        port, peer_port = free_port(), free_port()
        (place / "taken").mkdir()
        peer = Process(["storescp", "-aet", ARCHIVE, "-od", str(place / "taken"), str(peer_port)], place / "scp.txt")
        with peer, RunningNode(run, place, peer_port, port) as node:
            node.until_ready()
            start, used = time.monotonic(), node.seconds()
            send = ["storescu", "-aet", CALLER, "-aec", NODE, "127.0.0.1", str(port), *map(str, films)]
            subprocess.run(send, check=True)
            wait_for(lambda: len(node.lines()) >= len(films) and node.waiting() == 0, 900, every=0.05)
            clock["node"].append(time.monotonic() - start)
            processor["node"].append(node.seconds() - used)
            assert len(list((place / "taken").iterdir())) == len(films)
        print(dict(clock), dict(processor), flush=True)
    return {
        "films": len(films), "processor ms a film": {
            name: [round(1_000 * value / len(films)) for value in values] for name, values in processor.items()
        },
        "throughput of the node over that of": {
            name: [round(a / b, 2) for a, b in zip(clock[name], clock["node"], strict=True)]
            for name in ("predict", "predict and objects")
        },
    }  # fmt: skip


def memory(run, films, folder):
    port, peer_port = free_port(), free_port()
    (folder / "taken").mkdir()
    peer = Process(["storescp", "-aet", ARCHIVE, "-od", str(folder / "taken"), str(peer_port)], folder / "scp.txt")
    seen = {}
    with peer, RunningNode(run, folder, peer_port, port) as node:
        node.until_ready()
        for start in range(0, len(films), 100):
            batch = films[start : start + 100]
            subprocess.run(["storescu", "-aet", CALLER, "-aec", NODE, "127.0.0.1", str(port), *map(str, batch)],
                           check=True)  # fmt: skip
            done = start + len(batch)
            wait_for(lambda done=done: len(node.lines()) >= done and node.waiting() == 0, 600)
            own, children = node.memory()
            seen[done] = (round(own / 2**20), round(children / 2**20))
        left = sum(path.stat().st_size for path in node.spool.rglob("*") if path.is_file())
    return {"MiB of the node and of its workers, by films": seen, "bytes left in the spool": left}


def mutations(run, films, folder, count=10_000):
    """Sends mutated associations and objects; every few hundred, whether the node still answers an honest caller."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.node.hostile import attack

    port, peer_port = free_port(), free_port()
    (folder / "taken").mkdir()
    peer = Process(["storescp", "-aet", ARCHIVE, "-od", str(folder / "taken"), str(peer_port)], folder / "scp.txt")
    with peer, RunningNode(run, folder, peer_port, port) as node:
        node.until_ready()
        before, most, answered = node.memory(), [0, 0], []
        start = time.monotonic()

        def look(done):
            now = node.memory()
            most[:] = [max(a, b) for a, b in zip(most, now, strict=True)]
            asked = time.monotonic()
            is_answered = subprocess.run(["echoscu", "-aet", CALLER, "-aec", NODE, "-to", "10", "127.0.0.1", str(port)],
                                         check=False, capture_output=True).returncode == 0  # fmt: skip
            answered.append((is_answered, time.monotonic() - asked))
            print(done, "done", [round(each / 2**20) for each in now], "MiB", node.health(), flush=True)

        outcomes = attack(port, films, count, caller=CALLER, called=NODE, look=look)
        wait_for(lambda: node.waiting() == 0, 300)
        honest = ["storescu", "-aet", CALLER, "-aec", NODE, "127.0.0.1", str(port), str(films[-1])]
        subprocess.run(honest, check=True)
        wait_for(lambda: node.waiting() == 0, 60)
        after = node.memory()
        return {
            "attacks": count, "outcomes": dict(outcomes), "seconds": round(time.monotonic() - start),
            "echoes answered": f"{sum(ok for ok, _ in answered)} of {len(answered)}",
            "slowest echo, s": round(max(took for _, took in answered), 2), "alive": node.process.poll() is None,
            "MiB before, most, after (node, workers)": [[x >> 20 for x in each] for each in (before, most, after)],
            "metrics": {name: value for name, value in node.metrics().items() if value and name.startswith(TOLD)},
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["kills", "down", "throughput", "memory", "mutations"])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--films", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chexkeras-node-"))
    try:
        drawn = 200 if given.what == "mutations" else given.count
        films = (
            sorted(given.films.iterdir())[:drawn] if given.films else make_films(folder / "films", drawn, given.size)
        )
        further = {"count": given.count} if given.what == "mutations" else {}
        print(json.dumps(globals()[given.what](given.run.resolve(), films, folder, **further), indent=1))
    finally:
        if given.keep:
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
