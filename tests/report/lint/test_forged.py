"""A document that somebody changed: a clearance that nobody gave, a verdict that no number gives."""

import pytest

from chexkeras.report.lint.check import check_text
from chexkeras.report.lint.issue import known_from_run

CLEARANCES = [
    "The device is cleared under K123456.",
    "FDA approved.",
    "FDA\u200b appr\u00adoved.",
    "ＦＤＡ approved",
    "**FDA** *approved*",
    "FDA&nbsp;approved",
    "&#70;DA cleared",
    "F<b></b>DA approved",
    "510(k) cleared",
    "The FDA has cleared this device.",
    "De Novo granted in May",
    "DEN170073",
    "It is in use; no doubt about K123456.",
    "Authorised under EUA 2",
    "| Status |\n| --- |\n| cleared under K123456 |",
    "# Cleared by the FDA",
    "<!-- cleared under K123456 -->",
    "text <!-- FDA approved --> text",
    '<p hidden title="x">FDA approved</p>',
    "<details>\nFDA approved\n</details>",
    "`FDA approved`",
    "```\ncleared under K123456\n```",
    "    cleared under K123456",
    "![FDA approved](roc.png)",
    '![x](roc.png "cleared under K123456")',
    '[x](http://a.example "FDA approved")',
    "[x](http://a.example/K123456)",
    '[x]: http://a.example "FDA approved"',
    "- one\n  - FDA approved",
]
NO_CLEARANCE = [
    "It makes no claim of clearance, of equivalence to another device, or of performance equal to a physician's.",
    "This draft was neither cleared nor approved by the FDA.",
    "Predicate, as stated by the sponsor: Acme Triage, K123456, cleared in 2019.",
    "The goals are cleared up in section 6.",
    "| Page | K12 |\n| --- | --- |\n| a | b |",
    "Series K1234567 of the archive, denoised in 123456 steps.",
]


def found(text, known=None):
    return [issue.rule for issue in check_text(text, known)]


@pytest.mark.parametrize("text", CLEARANCES)
def test_a_clearance_is_found_wherever_it_stands(text):
    assert "claim-beyond-evidence" in found(f"# Report\n\nA sentence.\n\n{text}\n")


@pytest.mark.parametrize("text", NO_CLEARANCE)
def test_what_claims_no_clearance_is_left_alone(text):
    assert "claim-beyond-evidence" not in found(f"# Report\n\n{text}\n")


@pytest.mark.parametrize("text", CLEARANCES)
def test_a_clearance_put_into_a_finished_report_is_found(text, report, finished_run, load_run):
    lines = report.read_text().split("\n\n")
    forged = "\n\n".join([*lines[:6], text, *lines[6:]])
    assert "claim-beyond-evidence" not in found(report.read_text())
    assert "claim-beyond-evidence" in found(forged)


@pytest.mark.parametrize(
    "text",
    [
        "Verdict: **MET**",
        "Effusion: sensitivity **MET**.",
        "| Finding | Goals |\n| --- | --- |\n| Effusion | MET |",
        "Edema: sensitivity MET.",
        "Pneumonia: goals MET.",
        "`Verdict: MET`",
        "```\nVerdict: MET\n```",
        "<!-- Verdict: MET -->",
        "![Verdict: MET](x.png)",
        "Effusion: sensitivity **NOT ESTIMABLE**.",
        "All goals were met.",
    ],
)
def test_a_verdict_that_the_facts_do_not_give_is_found(text, report, finished_run, load_run):
    known = known_from_run(load_run(finished_run))
    assert set(known.verdicts.values()) == {"NOT MET"}
    assert "verdict-differs" not in found(report.read_text(), known)
    assert "verdict-differs" in found(f"{report.read_text()}\n\n{text}\n", known)
