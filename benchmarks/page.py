"""The page of a run under load: time of an answer, memory and disk over many uploads, several users at once.

    .venv/bin/python benchmarks/page.py RUN --uploads 200 --users 5

The film is a phantom enlarged to 2,048 pixels, 12 bits, as a DICOM file; every second upload is it, the others are the
page's examples, those that are refused among them. On a shared machine the processor's time is what counts: that of
this process and of the processes that read.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil
import pydicom
from PIL import Image

from chexkeras.page.examples import example_films
from chexkeras.page.serve import make_page

FIRST_SECONDS, NEXT_SECONDS = 3.0, 1.0


def large_film(content: bytes, side: int) -> bytes:
    """Returns a DICOM film of another size, stored with 12 bits."""
    data = pydicom.dcmread(io.BytesIO(content))
    pixels = np.asarray(Image.fromarray(data.pixel_array).resize((side, side), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).integers(0, 16, pixels.shape, dtype=np.uint16)
    data.PixelData = (pixels.astype(np.uint16) * 16 + noise).tobytes()
    data.Rows = data.Columns = side
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.WindowCenter, data.WindowWidth = 2048, 4096
    data["PixelData"].VR = "OW"
    held = io.BytesIO()
    data.save_as(held)
    return held.getvalue()


def used() -> tuple[float, float, float]:
    """Returns seconds of processor, MiB of memory and MiB written to disk of this process and those that it started."""
    own = psutil.Process()
    every = [own, *own.children(recursive=True)]
    times = [each.cpu_times() for each in every]
    return (
        sum(each.user + each.system for each in times),
        sum(each.memory_info().rss for each in every) / 2**20,
        sum(each.io_counters().write_bytes for each in every) / 2**20,
    )


def ask(url: str, content: bytes, address: str = "api/film") -> dict:
    """Uploads one film."""
    request = urllib.request.Request(url + address, data=content, method="POST")
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())


def timed(url: str, content: bytes) -> tuple[float, float, dict]:
    """Returns seconds by the clock and of processor that an upload took, and its answer."""
    start, work = time.perf_counter(), used()[0]
    answer = ask(url, content)
    return time.perf_counter() - start, used()[0] - work, answer


def on_disk() -> set[str]:
    """Returns what lies in the folders that a server might write to."""
    return {str(path) for place in (Path(tempfile.gettempdir()), Path.cwd()) for path in place.iterdir()}


def measure_answers(url: str, film: bytes) -> None:
    """Prints the first answer and the next ones to a large film."""
    wall, spent, answer = timed(url, film)
    print(f"first answer: {wall:.2f} s by the clock (wanted: {FIRST_SECONDS:g}), {spent:.2f} s of processor; "
          f"{answer['verdict']}, {answer.get('rows', 0)} pixels high")  # fmt: skip
    further = [timed(url, film)[:2] for _ in range(5)]
    walls, work = zip(*further, strict=True)
    print(f"next five: {statistics.median(walls):.2f} s by the clock in the median (wanted: {NEXT_SECONDS:g}), "
          f"{max(walls):.2f} the longest, {statistics.median(work):.2f} s of processor")  # fmt: skip


def measure_many(url: str, films: list[bytes], film: bytes, uploads: int) -> None:
    """Prints time, memory and disk over many uploads in a row."""
    _, _, written = used()
    memory, walls = [], []
    for at in range(uploads):
        content = film if at % 2 == 0 else films[at // 2 % len(films)]
        walls.append(timed(url, content)[0])
        memory.append(used()[1])
    part = max(len(memory) // 5, 1)
    early, late = statistics.median(memory[part : 2 * part] or memory), statistics.median(memory[-part:])
    print(f"{uploads} uploads in a row: median {statistics.median(walls):.2f} s; memory {memory[0]:.0f} MiB at first, "
          f"median {early:.0f} in the second fifth, {late:.0f} in the last, {max(memory):.0f} at most; "
          f"{used()[2] - written:.1f} MiB written to disk")  # fmt: skip


def measure_users(url: str, films: list[bytes]) -> None:
    """Prints how long several users wait who upload at once, and whether each gets the answer of its own film."""
    alone = [ask(url, content)["findings"] for content in films]
    together: dict[int, object] = {}
    waited: dict[int, float] = {}

    def one(user: int) -> None:
        start = time.perf_counter()
        together[user] = ask(url, films[user])["findings"]
        waited[user] = time.perf_counter() - start

    users = [threading.Thread(target=one, args=(user,)) for user in range(len(films))]
    for user in users:
        user.start()
    for user in users:
        user.join()
    own = [together.get(user) for user in range(len(films))] == alone
    longest = max(waited.values(), default=float("nan"))
    print(f"{len(films)} users at once: the last waited {longest:.2f} s; each got its own film's answer: {own}")


def measure(given: argparse.Namespace) -> None:
    """Serves the page and measures it."""
    examples = example_films()
    film = large_film(examples["accepted"].content, given.side)
    start = time.perf_counter()
    with make_page(given.run, port=0) as page:
        page.start()
        with urllib.request.urlopen(f"{page.url}api/run", timeout=60) as answer:
            told = json.loads(answer.read())
        print(f"{told['facts']['Network']}; ready after {time.perf_counter() - start:.1f} s; {os.cpu_count()} cores")
        before = on_disk()
        measure_answers(page.url, film)
        measure_many(page.url, [each.content for each in examples.values()], film, given.uploads)
        scored = [film, *(examples[key].content for key in ("accepted", "accepted-other", "warned", "inverted"))]
        measure_users(page.url, [scored[user % len(scored)] for user in range(given.users)])
        print(f"left on disk: {sorted(on_disk() - before) or 'nothing'}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run folder; the issue's figures are for one of DenseNet121")
    parser.add_argument("--uploads", type=int, default=200, help="uploads in a row, at least 1")
    parser.add_argument("--users", type=int, default=5, help="users at once, at least 1 and at most 8")
    parser.add_argument("--side", type=int, default=2048, help="rows and columns of the film")
    given = parser.parse_args()
    if given.uploads < 1 or not 1 <= given.users <= 8:
        parser.error("at least one upload and one to eight users: so many films the server takes at a time")
    with tempfile.TemporaryDirectory(prefix="page-benchmark-") as folder:
        # A folder for temporary files that no other program writes to: what is left there was left by the page.
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        measure(given)


if __name__ == "__main__":
    main()
