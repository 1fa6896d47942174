"""The page of a run under load: time of an answer, memory and disk over many uploads, several users at once.

    .venv/bin/python benchmarks/page.py RUN --uploads 200 --users 5

The film is a phantom enlarged to 2,048 pixels, 12 bits, as a DICOM file. On a shared machine the processor's time is
what counts: that of this process and of the processes that read.
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


def used() -> tuple[float, int]:
    """Returns seconds of processor and bytes of memory of this process and those that it started."""
    own = psutil.Process()
    every = [own, *own.children(recursive=True)]
    times = [each.cpu_times() for each in every]
    return sum(each.user + each.system for each in times), sum(each.memory_info().rss for each in every)


def ask(url: str, content: bytes, address: str = "api/film") -> dict:
    """Uploads one film."""
    request = urllib.request.Request(url + address, data=content, method="POST")
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())


def on_disk() -> set[str]:
    """Returns what lies in the folders that a server might write to."""
    places = [Path(tempfile.gettempdir()), Path.cwd()]
    return {str(path) for place in places for path in place.iterdir()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run folder")
    parser.add_argument("--uploads", type=int, default=200, help="uploads in a row")
    parser.add_argument("--users", type=int, default=5, help="users at once")
    parser.add_argument("--side", type=int, default=2048, help="rows and columns of the film")
    given = parser.parse_args()
    films = example_films()
    film = large_film(films["accepted"][1], given.side)
    with make_page(given.run, port=0) as page:
        page.start()
        before = on_disk()
        for name in ("first", "second", "third"):
            start, (work, _) = time.perf_counter(), used()
            answer = ask(page.url, film)
            wall, spent = time.perf_counter() - start, used()[0] - work
            print(f"{name} answer: {wall:.2f} s by the clock, {spent:.2f} s of processor; {answer['verdict']}")
        memory, walls = [], []
        for at in range(given.uploads):
            key = list(films)[at % len(films)]
            start = time.perf_counter()
            ask(page.url, films[key][1])
            walls.append(time.perf_counter() - start)
            memory.append(used()[1] / 2**20)
        fifth = len(memory) // 5
        print(f"{given.uploads} uploads: median {statistics.median(walls):.2f} s; memory {memory[0]:.0f} MiB at first, "
              f"median {statistics.median(memory[fifth : 2 * fifth]):.0f} in the second fifth, "
              f"{statistics.median(memory[-fifth:]):.0f} in the last")  # fmt: skip
        keys = [key for key in films if key != "damaged"][: given.users]
        alone = {key: ask(page.url, films[key][1]).get("findings") for key in keys}
        together: dict[str, object] = {}
        users = [
            threading.Thread(
                target=lambda key=key: together.update({key: ask(page.url, films[key][1]).get("findings")})
            )
            for key in keys
        ]
        start = time.perf_counter()
        for user in users:
            user.start()
        for user in users:
            user.join()
        print(
            f"{len(keys)} users at once: {time.perf_counter() - start:.2f} s for all, own answers: {together == alone}"
        )
        print(f"left on disk: {sorted(on_disk() - before)}")


if __name__ == "__main__":
    main()
