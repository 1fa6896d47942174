"""Every command that takes --executor ray, here and on a cluster that loses a node in the middle: the same bytes?

    .venv/bin/python benchmarks/scale/lost_node.py --data data/nih --films 1000

The commands are run as a person runs them: audit, prepare, train (what is frozen is kept, and compared), predict on
DICOM films drawn for it, and robustness. On the cluster, of two nodes on this machine, the second one is killed as soon
as a command says how far it is. Whatever it has written must be what it writes here, and nothing of Ray's stands on
standard output. Prints for each command how long it took and what differs.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.scale.on_ray import films_in
from tests.parallel.ray_cluster import ENVIRONMENT, TwoNodes

# The exit status of a prediction that refused files.
REFUSED = 3
_PROGRESS = re.compile(r": ([\d,]+) of ([\d,]+) \(")
# What differs between two runs of the same command on the same machine.
_OF_THE_CLOCK = re.compile(rb'"(created_utc|started|finished|seconds|run_id)": [^,\n}]*|-(own|ray)\b|\d+\.\d s')


def run_command(arguments: list[str], nodes: TwoNodes | None) -> tuple[float, bytes, bool]:
    """Runs a command, killing a node in the middle where there is one; returns seconds, output, and whether it did."""
    where = [] if nodes is None else ["--executor", "ray", "--address", nodes.address]
    start, killed, told = time.perf_counter(), False, []
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "chexkeras", *arguments, *where], stdout=output, stderr=subprocess.PIPE, text=True
        )
        for line in process.stderr:
            told.append(line)
            found = _PROGRESS.search(line)
            if nodes is not None and found and not killed and arguments_work(arguments, line):
                nodes.kill_one()
                killed = True
        if process.wait() not in (0, REFUSED):
            sys.exit(f"{' '.join(arguments)} ended with {process.returncode}:\n{''.join(told)}")
        output.seek(0)
        return time.perf_counter() - start, output.read(), killed


def arguments_work(arguments: list[str], line: str) -> bool:
    """Whether a line of progress is of the part that the cluster does: a training has others."""
    return arguments[0] != "train" or line.startswith("computing what is frozen")


def content(path: Path) -> dict[str, bytes]:
    """Returns the files of a folder, or a file, without what the clock decides."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    found = {}
    for each in sorted(files):
        name = "" if each == path else str(each.relative_to(path))
        if each.suffix == ".csv":
            with each.open(newline="") as rows:
                table = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(rows)]
            found[name] = repr(table).encode()
        else:
            found[name] = _OF_THE_CLOCK.sub(b"", each.read_bytes()) if each.suffix == ".json" else each.read_bytes()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; kept")
    parser.add_argument("--only", nargs="*", help="audit, prepare, train, predict, robustness")
    given = parser.parse_args()
    os.environ.update(ENVIRONMENT, CHEXKERAS_HASH_KEY="benchmark")
    folder = given.folder or Path(tempfile.mkdtemp())
    (folder / "films").mkdir(parents=True, exist_ok=True)
    films_in(folder / "films", given.films)
    data, run, store = str(given.data), str(folder / "run-own"), str(folder / "store-own")
    once = ["--set", f"image_size={given.size}", "--set", "stage1.epochs=1", "--set", "stage2.epochs=1"]
    commands = {
        "audit": lambda name: ["audit", data, "--out", str(folder / f"audit-{name}.json")],
        "prepare": lambda name: ["prepare", data, "--store", str(folder / f"store-{name}"), "--missing", "skip",
                                 "--size", str(given.size)],
        "train": lambda name: ["train", "--data", data, "--missing", "skip", "--preset", "quick", *once,
                               "--features", "float16", "--features-store", str(folder / f"train-{name}"),
                               "--run", str(folder / f"run-{name}")],
        "predict": lambda name: ["predict", str(folder / "films"), "--run", run,
                                 "--out", str(folder / f"predict-{name}.csv")],
        "robustness": lambda name: ["robustness", run if name == "own" else str(folder / "run-ray"), "--data", data,
                                    "--store", store, "--only", "exposure", "--overwrite"],
    }  # fmt: skip
    written = {"audit": "audit-{}.json", "prepare": "store-{}", "train": "train-{}", "predict": "predict-{}.csv",
               "robustness": "run-{}/robustness.json"}  # fmt: skip
    for command in given.only or commands:
        took_own, own, _ = run_command(commands[command]("own"), None)
        nodes = TwoNodes()
        try:
            took_ray, ray, killed = run_command(commands[command]("ray"), nodes)
        finally:
            nodes.close()
        one, other = (content(folder / written[command].format(name)) for name in ("own", "ray"))
        differing = sorted(name or written[command] for name in {*one, *other} if one.get(name) != other.get(name))
        same_output = _OF_THE_CLOCK.sub(b"", own) == _OF_THE_CLOCK.sub(b"", ray)
        print(
            f"{command}: {took_own:.0f} s here, {took_ray:.0f} s by Ray{', a node killed' if killed else ''}; "
            f"{len(one)} files, differing: {differing or 'none'}; "
            f"standard output {'the same' if same_output else 'differs'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
