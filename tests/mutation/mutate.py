"""Plants small mistakes in the package, one at a time, and asks whether the tests notice.

    python -m tests.mutation.mutate plan --count 92 --seed 0 --out plan.json
    python -m tests.mutation.mutate run --plan plan.json --tree . --out verdicts.json
    python -m tests.mutation.mutate table --plan plan.json --run before.json --run after.json

`plan` chooses them at random over all rooms; `run` judges them in a temporary copy of a tree, which may be another
version of the package: a place is found by its function and its statement. With `--coverage` and `--junit` (left by
`pytest --cov=chexkeras --cov-context=test --junitxml=FILE`) only tests that run the changed line are run, the likeliest
and quickest first; else the test files of its room. `--before` lets the run of an earlier tree guide that of a later
one. The working tree is never touched; one run of tests goes at a time.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.mutation.match import locate
from tests.mutation.runner import Copy, Reach, Verdict, same_test
from tests.mutation.sites import Site, choose


def say(*words: object, end: str = "\n") -> None:
    """Writes a line, and shows it at once.

    Args:
        words: what it says.
        end: what ends it.
    """
    sys.stdout.write(" ".join(map(str, words)) + end)
    sys.stdout.flush()


def plan(arguments: argparse.Namespace) -> None:
    """Writes the chosen mistakes."""
    chosen = [
        {"id": number, **site.to_json()}
        for number, site in enumerate(choose(arguments.tree, arguments.count, arguments.seed))
    ]
    arguments.out.write_text(json.dumps(chosen, indent=1) + "\n")
    say(f"{len(chosen)} mistakes in {arguments.out}")


def _planned(path: Path) -> dict[int, tuple[str, Site]]:
    entries = json.loads(path.read_text())
    return {e.pop("id"): (e.pop("room"), Site(**e)) for e in entries}


def _batches(
    tests: list[str], reach: Reach, cheap: float, limit: float
) -> Iterator[tuple[list[str], list[str] | None]]:
    """First the likeliest tests, as many as take `cheap` seconds; then as many of the others as fit into `limit`."""
    if tests and "::" not in tests[0]:
        for file in tests:
            yield [file], None
        return
    parts: tuple[list[str], list[str]] = ([], [])
    spent, files = 0.0, set()
    for test in tests:
        spent += reach.seconds.get(test, 1.0)
        files.add(test.split("::")[0])
        if not parts[0] or (spent <= cheap and len(parts[0]) < 150 and len(files) <= 2):
            parts[0].append(test)
        elif spent <= limit and len(parts[1]) < 600:
            parts[1].append(test)
    for names in parts:
        if names:
            yield list(dict.fromkeys(n.split("::")[0] for n in names)), names


def run(arguments: argparse.Namespace) -> None:
    """Judges every mistake of a plan in one tree; what a file of verdicts already says is not asked again."""
    wanted = _planned(arguments.plan)
    reach = Reach.read(arguments.coverage, arguments.junit)
    verdicts = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    # Two of every room first, then all rooms in turn: a run that is broken off has seen all of them.
    seen: Counter = Counter()
    rank = {}
    for number, (room, _) in wanted.items():
        rank[number] = (seen[room] >= 2, number * 37 % 101)
        seen[room] += 1
    guide = _guide(arguments)
    places = dict(zip(wanted, locate((site for _, site in wanted.values()), arguments.tree), strict=True))
    skip = set(reach.broken)
    with Copy(arguments.tree, arguments.not_marked) as copy:
        index = index_of(copy)
        while left := [n for n in wanted if str(n) not in verdicts and (not arguments.only or n in arguments.only)]:
            for number in sorted(left, key=rank.__getitem__):
                site, here = places[number]
                if here is None:
                    verdict = Verdict("gone")
                else:
                    tests = reach.tests(here, arguments.tree)
                    if guide:
                        batches = _guided(*guide[number], tests, index)
                    else:
                        batches = _batches(tests, reach, arguments.cheap, arguments.limit)
                    verdict = copy.judge(here, batches, skip, arguments.limit)
                verdicts[str(number)] = {**verdict.to_json(), "at": f"{here.file}:{here.lineno}" if here else ""}
                arguments.out.write_text(json.dumps(verdicts, indent=1) + "\n")
                say(f"{number:3} {verdict.state:9} {verdict.seconds:6.1f} s {verdict.tests:4}/{verdict.of:<4}", end=" ")
                say(f"{site.file} {site.function}: {site.old[:30]!r} -> {site.new[:30]!r} {verdict.test[:150]}")
            killers = {killer(v) for v in verdicts.values() if v["state"] == "killed" and "::" in v["test"]} - skip
            broken = _control(copy, killers)
            skip |= broken
            verdicts = {n: v for n, v in verdicts.items() if killer(v) not in broken}


def killer(verdict: dict) -> str:
    """Returns the name of the test that noticed a mistake.

    Args:
        verdict: the verdict as plain values.
    """
    return verdict["test"].split(" (")[0]


def _control(copy: Copy, killers: set[str]) -> set[str]:
    """Runs the tests that noticed something once more without any mistake, and returns those that fail all the same."""
    killers = {k for k in killers if "test_demo.py" not in k}  # It takes minutes where nothing is wrong.
    if not killers:
        return set()
    files = sorted({k.split("::")[0] for k in killers})
    found = copy.run(files, sorted(killers), set(), 1200, stop=False)
    say(f"control without a mistake: {found}")
    return set(found.get("all_failed", ())) & killers


def _guide(arguments: argparse.Namespace) -> dict[int, tuple[str, list[str]]]:
    """For each mistake the test of an earlier tree that noticed it, and all that could have."""
    if not arguments.before:
        return {}
    tree, coverage, junit, run_file = arguments.before
    reach = Reach.read(Path(coverage), Path(junit))
    verdicts, wanted = json.loads(Path(run_file).read_text()), _planned(arguments.plan)
    guide = {}
    for number, here in zip(wanted, (h for _, h in locate((s for _, s in wanted.values()), Path(tree))), strict=True):
        first = killer(verdicts[str(number)]) if str(number) in verdicts else ""
        # Half a minute is more than one test is worth here, and the demonstration is one fixture of some minutes.
        found = reach.tests(here, Path(tree)) if here else []
        others = [t for t in found if reach.seconds.get(t, 1.0) < 30 and "test_demo.py" not in t]
        guide[number] = (first, others)
    return guide


def _guided(
    first: str, others: list[str], mapped: list[str], index: dict[str, list[str]]
) -> Iterator[tuple[list[str], list[str] | None]]:
    """The test that noticed it in the earlier tree, then those that could have; the room's files where none is left."""
    told = False
    for names in ([first], others[:150], others[150:600]):
        words = [word for word in dict.fromkeys(map(same_test, names)) if word in index]
        if words:
            told = True
            yield list(dict.fromkeys(file for word in words for file in index[word])), words
    for file in mapped[: 2 if told else None]:
        yield [file], None


def index_of(copy: Copy) -> dict[str, list[str]]:
    """Lists the test files of a copy by the words of the test functions in them.

    Args:
        copy: the copy of a tree.
    """
    found = defaultdict(list)
    for path in sorted((copy.tree / "tests").rglob("test_*.py")):
        for name in re.findall(r"^\s*def (test_\w+)", path.read_text(), flags=re.M):
            found[same_test(name)].append(path.relative_to(copy.tree).as_posix())
    return found


def table(arguments: argparse.Namespace) -> None:
    """Prints the verdicts of several runs side by side, and the sums by room, as Markdown."""
    wanted = _planned(arguments.plan)
    runs = {path.stem: json.loads(path.read_text()) for path in arguments.run}
    say("| # | room | function | line | old -> new | " + " | ".join(runs) + " |\n|" + " --- |" * (5 + len(runs)))
    for number, (room, site) in wanted.items():
        cells = [r.get(str(number), {}).get("state", "") for r in runs.values()]
        change = " ".join(f"{site.old[:60]} -> {site.new[:60]}".split())
        row = (number, room, site.function, f"`{site.line[:80]}`", f"`{change}`", *cells)
        say("| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |")
    say(
        "\n| room | mistakes | "
        + " | ".join(f"killed by {name}" for name in runs)
        + " |\n|"
        + " --- |" * (2 + len(runs))
    )
    for room in [*sorted({room for room, _ in wanted.values()}), "all"]:
        numbers = [n for n, (r, _) in wanted.items() if room in (r, "all")]
        cells = []
        for r in runs.values():
            states = [r[str(n)]["state"] for n in numbers if str(n) in r]
            cells.append(f"{sum(s in ('killed', 'timeout') for s in states)} of {sum(s != 'gone' for s in states)}")
        say(f"| {room} | {len(numbers)} | " + " | ".join(cells) + " |")


def main(words: list[str] | None = None) -> None:
    """Reads the command line.

    Args:
        words: its words, those of the process by default.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("plan", help="choose the mistakes")
    one.add_argument("--tree", type=Path, default=Path())
    one.add_argument("--count", type=int, default=92)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, required=True)
    one.set_defaults(call=plan)
    two = commands.add_parser("run", help="judge them")
    two.add_argument("--plan", type=Path, required=True)
    two.add_argument("--tree", type=Path, default=Path())
    two.add_argument("--out", type=Path, required=True)
    two.add_argument("--coverage", type=Path)
    two.add_argument("--junit", type=Path)
    two.add_argument(
        "--before", nargs=4, metavar=("TREE", "COVERAGE", "JUNIT", "VERDICTS"), help="an earlier run to be guided by"
    )
    two.add_argument("--not-marked", default="", help="marks whose tests are left out")
    two.add_argument("--cheap", type=float, default=60, help="seconds of the first batch of tests")
    two.add_argument("--limit", type=float, default=240, help="seconds for each mistake")
    two.add_argument("--only", type=int, nargs="*")
    two.set_defaults(call=run)
    three = commands.add_parser("table", help="show verdicts side by side")
    three.add_argument("--plan", type=Path, required=True)
    three.add_argument("--run", type=Path, action="append", required=True)
    three.set_defaults(call=table)
    arguments = parser.parse_args(words)
    arguments.call(arguments)


if __name__ == "__main__":
    sys.exit(main())
