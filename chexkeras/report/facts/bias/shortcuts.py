"""Facts on the model beside view, age and sex, image size and a thumbnail, on the same test images."""

from collections.abc import Sequence
from typing import Any

from chexkeras.report.facts.facts import Facts, add_study, difference_text, estimate_text
from chexkeras.results.shortcuts import LESS, SHORTCUT_WORDS, AgainstShortcut, strongest

_FILE = "shortcuts.json"


def add_shortcuts(facts: Facts, run: Any) -> None:
    """Records the model beside each shortcut, if they were compared on the scores on file.

    "shortcuts.summary" is what a first page has to say: one sentence for each finding for which the model was not shown
    to see more than a shortcut; without any such finding it is empty.

    Args:
        facts: Where they go; the evaluated findings are there already.
        run: The `Run`.

    Raises:
        ValueError: If shortcuts.json is damaged or of another version.
    """
    study = add_study(facts, "shortcuts", run.shortcuts, run, file=_FILE, made="whether shortcuts were compared")
    file = _FILE if run.shortcuts else "convention"
    entries = [entry for entry in study.entries if entry.finding in facts["evaluated"].value] if study else []
    failing: dict[str, list[AgainstShortcut]] = {}
    for entry in entries:
        if entry.fails:
            failing.setdefault(entry.finding, []).append(entry)
    summary = [_failure(finding, some) for finding, some in failing.items()]
    facts.add("shortcuts.failing", list(failing), file=file, field="findings with a verdict other than 'sees more'")
    facts.add("shortcuts.summary", summary, " ".join(summary), file=file, field="entries whose difference holds 0")
    if study is None:
        return
    compared = sum(entry.difference.estimable for entry in entries)
    facts.add("shortcuts.compared", compared, file=_FILE, field="entries with an interval")
    measured = {entry.finding for entry in entries if entry.difference.estimable}
    unmeasured = [finding for finding in facts["evaluated"].value if finding not in measured]
    facts.add("shortcuts.unmeasured", unmeasured, ", ".join(unmeasured).replace("_", " "), file=_FILE,
              field="findings without an interval")  # fmt: skip
    for finding in facts["evaluated"].value:
        rows = [
            [
                SHORTCUT_WORDS[entry.shortcut],
                estimate_text(entry.model),
                estimate_text(entry.alone),
                difference_text(entry.difference),
                entry.verdict,
            ]
            for entry in entries
            if entry.finding == finding
        ]
        key = f"shortcuts.{finding}"
        facts.add(key, bool(rows), file=_FILE, field=f"entries of {finding}")
        facts.add(f"{key}.rows", rows, "", file=_FILE, field=f"entries of {finding}")
        training = next((entry.n_training for entry in entries if entry.finding == finding), 0)
        facts.add(f"{key}.training", training, file=_FILE, field=f"n_training of {finding}")


def _failure(finding: str, entries: Sequence[AgainstShortcut]) -> str:
    """Returns what a model was not shown to see more than, the strongest single shortcut with its numbers."""
    most = strongest(entries)
    others = [SHORTCUT_WORDS[entry.shortcut] for entry in entries if entry is not most]
    told = "sees less than" if most.verdict == LESS else "is not shown to see more than"
    also = f" Nor is it shown to see more than {'; '.join(others)}." if others else ""
    return (
        f"{finding.replace('_', ' ')}: the model, AUROC {estimate_text(most.model)}, {told} "
        f"{SHORTCUT_WORDS[most.shortcut]}, AUROC {estimate_text(most.alone)} on the same test images; "
        f"difference {difference_text(most.difference)}.{also} Its AUROC may tell how these images were selected."
    )
