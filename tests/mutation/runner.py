"""Chooses the tests that can notice a mistake and runs them, in a temporary copy of a tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.mutation.sites import Site, same_words

# What a site's tests lie in, where neither a folder of its name nor coverage says so.
_FOLDERS = {"runs": ("training", "cli"), "results": ("evaluation",), "base": ()}
# These read the source or run for minutes whatever was changed.
_NEVER = ("test_architecture.py", "test_notebooks.py", "test_readme.py")
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", "*.pyc", ".coverage*", ".hypothesis", ".*_cache", "node_modules"
)


@dataclass
class Verdict:
    """What the tests of one tree said about one mistake.

    Attributes:
        state: `killed`, `survived`, `timeout`, `unreached` (no test was run) or `gone` (the tree has no such place).
        test: the test that noticed it, and how it failed.
        seconds: how long its tests took.
        tests: number of tests that were run.
        of: number of tests that could have been run.
    """

    state: str
    test: str = ""
    seconds: float = 0.0
    tests: int = 0
    of: int = 0

    def to_json(self) -> dict:
        """Returns the verdict as plain values."""
        return asdict(self)


@dataclass
class Reach:
    """Which tests run which line, and how long each takes.

    Attributes:
        lines: test names by file and line number, from a coverage file with a context for every test.
        seconds: duration by test name, from a JUnit file.
        broken: tests that fail without any mistake.
    """

    lines: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, coverage: Path | None, junit: Path | None) -> Reach:
        """Reads what `pytest --cov=chexkeras --cov-context=test --junitxml=FILE` left.

        Args:
            coverage: the `.coverage` file; without it no line is known.
            junit: the JUnit file; without it every test is taken to last a second.
        """
        reach = cls()
        if junit:
            for case in ElementTree.parse(junit).getroot().iter("testcase"):
                parts = case.get("classname", "").split(".")
                end = next((i for i, part in enumerate(parts, start=1) if part.startswith("test_")), len(parts))
                name = "::".join(["/".join(parts[:end]) + ".py", *parts[end:], case.get("name", "")])
                reach.seconds[name] = reach.seconds.get(name, 0.0) + float(case.get("time", 0))
                if case.find("failure") is not None or case.find("error") is not None:
                    reach.broken.add(name)
        if coverage:
            from coverage.numbits import numbits_to_nums

            with sqlite3.connect(f"file:{coverage}?mode=ro", uri=True) as data:
                found = defaultdict(set)
                rows = data.execute(
                    "SELECT f.path, c.context, l.numbits FROM line_bits l "
                    "JOIN file f ON f.id = l.file_id JOIN context c ON c.id = l.context_id"
                )
                for path, context, numbits in rows:
                    if not context:
                        continue  # what runs on import
                    file = "chexkeras" + path.split("chexkeras", 1)[1]
                    test, _, phase = context.rpartition("|")
                    for line in numbits_to_nums(numbits):
                        # A fixture that the whole file shares runs once, in the first test that asks for it.
                        found[file, line].add(test if phase == "run" else test.split("::")[0])
            reach.lines = dict(found)
        return reach

    def tests(self, site: Site, tree: Path) -> list[str]:
        """Lists the tests that run the line of a site, the likeliest and quickest first.

        Args:
            site: a place in this tree.
            tree: root of the checkout.

        Returns:
            Test names, or paths of whole test files where no coverage is known.
        """
        found = set(self.lines.get((site.file, site.lineno), ()))
        if not found and self.lines:
            # A line of a longer statement, or a default: whatever runs the lines after it.
            for line in range(site.lineno - 12, site.lineno + 13):
                found |= self.lines.get((site.file, line), set())
        if not found:
            return _mapped(site, tree)
        files = {f for f in found if "::" not in f}
        found = {f for f in found if "::" in f} | {t for t in self.seconds if t.split("::")[0] in files}
        stem, room = Path(site.file).stem, site.room

        # What one test took hundreds of seconds for is a fixture of its whole file.
        whole: dict[str, float] = defaultdict(float)
        for test in found:
            path, seconds = test.split("::")[0], self.seconds.get(test, 1.0)
            whole[path] = max(whole[path], seconds if seconds > 200 else 0.0)

        def cost(test: str) -> float:
            path = test.split("::")[0]
            far = 1 if stem in Path(path).stem else 2 if f"/{room}/" in f"/{path}" else 4
            return (self.seconds.get(test, 1.0) + whole[path] + 0.05) * far

        return sorted((t for t in found if not t.split("::")[0].endswith(_NEVER)), key=lambda t: (cost(t), t))


def _mapped(site: Site, tree: Path) -> list[str]:
    """Test files of the site's room: those named after its file first, then those of its folder, then the others."""
    parts = site.file.removeprefix("chexkeras/").split("/")
    rooms = (parts[0], *_FOLDERS.get(parts[0], ())) if len(parts) > 1 else ()
    files = {f for room in rooms for f in (tree / "tests" / room).rglob("test_*.py")} | set(
        (tree / "tests").glob("test_*.py")
    )
    stem = Path(site.file).stem

    def far(path: Path) -> tuple:
        same = stem in path.stem
        folder = len(parts) > 2 and path.parent.name == parts[1]
        return not same, not folder, path.parent == tree / "tests", path.as_posix()

    files = {f for f in files if f.name not in _NEVER and (f.name != "test_demo.py" or stem == "demo")}
    return [f.relative_to(tree).as_posix() for f in sorted(files, key=far)]


def same_test(name: str) -> str:
    """Returns the words of a test's function, by which it is the same in two trees.

    Args:
        name: the test's name, with its file and parameters or without.
    """
    return same_words(name.split("::")[-1]).split("[")[0]


class _Chosen:
    """Pytest plugin: keeps the chosen tests, in their order, and remembers which failed."""

    def __init__(self, wanted: list[str] | None, skip: set[str], not_marked: str, limit: float) -> None:
        self.order = {name: i for i, name in enumerate(wanted)} if wanted is not None else None
        self.skip, self.marks, self.failed, self.ran, self.of = skip, not_marked.split(), "", 0, 0
        self.limit, self.began, self.all_failed = limit, 0.0, []

    def pytest_collection_modifyitems(self, config, items) -> None:
        kept = [i for i in items if i.nodeid not in self.skip and not any(i.get_closest_marker(m) for m in self.marks)]
        if self.order is not None:
            # By its own name, or by the words of its function.
            place = {i: self.order.get(i.nodeid, self.order.get(same_test(i.nodeid))) for i in kept}
            kept = [i for i in kept if place[i] is not None]
            first: dict = {}
            for item in kept:
                path = item.nodeid.split("::")[0]
                first[path] = min(first.get(path, len(self.order)), place[item])
            kept.sort(key=lambda i: (first[i.nodeid.split("::")[0]], place[i]))
        items[:] = kept
        self.of, self.began = len(items), time.monotonic()

    def pytest_runtest_setup(self, item) -> None:
        if time.monotonic() - self.began > self.limit:
            item.session.shouldstop = "the time for this mistake is over"

    def pytest_runtest_logreport(self, report) -> None:
        self.ran += report.when == "call"
        if report.failed:
            self.all_failed.append(report.nodeid)
        if report.failed and not self.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = (crash.message if crash else str(report.longrepr)).splitlines()[0][:140]
            self.failed = f"{report.nodeid} ({report.when}: {why})"

    def pytest_collectreport(self, report) -> None:
        if report.failed and not self.failed:
            self.failed = f"{report.nodeid} (import: {str(report.longrepr).splitlines()[-1][:140]})"


class Copy:
    """A temporary copy of a tree, in which mistakes are planted and tests run.

    TensorFlow, Keras, pandas and pytest are imported once here; each run of tests is a forked process that finds them
    ready and imports `chexkeras` from the copy.
    """

    def __init__(self, tree: Path, not_marked: str = "", warm: bool = True) -> None:
        """Copies the tree.

        Args:
            tree: root of the checkout; it is only read.
            not_marked: names of the marks whose tests are left out, with spaces between.
            warm: whether to import what most tests need before the first run.
        """
        self.top = Path(tempfile.mkdtemp(prefix="mutation-"))
        self.tree, self.marks = self.top / "tree", not_marked
        shutil.copytree(tree, self.tree, ignore=_LEFT_OUT, symlinks=True)
        # Some tests ask git for the commit.
        subprocess.run(
            "git init -q . && git add -A && git -c user.name=m -c user.email=m@m commit -q -m copy",
            shell=True,
            cwd=self.tree,
        )
        if warm:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            import hypothesis  # noqa: F401
            import keras  # noqa: F401
            import pandas  # noqa: F401
            import pydicom  # noqa: F401
            import pytest  # noqa: F401
            import scipy.stats  # noqa: F401

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.top, ignore_errors=True)

    def _without_bytecode(self, path: Path) -> None:
        # Python knows a changed file by its second and its size: a planted "<" for ">" has both the same.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()

    def judge(
        self, site: Site, batches: Iterable[tuple[list[str], list[str] | None]], skip: set[str], limit: float
    ) -> Verdict:
        """Plants one mistake, runs batches of tests until one notices it, and takes the mistake out again.

        Args:
            site: the place, as this tree has it.
            batches: for each run the test files and the tests chosen in them, None for all of them.
            skip: tests that are not run.
            limit: seconds for all the tests of this mistake.
        """
        path = self.tree / site.file
        before = path.read_bytes()
        began, verdict = time.monotonic(), Verdict("survived")
        try:
            path.write_bytes(site.plant(before))
            self._without_bytecode(path)
            for files, names in batches:
                left = limit - (time.monotonic() - began)
                if left <= 0:
                    break
                found = self.run(files, names, skip, left)
                verdict.tests += found.get("ran", 0)
                verdict.of += found.get("of", 0)
                if found.get("timeout") or found.get("failed"):
                    verdict.state, verdict.test = (
                        ("timeout", "") if found.get("timeout") else ("killed", found["failed"])
                    )
                    break
        finally:
            path.write_bytes(before)
            self._without_bytecode(path)
        verdict.seconds = round(time.monotonic() - began, 1)
        if verdict.state == "survived" and not verdict.tests:
            verdict.state = "unreached"
        return verdict

    def run(self, files: list[str], names: list[str] | None, skip: set[str], limit: float, stop: bool = True) -> dict:
        """Runs tests in a forked process.

        Args:
            files: test files, relative to the tree.
            names: tests to keep of them, in the order to run; None keeps all.
            skip: tests that are not run.
            limit: seconds after which no further test begins; half as many and two minutes more end the process.
            stop: whether the first failure ends the run.
        """
        answer, log, scratch = self.top / "answer.json", self.top / "log.txt", self.top / "tmp"
        answer.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._in_child(files, names, skip, limit, stop, answer, log, scratch)
        end = time.monotonic() + 1.5 * limit + 120
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return {"timeout": True}
            time.sleep(0.1)
        if not answer.exists():
            return {"failed": "(the process died: " + log.read_text(errors="replace")[-200:].replace("\n", " ") + ")"}
        return json.loads(answer.read_text())

    def _in_child(self, files, names, skip, limit, stop, answer, log, scratch) -> None:
        status = 1
        try:
            os.setsid()
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.chdir(self.tree)
            for name in [n for n in sys.modules if re.match(r"(tests|chexkeras)(\.|$)", n)]:
                del sys.modules[name]
            here = Path(__file__).resolve().parents[2]
            sys.path[:] = [str(self.tree), *(p for p in sys.path if p and Path(p).resolve() != here)]
            os.environ.update(PYTHONPATH=str(self.tree), TMPDIR=str(scratch), TF_CPP_MIN_LOG_LEVEL="3")
            tempfile.tempdir = None
            import pytest

            plugin = _Chosen(names, skip, self.marks, limit)
            stopping = ["-x"] if stop else []
            options = [*stopping, "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist"]
            code = pytest.main([*options, f"--basetemp={scratch / 'pytest'}", *files], plugins=[plugin])
            found = {"code": int(code), "failed": plugin.failed, "ran": plugin.ran, "of": plugin.of}
            found["all_failed"] = plugin.all_failed
            answer.write_text(json.dumps(found))
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
