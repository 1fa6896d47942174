"""Images and stores from a server that speaks S3 on this machine against the same from disk: ratios within one run.

    .venv/bin/python benchmarks/scale/object_storage.py FOLDER_OF_PNG_FILES --images 1000

moto's server, a process of its own on loopback, keeps the files in its memory; nothing leaves the machine. A network
is slower and a real store has more hands, so this says what chexkeras and its driver cost, not what a bucket gives.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd

from chexkeras import storage
from chexkeras.data.store.prepare import prepare
from chexkeras.data.store.store import Store
from chexkeras.parallel import map_ordered
from chexkeras.storage import Remote

SERVER = """
import logging, sys, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
time.sleep(1e6)
"""


def measured(variants: dict[str, Callable[[], object]], what: str, rounds: int) -> None:
    """Prints the seconds of each variant, measured in turn, and how they compare with the first of the same round."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    base = seconds[next(iter(variants))]
    print(what)
    for name, values in seconds.items():
        ratio = statistics.median(value / first for value, first in zip(values, base, strict=True))
        print(f"  {name:45} {statistics.median(values):8.2f} s {ratio:7.2f} times the first")


def main() -> None:
    """Uploads, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            os.environ |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}", "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1", storage.CACHE_VARIABLE: folder,
            }  # fmt: skip
            compare(asked, Path(folder))
        finally:
            server.kill()


def compare(asked: argparse.Namespace, scratch: Path) -> None:
    """Measures reading files, preparing a store, and having a copy of one."""
    import s3fs

    s3fs.S3FileSystem().mkdir("bucket")
    originals = sorted(asked.folder.glob("*.png"))
    here = [str(originals[number % len(originals)]) for number in range(asked.images)]
    there = [f"s3://bucket/images/{number:06}.png" for number in range(asked.images)]
    for path, url in zip(here, there, strict=True):
        storage.put(Remote(url), Path(path))
    total = sum(os.path.getsize(path) for path in here)
    print(f"{asked.images:,} PNG files ({len(originals)}, repeated), {total / asked.images / 1e3:,.0f} kB each")

    def read(workers: int) -> None:
        storage.files_below(Remote("s3://bucket/images"))
        for content in map_ordered(lambda url: storage.content(url, 2**28), there, executor="threads", workers=workers):
            assert content

    measured(
        {
            "disk": lambda: [Path(path).read_bytes() for path in here] and None,
            "s3, one after the other": lambda: read(1),
            "s3, eight at once": lambda: read(8),
        },
        "bytes of all files",
        asked.rounds,
    )
    count = iter(range(1_000))
    tables = {}
    for name, paths in {"disk": here, "s3": there}.items():
        tables[name] = pd.DataFrame({"image_id": [f"{number:06}" for number in range(asked.images)], "path": paths})

    def prepared(name: str, to: str) -> Store:
        return prepare(tables[name], to, size=asked.size)

    # TensorFlow starts.
    prepare(tables["disk"].head(8), scratch / "first", size=asked.size)
    measured(
        {
            "disk to disk": lambda: prepared("disk", str(scratch / f"store{next(count)}")),
            "s3 to disk": lambda: prepared("s3", str(scratch / f"store{next(count)}")),
            "s3 to s3": lambda: prepared("s3", f"s3://bucket/stores/{next(count)}"),
        },
        f"a store of {asked.size} px",
        asked.rounds,
    )
    store = prepared("disk", "s3://bucket/stores/last")

    def fetched() -> None:
        os.environ[storage.CACHE_VARIABLE] = str(scratch / f"cache{next(count)}")
        Store.load("s3://bucket/stores/last")

    measured(
        {"checked on this machine (verify)": store.verify, "fetched from s3 and checked": fetched},
        f"the store, {len(store) * asked.size**2 / 1e6:,.0f} MB",
        asked.rounds,
    )


if __name__ == "__main__":
    main()
