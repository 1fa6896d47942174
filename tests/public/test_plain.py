"""What results look like without a notebook: printed, and at the Python prompt."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

import chexkeras as cx
from chexkeras import plain
from chexkeras.findings import CHEXPERT14, NIH14
from chexkeras.plain import Described, PlainTable
from chexkeras.results.record import Record

LONGEST = ("Enlarged Cardiomediastinum", "Pleural_Thickening")


def widest(text):
    return max(map(len, text.splitlines()))


def evaluation_of(findings, n=40):
    """Returns an evaluation of made-up scores, with a frozen threshold for each finding."""
    rng = np.random.default_rng(0)
    parts = {}
    for part in ("validation", "test"):
        labels = np.tile([0.0, 1.0], n // 2)
        parts[part] = pd.concat(
            pd.DataFrame(
                {
                    "image_id": [f"{part}{at}" for at in range(n)], "patient_id": [f"{part}{at}" for at in range(n)],
                    "finding": finding, "label": labels, "score": np.clip(0.3 * labels + rng.uniform(0, 0.7, n), 0, 1),
                }
            )
            for finding in findings
        )  # fmt: skip
    points = [cx.choose_threshold(parts["validation"], rule="youden", finding=each) for each in findings]
    return cx.evaluate(parts["test"], points, cautions=["Made up, so that nobody takes it for a result of any use."])


@pytest.mark.parametrize("findings", [("Mass",), LONGEST, CHEXPERT14, NIH14], ids=len)
def test_an_evaluation_prints_every_number_with_its_interval_in_80_columns(findings):
    measured = evaluation_of(findings)
    shown = str(measured)
    assert repr(measured) == shown
    assert widest(shown) <= 80
    assert shown.startswith("Caution: Made up, so that")
    for entry in measured.findings:
        assert entry.finding in shown
        assert f"{entry.n_positive} of {entry.n_images}" in shown or f"{entry.n_positive} positive of" in shown
        assert f"{entry.operating_point.threshold:.4g}" in shown
        for estimate in (entry.auroc, entry.average_precision, entry.sensitivity, entry.specificity):
            assert f"{estimate.value:.3f} (" in shown
            assert f"{estimate.low:.3f}-{estimate.high:.3f}" in shown
    assert ("Mean AUROC" in shown) == (len(findings) > 1)


def test_why_a_number_is_lacking_stands_below_the_table_once():
    measured = evaluation_of(CHEXPERT14)
    lacking = cx.Estimate.not_estimable("no positives in this part")
    few = dataclasses.replace(measured.findings[0].auroc, method="exact; interval approximate: worth 8 patients")
    changed = [dataclasses.replace(entry, sensitivity=lacking, auroc=few) for entry in measured.findings]
    shown = str(dataclasses.replace(measured, findings=tuple(changed)))
    assert widest(shown) <= 80
    assert shown.count("no positives in this part") == 1
    assert shown.count("worth 8 patients") == 1
    assert shown.count("not estimable") == 14
    mark = next(line[0] for line in shown.splitlines() if line.endswith(": no positives in this part"))
    assert shown.count(f"not estimable {mark}") == 14


def test_a_single_finding_and_a_threshold_print_alone():
    entry = evaluation_of(LONGEST)[LONGEST[0]]
    shown = str(entry)
    assert widest(shown) <= 80
    assert shown.startswith("Enlarged Cardiomediastinum: 20 positive of 40 images, 40 patients")
    assert f"of {entry.n_positive} positive images" in shown
    assert str(entry.operating_point).startswith("Enlarged Cardiomediastinum: 0.")
    assert "by the rule youden, chosen on " in str(entry.operating_point)
    assert repr(entry.auroc) == f"<Estimate: {entry.auroc}, n = 40>"


@pytest.mark.parametrize("targets", [("Mass",), NIH14], ids=len)
def test_the_summary_of_a_split_prints_whole(make_toy, tmp_path, targets):
    table = make_toy(tmp_path, patients=40)
    rng = np.random.default_rng(0)
    for name in targets:
        table[name] = (rng.uniform(size=len(table)) < 0.5).astype(float)
    summary = cx.split_by_patient(table, targets).summary()
    for shown in (str(summary), repr(summary)):
        assert widest(shown) <= 80
        assert "..." not in shown
        for name in targets:
            assert f"{name}_positives" in shown and f"{name}_prevalence" in shown
        for part in ("train", "validation", "test"):
            assert part in shown
    assert isinstance(summary, pd.DataFrame)
    assert summary.loc["train", "images"] > summary.loc["test", "images"]


def test_a_wide_table_goes_on_below_with_its_first_column():
    columns = {"finding": ["Edema", "Mass"], **{f"column {at}": ["0.812 (0.701-0.903)", "1"] for at in range(9)}}
    shown = plain.table(columns)
    assert widest(shown) <= 80
    assert shown.count("finding") == shown.count("Edema") == 3
    assert all(f"column {at}" in shown for at in range(9))


def test_a_long_table_says_how_many_rows_are_left():
    shown = str(PlainTable({"a": range(200)}))
    assert shown.splitlines()[-1] == "... and 140 more rows"


def test_texts_and_addresses_stay_within_their_column():
    shown = str(PlainTable({"a": ["x"], "b": ["word " * 40], "c": ["https://" + 30 * "example/"]}))
    assert widest(shown) <= 80
    assert shown.count("word") == 40


def test_what_cannot_be_seen_is_shown_by_its_number():
    assert "\u202e" not in str(PlainTable({"a": ["x\u202ey"]}))
    assert r"x\u202ey" in str(PlainTable({"a": ["x\u202ey"]}))


@dataclasses.dataclass(frozen=True)
class Part(Record):
    name: str
    n_images: int
    value: cx.Estimate


@dataclasses.dataclass(frozen=True)
class Whole(Described):
    name: str
    parts: tuple[Part, ...]
    inner: Part | None
    numbers: np.ndarray
    names: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    provenance: dict | None = None
    share: float = math.nan
    scores_fingerprint: str = "0123456789abcdef"


def test_any_record_prints_its_fields_cautions_first_tables_last():
    estimate = cx.Estimate(0.5, 0.25, 0.75, n=12)
    parts = tuple(Part(name, 5, estimate) for name in ("one", "two"))
    shown = str(Whole("this", parts, parts[0], np.zeros((2, 3)), tuple("abcdefghijklmnop"), ("Mind.",), {"version": 1}))
    assert shown.splitlines()[:3] == ["Whole", "Caution: Mind.", "name: this"]
    assert "version" not in shown
    assert "scores fingerprint: 0123456789ab\n" in shown
    assert "numbers: an array of 2 x 3" in shown
    assert "names: a, b, c, d, e, f, g, h, i, j, k, l, 16 in all" in shown
    assert "  value: 0.500 (95 % CI 0.250-0.750), n = 12" in shown
    assert shown.endswith(
        "parts:\nname  images  value (95 % CI)\none        5  0.500 (0.250-0.750)\ntwo        5  0.500 (0.250-0.750)"
    )


def test_no_public_result_is_shown_as_its_fields_and_types():
    unreadable = [
        name
        for room in (cx.results, cx.evaluation)
        for name in room.__all__
        if isinstance(getattr(room, name), type)
        and dataclasses.is_dataclass(getattr(room, name))
        and getattr(room, name).__repr__.__qualname__.endswith("__create_fn__.<locals>.__repr__")
    ]
    assert not unreadable


def test_rows_of_one_finding_that_are_too_wide_are_all_printed():
    words = "a verdict of several words that fill a line of their own"
    rows = [{"finding": "Effusion", "statistic": name, "there": words, "home": words} for name in ("AUROC", "PPV")]
    shown = str(PlainTable(rows))
    assert "AUROC" in shown and "PPV" in shown and "(no rows)" not in shown
