"""What the report says of changed images."""

from dataclasses import replace

import pytest

from chexkeras import files
from chexkeras.evaluation.robustness import perturbation_effects
from chexkeras.findings import NIH14
from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.figures.draw import plan_figures
from chexkeras.report.model_card import write_model_card
from chexkeras.results.robustness import FEWEST_PATIENTS, VERDICTS


def section(facts):
    text = submission.preview(facts).text
    return text[text.index("## 13. ") : text.index("## 14. ")]


def counts(facts, whose=""):
    return [facts[f"robustness.{whose}{word}"].value for word in VERDICTS]


def test_a_ranking_that_held_does_not_hide_calls_that_did_not(make_run):
    """Scores halved in the file: every AUROC is as it was, and the operating point is lost."""
    run = make_run(patients=160)
    test, points = run.scores("test"), run.operating_points
    effects = perturbation_effects(test, {"halved": test.assign(score=test["score"] / 2)}, points=points)
    measured = replace(run.robustness, effects=effects)
    measured.save(run.folder / "robustness.json")
    assert {effect.operating_point for effect in effects} == {"worse"}
    facts = collect_facts(run)
    assert counts(facts)[1] == len(effects)
    assert counts(facts, "discrimination.")[1] == 0
    text = section(facts)
    assert "| **The change (the worse of both)** | 0 | 1 | 0 | 0 |" in text
    assert "The worse of both leads" in text and "or of 0.1 sensitivity or" in text
    card = preview_card(run)
    assert "held 0, worse 1" in card


def preview_card(run):
    return write_model_card(run, run.folder / "card.md").read_text(encoding="utf-8")


def test_each_change_has_a_row_with_its_difference_and_verdict(make_run):
    run = make_run()
    facts, effect = collect_facts(run), run.robustness.effects[1]
    (row,) = [line for line in section(facts).splitlines() if line.startswith("| misuse")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    difference = effect["AUROC"].difference
    assert cells[1] == "gray values inverted" and cells[2] == "**worse**"
    assert cells[3:5] == [effect.discrimination, effect.operating_point]
    assert cells[5] == f"{difference.value:+.3f} (95 % CI {difference.low:+.3f} to {difference.high:+.3f})"
    assert cells[8].startswith(f"{effect.calls_changed.value:.3f} (95 % CI")
    # Hardly moved by the other change, but seen in too few patients to have held.
    assert run.robustness.effects[0].n_positive < FEWEST_PATIENTS
    assert counts(facts, "discrimination.") == [0, 1, 1, 0]
    assert sum(counts(facts)) == sum(counts(facts, "operating_point.")) == 2


def edit(run, change):
    path = run.folder / "robustness.json"
    data = files.read_json(path)
    change(data)
    files.write_json(path, data)


def test_enough_patients_hold_and_how_many_that_is_stands_in_the_text(make_run):
    run = make_run()
    edit(run, lambda d: d["effects"][0].update(n_positive=FEWEST_PATIENTS, n_negative=FEWEST_PATIENTS))
    facts = collect_facts(run)
    assert counts(facts, "discrimination.") == [1, 1, 0, 0]
    text = section(facts)
    assert f"With fewer than {FEWEST_PATIENTS} patients with the finding, or without it" in text
    assert "A model that separates nothing has nothing to lose" in text


def test_repeated_scoring_is_told_in_plain_numbers(make_run):
    text = section(collect_facts(make_run()))
    assert "were scored again: none;" in text
    assert "scored one at a time and not in batches: below 0.000001" in text


def test_a_run_without_a_measurement_says_so_and_draws_nothing(make_run):
    run = make_run(robustness=False)
    facts = collect_facts(run)
    assert "| Changes of exposure, noise, rotation or compression | not measured |" in section(facts)
    assert "robustness" not in {sheet.figure.name for sheet in plan_figures(run, facts)}


def test_a_measurement_of_other_scores_is_not_shown(make_run):
    run, other = make_run(), make_run(seed=1)
    other.robustness.save(run.folder / "robustness.json")
    text = section(collect_facts(run))
    assert "NOT SHOWN: robustness.json was measured on other scores or at other thresholds than those on file" in text
    assert "gray values inverted" not in text


def test_a_measurement_at_other_thresholds_is_not_shown(make_run):
    run = make_run()
    edit(run, lambda d: d["thresholds"].update(Effusion=d["thresholds"]["Effusion"] + 0.01))
    facts = collect_facts(run)
    assert not facts["robustness"].value and facts["robustness.stale"].value
    assert "or at other thresholds than those on file" in section(facts)


def test_a_finding_that_was_not_evaluated_is_not_counted(make_run):
    run = make_run()
    before = collect_facts(run)

    def add(data):
        other = {**data["effects"][1], "finding": "Hernia", "perturbation": "something else"}
        data["effects"].append(other)

    edit(run, add)
    after = collect_facts(run)
    for key in ("robustness.worse", "robustness.held", "robustness.not shown", "robustness.changes"):
        assert after[key].value == before[key].value, key


def test_many_findings_are_counted_by_change_and_the_largest_loss_is_named(make_run):
    run = make_run(targets=NIH14[:8], patients=120)
    facts = collect_facts(run)
    rows = {row[1]: row for row in facts["robustness.rows"].value}
    effects = [effect for effect in run.robustness.effects if effect.group == "misuse"]
    verdicts = [effect.leading for effect in effects]
    assert rows["gray values inverted"][2:6] == [
        verdicts.count(word) for word in ("held", "worse", "not shown", "not estimable")
    ]
    worst = min(effects, key=lambda effect: effect["AUROC"].difference.value)
    assert rows["gray values inverted"][6].startswith(
        f"{worst.finding.replace('_', ' ')} {worst['AUROC'].difference.value:+.3f}"
    )
    assert "| Largest loss of AUROC | Largest loss of a rate |" in section(facts)
    rates = [effect[name].difference.value for effect in effects for name in ("sensitivity", "specificity")]
    assert f"{min(rate for rate in rates if rate == rate):+.3f}" in rows["gray values inverted"][7]


def test_a_damaged_measurement_says_which_file(make_run):
    run = make_run()
    (run.folder / "robustness.json").write_text('{"effects": [{}], "scores_fingerprint": ""}')
    with pytest.raises(
        ValueError, match=r"robustness\.json of the run is not what a run writes .* lacks cautions, image_size"
    ):
        collect_facts(run)


def test_a_measurement_of_another_version_says_so(make_run):
    run = make_run()
    edit(run, lambda d: d.pop("thresholds"))
    with pytest.raises(
        ValueError, match=r"robustness\.json of the run .* lacks thresholds: it comes from another version"
    ):
        collect_facts(run)


def test_text_of_the_file_cannot_break_the_table(make_run):
    run = make_run()
    path = run.folder / "robustness.json"
    path.write_text(path.read_text().replace("gray values inverted", "a | b <script>"))
    text = section(collect_facts(run))
    assert "| a \\| b &lt;script> |" in text and "<script>" not in text
