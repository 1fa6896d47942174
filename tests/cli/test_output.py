"""What a terminal shows of an evaluation."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.cli.app import tell
from chexkeras.cli.output import show_evaluation, show_side_by_side
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.thresholds import choose_threshold


def evaluation_of(findings):
    rng = np.random.default_rng(0)
    parts = {}
    for part in ("validation", "test"):
        frames = []
        for finding in findings:
            labels = np.tile([0.0, 1.0], 20)
            frames.append(
                pd.DataFrame(
                    {
                        "image_id": [f"{part}{number}" for number in range(40)],
                        "patient_id": [f"{part}{number}" for number in range(40)],
                        "finding": finding,
                        "label": labels,
                        "score": np.clip(0.3 * labels + rng.uniform(0, 0.7, 40), 0, 1),
                    }
                )
            )
        parts[part] = pd.concat(frames)
    chosen = [choose_threshold(parts["validation"], rule="youden", finding=finding) for finding in findings]
    return evaluate(parts["test"], chosen, cautions=["Made up."])


@pytest.mark.parametrize("findings", [("Mass",), ("Mass", "Edema", "Nodule", "Effusion", "Pleural_Thickening")])
def test_every_finding_has_its_numbers_within_a_terminals_width(findings, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    measured = evaluation_of(findings)
    show_evaluation(measured)
    shown = capsys.readouterr().out
    assert shown.startswith("Caution: Made up.")
    assert max(map(len, shown.splitlines())) <= 80
    for entry in measured.findings:
        assert entry.finding in shown
        for estimate in (entry.auroc, entry.sensitivity, entry.specificity):
            assert f"{estimate.value:.3f}" in shown
            assert f"{estimate.low:.3f}-{estimate.high:.3f}" in shown
    assert ("Mean AUROC" in shown) == (len(findings) > 1)


def test_names_from_a_run_are_shown_without_markup_and_turn_nothing_round(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    # Names of findings are checked where they come in; names of runs are those of folders.
    show_side_by_side({"[link=x]one": evaluation_of(("Mass",)), "tw\u202eo": evaluation_of(("Mass",))})
    shown = capsys.readouterr().out
    assert "\u202e" not in shown and "\x1b" not in shown
    for name in ("Mass", "[link=x]one", r"tw\u202eo"):
        assert name in shown


def test_a_terminal_gets_long_lines_broken_between_words_and_a_pipe_gets_them_whole(capsys, monkeypatch):
    line = "  Effusion, AUROC: first is not distinguishable from second, difference 0.000 (95 % CI 0.000-0.000)"
    monkeypatch.setenv("COLUMNS", "60")
    tell(line)
    assert capsys.readouterr().out == f"{line}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    tell(f"{line}\nshort")
    assert capsys.readouterr().out.splitlines() == [
        "  Effusion, AUROC: first is not distinguishable from second,",
        "    difference 0.000 (95 % CI 0.000-0.000)",
        "short",
    ]
