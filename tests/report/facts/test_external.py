"""What report and model card say of a run at other hospitals, and of one that was never there."""

import json

import pytest

from chexkeras import files
from chexkeras.data.audit.shortcuts import Shortcut
from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.model_card import write_model_card
from chexkeras.report.submission import write_report
from chexkeras.results import Estimate
from chexkeras.runs.external import external_tests
from tests.made_external import keep_external


def _text(run):
    return submission.preview(collect_facts(run)).text


def _section(text):
    return text[text.index("### External Validation") : text.index("## 9. ")]


def _front(text):
    return text[: text.index("## Algorithm Description")]


def test_a_run_that_was_nowhere_else_says_so_on_the_first_page_in_the_plan_and_on_the_card(make_run, tmp_path):
    run = make_run()
    text = _text(run)
    assert "other hospitals and equipment (not tested outside its own source)" in _front(text)
    assert "**Not tested outside its own source.**" in _section(text)
    plan = text[text.index("### 6. ") : text.index("## 7. ")]
    assert "How far performance differs between sites is not known" in plan
    card = write_model_card(run, tmp_path / "card.md").read_text(encoding="utf-8")
    assert "Not tested outside its own source." in card


def test_a_site_stands_with_its_verdicts_where_a_reader_looks(make_run, tmp_path):
    run = make_run(skill=3.0)
    test = keep_external(run, "south", skill=0.1, cautions=("south: Labels of one reader.",))
    assert test["Effusion"].discrimination == "worse"
    facts = collect_facts(run)
    text = _text(run)
    front, section = _front(text), _section(text)
    area = facts["external.south.rows"].value[0]
    assert area[1] == "AUROC" and area[5] == "worse"
    for words in (area[2], area[3], area[4]):
        assert words in section
    assert "Effusion at south (another source than the training images): worse, AUROC" in front
    assert "not tested outside its own source" not in front
    # A model that is worse elsewhere is a caution for every number.
    assert any("at south" in caution for caution in facts["cautions"].value)
    assert "south: Labels of one reader." in section
    assert "no part of the external test" in section and "Not tested outside" not in text
    assert facts["external.south.rows"].file == "external/south/external.json"
    plan = text[text.index("### 6. ") : text.index("## 7. ")]
    assert "one site says nothing of how sites differ" in plan and "at south" in plan
    card = write_model_card(run, tmp_path / "card.md").read_text(encoding="utf-8")
    assert "| south |" in card and "| worse |" in card


def test_several_sites_are_pooled_with_what_a_new_one_may_show(make_run):
    run = make_run(skill=2.0)
    for number, (name, skill) in enumerate((("a", 2.2), ("b", 0.4), ("c", 1.2))):
        keep_external(run, name, skill=skill, seed=number + 7)
    facts = collect_facts(run)
    (area,) = [row for row in facts["external.pooled"].value if row[1] == "AUROC"]
    assert area[2] == "3"
    text = _text(run)
    assert area[3] in _section(text) and area[4] in _section(text)
    plan = text[text.index("### 6. ") : text.index("## 7. ")]
    assert "at 3 sites; at a new site between" in plan


def test_images_that_the_weights_have_seen_are_no_external_test(make_run):
    run = make_run()
    keep_external(run, "seen", seen_by_weights=True)
    text = _text(run)
    assert "Not tested outside its own source." in _front(text)
    assert "not external: the weights have seen these images" in _section(text)
    assert "| **holds** |" not in _section(text)


def test_images_of_the_same_source_are_no_external_test(make_run):
    run = make_run()
    keep_external(run, "later", same_source=True)
    text = _text(run)
    assert "Not tested outside its own source." in _front(text)
    assert "not external: same source as the training images" in _section(text)
    assert collect_facts(run)["external.pooled"].value == []


@pytest.mark.parametrize("change", [{"model_sha256": "00" * 32}, {"internal_fingerprint": "00" * 32}])
def test_a_test_of_another_model_or_beside_other_scores_is_not_shown(make_run, change):
    run = make_run()
    keep_external(run, "south", **{key: value for key, value in change.items() if key == "model_sha256"})
    file = run.folder / "external" / "south" / "external.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    text = _text(run)
    assert "NOT SHOWN: south, measured with another model" in _section(text)
    assert "not tested outside its own source" in _front(text)
    assert len(external_tests(run)) == 1


def test_the_figure_and_its_table_are_drawn(make_run, tmp_path):
    run = make_run(dicom=False, robustness=False)
    keep_external(
        run, "south", skill=0.5, cautions=("south: Synthetic images, not clinical evidence.",), synthetic=True
    )
    report = write_report(run, tmp_path / "FDA_Submission.md")
    text = report.read_text(encoding="utf-8")
    assert "external.png" in text
    (drawing,) = list(tmp_path.rglob("external.png"))
    assert drawing.stat().st_size > 10_000


def _with_sites(run, sites):
    audit = json.loads((run.folder / "audit.json").read_text()) | {"sites": sites}
    files.write_json(run.folder / "audit.json", audit)
    return type(run).load(run.folder)


def test_a_run_on_several_sites_says_what_tells_them_and_what_they_tell(make_run):
    area, none = Estimate(0.93, 0.9, 0.95, 0.95, 300, "m"), Estimate.not_estimable("too few", n=3)
    sites = [
        Shortcut(name, finding, found, 100, 200).to_dict()
        for name, finding, found in (
            ("view", "site north", Estimate(0.6, 0.5, 0.7, 0.95, 300, "m")), ("thumbnail", "site north", area),
            ("view", "site south", none), ("site", "Effusion", Estimate(0.71, 0.66, 0.76, 0.95, 300, "m")),
        )
    ]  # fmt: skip
    text = _text(_with_sites(make_run(), sites))
    told = " ".join(text.split())
    assert "The images come from several sites." in told
    assert "site north, by a thumbnail of 8 x 8 pixels: 0.930" in told and "Effusion: 0.710" in told
    assert "by the view" not in told and "site south" not in told
    assert "several sites" not in _text(make_run())


def test_sites_of_a_damaged_audit_are_refused(make_run):
    with pytest.raises(ValueError, match=r"audit\.json of the run"):
        collect_facts(_with_sites(make_run(), [{"name": "site", "finding": "Effusion", "auroc": {"value": "x"}}]))
