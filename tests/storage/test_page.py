"""The commands of docs/how-to/scale/object-storage.md, run as they stand there, from a shell against a server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chexkeras
from chexkeras import storage
from chexkeras.inference.results_file import read_results
from chexkeras.phantoms import make_phantoms
from chexkeras.runs.run import Run
from chexkeras.storage import Remote

pytestmark = [pytest.mark.keras, pytest.mark.slow]

ROOT = Path(chexkeras.__file__).parent.parent
PAGE = ROOT / "docs" / "how-to" / "scale" / "object-storage.md"

# What a test has no time for: the network, its size, its epochs.
SMALLER = {
    "--size 224": "--size 32",
    "--run runs/first\n": "--run runs/first --preset quick --set backbone=SmallCNN --set image_size=32 "
    "--set stage1.epochs=1 --set stage2.epochs=1 --validation 0.25 --test 0.25\n",
    # Films that are refused are results, too.
    "--out s3://bucket/results.csv\n": "--out s3://bucket/results.csv || test $? -eq 3\n",
}


def commands():
    """The commands of the page's first block, without what installs and what names a profile."""
    block = re.search(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    lines = [line for line in block.splitlines(keepends=True) if not line.startswith(("pip ", "export "))]
    text = "".join(lines)
    for there, here in SMALLER.items():
        assert there in text
        text = text.replace(there, here)
    return text


def test_the_commands_of_the_page_run_from_a_shell(s3, tmp_path):
    folder = make_phantoms(tmp_path / "nih", images=60, size=64, prevalence={"Cardiomegaly": 0.5}, dicom=True)
    s3(folder, "s3://bucket/nih")
    s3(folder / "dicom", "s3://bucket/films")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "chexkeras"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m chexkeras "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"]))
    cache = {storage.CACHE_VARIABLE: str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(
        ["sh", "-e", "-c", commands()],
        cwd=tmp_path,
        env={**os.environ, **cache},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    storage.forget()
    names = {url.partition("images.store/")[2].partition("-")[0] for url in storage.files_below(Remote("s3://bucket"))}
    assert {"manifest.json", "index.csv", "shards/00000"} <= names
    run = Run.load(tmp_path / "runs" / "first")
    assert len(run.scores("test")) > 0
    results = read_results(Remote("s3://bucket/results.csv"))
    assert len(results) == len(list((folder / "dicom").iterdir()))
    secrets = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    assert not any(secret in done.stdout + done.stderr for secret in secrets)
