"""The consistency checks, on the facts of published projects, on sentences that must pass, and on our own reports."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexkeras.report import submission
from chexkeras.report.answers import Answers, load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.lint import language, rules_claims, rules_data, rules_numbers
from chexkeras.report.lint.check import RULES, check_report, check_text
from chexkeras.report.lint.document import CELL, CODE, HEADING, parse
from chexkeras.report.lint.issue import Place, ReportIssue, RunFacts, known_from_run

# The facts of a published course project on pneumonia in NIH ChestX-ray14 (experiments 1A to 2B), in our own words.
PNEUMONIA_PROJECT = """\
# FDA Submission: pneumonia on chest images

## General

The device helps radiologists to find pneumonia on images in AP/Lateral projection, with radiologist-level accuracy.

## Training

Data: NIH ChestX-ray14, split by patient into 79,113 images for training, 16,370 for validation and the rest to test.

DenseNet121, global average pooling, then Dense 1024, dropout, Dense 512, dropout and Dense 1 with a sigmoid.
The added layers have about 2.1M parameters.

The best validation AUC was 0.6345. The final threshold is 0.40.

## Experiments

Validation images at a threshold of 0.5:

| Experiment | AUC | Recall |
| --- | ---: | ---: |
| 2A | 0.6736 | 0.401 |
| 2B | 0.6715 | 0.550 |

2A has the best AUC, 0.6736, and is recommended on the strength of the validation images.

## Plan

The clinical study takes 500 images with pneumonia and 500 without, and asks for an F1 score above 0.387.
"""
FOUND_IN_THE_PNEUMONIA_PROJECT = {
    "two-best-values": [14, 25],
    "threshold-differs": [14, 18],
    "view-outside-data": [5],
    "parameter-count": [11, 12],
    "claim-beyond-evidence": [5],
    "chosen-and-measured-on-one-part": [14, 22, 23, 25],
    "case-control-as-clinical": [29],
    "no-interval": [14, 22, 23, 25],
}

# Two more, each known for one thing: validation images picked by a hash of the file's name, and rows repeated before
# the split.
SPLIT_BY_FILE_NAME = "An image is assigned to validation by a hash of its file name. Mean AUROC there: 0.8459.\n"
REPEATED_BEFORE_THE_SPLIT = "Positive images were repeated before the data were split 80/10/10. Macro F1 is 0.83.\n"

CAREFUL = [
    "This document makes no claim of clearance, of equivalence to another device, or of performance equal to experts.",
    "The device does not claim equivalence to radiologists.",
    "Equivalence to the predicate device is not claimed.",
    "Whether it outperforms readers was not studied.",
    "Neither radiologist-level performance nor superiority to physicians has been shown.",
    "A leaky split can look better than new patients would and proves nothing.",
    "The predicate was cleared by the FDA.",
    "The goals were not met.",
    "Effusion: sensitivity MET; Edema: sensitivity NOT MET.",
    "Lateral images are rejected.",
    "An unknown view can be a lateral view, so it is refused.",
    "Data: NIH ChestX-ray14. No lateral views were used.",
    "The threshold 0.40 was chosen on validation. At another threshold, such as 0.5, fewer images would be called.",
    "The sensitivity is 0.85 (95 % CI 0.80–0.89; n = 222).",
    "The goal is a sensitivity above 0.80.",
    "The goal is a sensitivity of at least 0.80, observed on validation.",
    "The best AUROC of stage 1 is 0.81 (95 % CI 0.78–0.84), the best AUROC of stage 2 is 0.83 (95 % CI 0.80–0.86).",
    "The images were split by patient; no image name decides anything.",
    "The test part was not used in training.",
    "The images are synthetic and no clinical evidence. Sensitivity: 0.9 (95 % CI 0.8–0.95).",
    "In a case-control sample the F1 score depends on the prevalence: 0.5 (95 % CI 0.4–0.6).",
    "Adults from 20 to 80 years are meant. The training data hold patients from 18 to 90 years.",
    "The network has 8,612,417 parameters, of which 1,574,913 parameters are trainable.",
    "A clinical study could show whether the device is ready for clinical use.",
    "Arithmetic in mixed precision, 0.5 s per image.",
    "The threshold is 0.36. Alternatively, the maximum F1 is achieved with a threshold of 0.4 (not used).",
    "Rajpurkar et al. call their network radiologist-level.",
    "The title says it: CheXNet: Radiologist-Level Pneumonia Detection.",
    "A state-of-the-art network of others was not tried.",
    "The training part was balanced 50/50 between positive and negative cases; the F1 score is not used.",
    "Precision is computed in float32; weights differ by 1e-4.",
    "ResNet50, Flatten, Dense 256. The added layers have 25,000,000 parameters.",
]
CARELESS = [
    ("The device is FDA-cleared.", "claim-beyond-evidence"),
    ("It is substantially equivalent to the market leader.", "claim-beyond-evidence"),
    ("The network is not only fast but outperforms radiologists.", "claim-beyond-evidence"),
    ("This proves that the device is safe.", "claim-beyond-evidence"),
    ("The software is ready for clinical use.", "claim-beyond-evidence"),
    ("Accuracy is on par with experienced radiologists.", "claim-beyond-evidence"),
    ("It does not look at laterals, but it matches human experts.", "claim-beyond-evidence"),
    ("Sensitivity: **MET**\n\nSensitivity: **NOT MET**", "verdict-differs"),
    ("All goals: NOT MET.\n\nThe performance goals were met.", "verdict-differs"),
    ("The model has 8.6M parameters.\n\nIn total there are 12,000,000 parameters.", "parameter-count"),
    (
        "| Part | Threshold |\n|---|---|\n| final | 0.40 |\n\nImages are called at a cut-off of 0.5.",
        "threshold-differs",
    ),
    ("Best AUC: 0.80.\n\nThe highest AUC is 0.85.", "two-best-values"),
    ("| Model | Best AUC |\n|---|---|\n| A1 | 0.80 |\n| B2 | 0.84 |\n\nThe best AUC is 0.90.", "two-best-values"),
    ("Data: 5,000 frontal images.\n\nLateral views are read as well.", "view-outside-data"),
    ("## Indications\n\nAges 0 to 17.\n\n## Data\n\nTraining data: patients from 18 to 90 years.", "age-outside-data"),
    ("The images were randomly split into training and test.", "leaky-split-not-named"),
    ("The model was evaluated on the training set.", "test-data-in-training"),
    ("Sensitivity is 0.95 on phantoms, as in the clinic.", "synthetic-as-clinical"),
    ("A balanced test was used. Accuracy was 0.9 (95 % CI 0.8–0.95).", "case-control-as-clinical"),
    ("AUROC 0.83.", "no-interval"),
    ("| | Value |\n|---|---|\n| Specificity | 87.9 % |", "no-interval"),
    ("Effusion: sensitivity MET; Edema: sensitivity NOT MET.\n\nEdema: sensitivity MET.", "verdict-differs"),
    ("Dose: TODO", "open-field"),
    ("<< Insert the flowchart here >>", "open-field"),
    ("Our model is state of the art.", "claim-beyond-evidence"),
    ("Its F1 exceeds the performance of human radiologists.", "claim-beyond-evidence"),
    ("The validation part has a 20/80 split of positive and negative cases. F1: 0.43.", "case-control-as-clinical"),
    ("We used train_test_split with a share of 20 %.", "leaky-split-not-named"),
    (
        "## Indications\n\nChest radiographs of ages 2-90.\n\n## Databases\n\nPatients from 5 to 85 years.",
        "age-outside-data",
    ),
    ("[SPONSOR TO COMPLETE: name of the device]", "open-field"),
]


def rules(text, known=None):
    return [issue.rule for issue in check_text(text, known)]


class TestPublishedProjects:
    def test_the_pneumonia_projects_own_document_is_found_out_line_by_line(self):
        found = {issue.rule: [place.line for place in issue.places] for issue in check_text(PNEUMONIA_PROJECT)}
        assert found == FOUND_IN_THE_PNEUMONIA_PROJECT

    def test_its_numbers_stand_in_the_messages(self):
        messages = {issue.rule: issue.message for issue in check_text(PNEUMONIA_PROJECT)}
        assert "0.6345 and 0.6736" in messages["two-best-values"]
        assert "0.40 and 0.5" in messages["threshold-differs"]
        # 1024 x 1024 + 1024, 1024 x 512 + 512, 512 + 1.
        assert "1,574,913" in messages["parameter-count"]

    def test_a_split_by_file_name_is_leaky(self):
        assert "leaky-split-not-named" in rules(SPLIT_BY_FILE_NAME)
        assert "leaky-split-not-named" not in rules(SPLIT_BY_FILE_NAME + "The split is leaky.")

    def test_rows_repeated_before_the_split_are_in_both_parts(self):
        assert "test-data-in-training" in rules(REPEATED_BEFORE_THE_SPLIT)

    def test_every_rule_is_triggered_by_some_document(self):
        found = set(rules(PNEUMONIA_PROJECT) + rules(SPLIT_BY_FILE_NAME) + rules(REPEATED_BEFORE_THE_SPLIT))
        found |= {rule for text, _ in CARELESS for rule in rules(text)}
        assert found == set(RULES)


@pytest.mark.parametrize("text", CAREFUL)
def test_careful_sentences_pass(text):
    assert rules(text) == []


@pytest.mark.parametrize(("text", "rule"), CARELESS)
def test_careless_ones_do_not(text, rule):
    assert rule in rules(text)


class TestOurOwnReport:
    def test_only_its_open_fields_are_found(self, report, finished_run):
        for run in (None, finished_run):
            issues = check_report(report, run)
            assert [str(issue) for issue in issues if issue.rule != "open-field"] == []
            assert [issue.rule for issue in issues] == ["open-field"]

    def test_nothing_is_found_once_they_are_answered(self, finished_run, load_run, answered):
        run, stated = load_run(finished_run), load_answers(answered)
        page = submission.preview(collect_facts(run, answers=stated))
        assert page.open_fields == []
        assert "readers" in page.text and "the other run" in page.text
        for known in (None, known_from_run(run, stated)):
            assert [str(issue) for issue in check_text(page.text, known)] == []

    @pytest.mark.parametrize("changes", [
        {"skill": 0.0, "synthetic": False}, {"leaky": True, "skill": 4.0},
        {"targets": ("Effusion", "Pleural_Thickening"), "dicom": False}, {"skill": 6.0, "patients": 600},
    ])  # fmt: skip
    def test_nor_in_reports_of_other_runs(self, make_run, changes):
        run = make_run(**changes)
        facts = collect_facts(run)
        text = submission.preview(facts).text
        for known in (None, known_from_run(run)):
            assert {str(issue) for issue in check_text(text, known) if issue.rule != "open-field"} == set()

    @pytest.mark.parametrize(
        ("old", "new", "rule"),
        [
            (r"its score is at least [\d.]+", "its score is at least 0.99", "threshold-differs"),
            ("8,612,417 parameters", "8,612,418 parameters", "parameter-count"),
            (r"Verdict for Effusion: \*\*[A-Z ]+\*\*", "Verdict for Effusion: **MET**", "verdict-differs"),
            ("Any other view is outside the data.", "Lateral images are read as well.", "view-outside-data"),
            ("PA and AP view", "PA and LATERAL view", "view-outside-data"),
            (r"(?m)^- Findings: .*", "- Patients: newborns to adults, 0 to 95 years of age.", "age-outside-data"),
            (r"the sensitivity is \*\*([\d.]+) \(.*?\)\*\*", r"the sensitivity is \1", "no-interval"),
        ],
    )  # fmt: skip
    def test_a_changed_number_is_found_with_the_run(self, report, finished_run, load_run, old, new, rule):
        text, changed = re.subn(old, new, report.read_text(), count=1)
        assert changed == 1
        found = rules(text, known_from_run(load_run(finished_run)))
        assert set(found) - {"open-field"} == {rule}

    def test_a_leaky_run_must_be_called_leaky(self, report, make_run):
        known = known_from_run(make_run(leaky=True))
        assert "leaky-split-not-named" in rules(report.read_text(), known)
        assert "leaky-split-not-named" not in rules(report.read_text() + "\nThe split is LEAKY.\n", known)

    def test_a_leaky_run_is_found_where_the_split_is_described_or_else_in_the_whole_document(self, make_run):
        known = known_from_run(make_run(leaky=True))
        for text, place in (
            ("# Model\n\nThe images were split into training and test.\n", 3),
            ("# Model\n\nIt finds effusions.\n", 1),
        ):
            (issue,) = [issue for issue in check_text(text, known) if issue.rule == "leaky-split-not-named"]
            assert [found.line for found in issue.places] == [place]

    def test_synthetic_images_must_be_announced(self, report, finished_run, load_run):
        text = re.sub(r"(?m)^> .*\n|^>\n", "", report.read_text())
        text = re.sub(r"(?i)synthetic", "clinical", text)
        assert "synthetic-as-clinical" in rules(text, known_from_run(load_run(finished_run)))


class TestKnownFromRun:
    def test_it_is_what_the_run_says(self, finished_run, load_run):
        run = load_run(finished_run)
        known = known_from_run(run)
        assert known.views == set(run.table["view"])
        assert known.ages == (run.table["age_years"].min(), run.table["age_years"].max())
        assert known.thresholds == {"Effusion": run.operating_points[0].threshold}
        assert {8_612_417, 1_574_913, 7_037_504, 3_517_313, 5_095_104} == known.parameters
        assert set(known.verdicts) == {
            ("", ""), ("Effusion", ""), ("Effusion", "sensitivity"), ("Effusion", "specificity"),
        }  # fmt: skip
        assert known.synthetic
        assert not known.leaky

    def test_verdicts_are_held_against_the_stated_goals(self, finished_run, load_run):
        run = load_run(finished_run)
        easy = Answers({"goals.sensitivity_above": 0.1, "goals.specificity_above": 0.1})
        assert known_from_run(run).verdicts["", ""] == "NOT MET"
        assert known_from_run(run, easy).verdicts["", ""] == "MET"


class TestRulesWithARun:
    KNOWN = RunFacts(views=frozenset({"PA"}), ages=(20.0, 60.0), thresholds={"Effusion": 0.123456, "Edema": 0.4},
                  parameters=frozenset({1_574_913}), verdicts={("", ""): "NOT MET"})  # fmt: skip

    def test_thresholds_agree_as_far_as_they_are_printed(self):
        assert rules("Effusion: the threshold is 0.1235. Edema: the threshold is 0.40.", self.KNOWN) == []
        assert rules("Effusion: the threshold is 0.1236.", self.KNOWN) == ["threshold-differs"]
        assert rules("Edema: the threshold is 0.1235.", self.KNOWN) == ["threshold-differs"]

    def test_counts_agree_as_far_as_they_are_printed(self):
        assert rules("About 1.6M parameters. A count of parameters: 1,574,913.", self.KNOWN) == []
        assert rules("About 1.5M parameters.", self.KNOWN) == ["parameter-count"]

    def test_views_and_ages_that_are_not_in_the_table(self):
        assert rules("## Indications\n\nImages in PA view of adults from 20 to 60 years.", self.KNOWN) == []
        found = rules("## Indications\n\nImages in PA or AP view of adults from 20 to 70 years.", self.KNOWN)
        assert found == ["view-outside-data", "age-outside-data"]

    def test_an_age_without_upper_limit_claims_nothing_about_the_old(self):
        assert rules("Indicated for adults from 22 to 120 years.", self.KNOWN) == []
        assert rules("Indicated for patients from 18 to 120 years.", self.KNOWN) == ["age-outside-data"]

    def test_a_success_that_the_intervals_deny(self):
        assert rules("All performance goals were met.", self.KNOWN) == ["verdict-differs"]
        assert rules("The goals: NOT MET.", self.KNOWN) == []


PIECES = [
    "| a | AUC |\n|---|---|\n| x | 0.5 |\n", "# ", "\n\n", "**MET**", "threshold 0.4 ", "best AUC 0.8 ",
    "2.1M parameters ",
    "[SPONSOR TO COMPLETE: ", "lateral views ", "ages 5-90 ", "radiologist-level ", "not ", "> ", "- ", "```\n", "|",
]  # fmt: skip


class TestDocument:
    TEXT = (
        "# Title\n\nFirst one. Second\none, e.g. this (et al. too). *Third* one!\n\n## Part A\n\n"
        "| Name | AUC |\n|---|---|\n| a | 0.5 |\n| b | **0.6** |\n\n- item one\n- item `two`\n\n```\nDense(5)\n```\n"
    )

    def test_sentences_have_their_lines_and_headings(self):
        found = [(p.line, p.kind, p.text) for p in parse(self.TEXT).passages]
        assert found == [
            (1, HEADING, "Title"), (3, "sentence", "First one."),
            (3, "sentence", "Second one, e.g. this (et al. too)."),
            (4, "sentence", "Third one!"), (6, HEADING, "Part A"), (10, CELL, "a"), (10, CELL, "0.5"), (11, CELL, "b"),
            (11, CELL, "0.6"), (13, "sentence", "item one"), (14, "sentence", "item two"), (16, CODE, "Dense(5)\n"),
        ]  # fmt: skip

    def test_cells_know_their_column_row_and_caption(self):
        document = parse(self.TEXT)
        cell = next(p for p in document.passages if p.text == "0.6")
        assert (cell.column, cell.row, cell.label, cell.caption) == ("AUC", ("b", "0.6"), "b", "Part A")
        assert cell.section == ("Title", "Part A")
        assert document.tables[0].header == ("Name", "AUC")

    def test_html_and_wild_text_are_only_words(self):
        assert parse("<script>x</script>\n\n|||\n\n![](x)\n\n# \n").passages
        assert parse("").passages == ()

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.text(), st.sampled_from(PIECES)), max_size=30).map("".join))
    def test_no_text_is_too_wild_to_be_checked(self, text):
        for issue in check_text(text):
            assert str(issue)
            assert all(1 <= place.line <= text.count("\n") + text.count("\r") + 1 for place in issue.places)


class TestLanguage:
    @pytest.mark.parametrize(("text", "value", "tolerance"), [
        ("0.40", 0.4, 0.005), (".5", 0.5, 0.05), ("85 %", 0.85, 0.005), ("2.1M", 2.1e6, 5e4), ("1,574,913", 1574913, 0),
        ("2 million", 2e6, 5e5),
    ])  # fmt: skip
    def test_numbers_keep_the_precision_they_are_printed_with(self, text, value, tolerance):
        (number,) = language.numbers(text)
        assert number.value == pytest.approx(value)
        assert number.tolerance == pytest.approx(tolerance)
        assert number.agrees(value)
        assert not number.agrees(value + 2 * tolerance + 0.001)

    def test_versions_dates_and_names_are_no_numbers(self):
        assert [n.text for n in language.numbers("x86_64 at 3.12.3, K190362 and 1/2")] == ["1"]

    @pytest.mark.parametrize(("text", "expected"), [
        ("sensitivity 0.9 and specificity 0.8", [("sensitivity", 0.9), ("specificity", 0.8)]),
        ("an AUC of .67 at 0.401 recall", [("AUROC", 0.67), ("sensitivity", 0.401)]),
        ("the average precision is 0.6", [("average precision", 0.6)]),
        ("precision-recall curve with 0.5", []),
        ("a sensitivity of at least 0.8", []),
        ("sensitivity of 300 images", []),
    ])  # fmt: skip
    def test_measures_get_the_number_that_is_said_of_them(self, text, expected):
        found = [(name, number.value) for name, number in language.stated_values(text)]
        assert found == [(name, pytest.approx(value)) for name, value in expected]

    @pytest.mark.parametrize(("text", "is_denied"), [
        ("it does not CLAIM", True), ("no CLAIM", True), ("whether CLAIM", True), ("CLAIM is not made", True),
        ("CLAIM", False), ("not only CLAIM", False), ("not this, but CLAIM", False), ("not here; CLAIM", False),
        ("it can't CLAIM", True), ("CLAIM holds; it is not so elsewhere", False), ("No Finding: CLAIM", False),
    ])  # fmt: skip
    def test_denial_reaches_as_far_as_its_clause(self, text, is_denied):
        at = text.index("CLAIM")
        assert language.denied(text, at, at + 5) is is_denied


class TestDrawnHead:
    def test_layers_as_drawn_are_counted_by_hand(self):
        possible, where = rules_numbers.drawn_head(parse("ResNet50 with GAP\n\n- Dense(64)\n- Dense(3)\n"))
        assert possible == {2049 * 64 + 65 * 3}
        assert len(where) == 2

    def test_a_last_layer_that_is_not_drawn_is_allowed_for(self):
        possible, _ = rules_numbers.drawn_head(parse("VGG16 with GAP and Dense 256."))
        assert possible == {513 * 256, 513 * 256 + 257, 513 * 256 + 14 * 257}

    @pytest.mark.parametrize(
        ("name", "channels"),
        [("ConvNeXt-Tiny", 768), ("EfficientNetV2S", 1280), ("EfficientNet-B4", 1792), ("densenet 201", 1920)],
    )
    def test_every_backbone_of_a_recipe_is_known_by_its_name(self, name, channels):
        possible, _ = rules_numbers.drawn_head(parse(f"{name} with GAP\n\n- Dense(64)\n- Dense(3)\n"))
        assert possible == {(channels + 1) * 64 + 65 * 3}
        (passage,) = parse(f"{name} has an AUC of 0.7.").words
        assert language.subject(passage).models == {re.sub("[- ]", "", name).casefold()}

    def test_the_network_that_is_named_first_is_the_one_drawn_and_a_small_cnn_is_any(self):
        assert rules_numbers.drawn_head(parse("Unlike ResNet-34, DenseNet121 with GAP, Dense 256.")) == (set(), [])
        assert rules_numbers.drawn_head(parse("A small CNN with GAP and Dense 256.")) == (set(), [])

    def test_without_a_known_backbone_nothing_is_counted(self):
        assert rules_numbers.drawn_head(parse("A pooled network: GAP, Dense 256.")) == (set(), [])

    def test_a_flattened_feature_map_is_not_counted(self):
        assert rules_numbers.drawn_head(parse("VGG16, Flatten, Dense 256.")) == (set(), [])


class TestIssue:
    def test_it_reads_as_lines_for_a_person(self):
        issue = ReportIssue(
            "a-rule", "two things differ", tuple(Place(n, f"place {n}") for n in range(1, 9)), "fix it."
        )
        assert str(issue).splitlines()[:2] == ["a-rule: two things differ", '  line 1: "place 1"']
        assert str(issue).splitlines()[-2:] == ["  and 2 more", "  to do: fix it."]

    def test_long_lines_are_quoted_around_the_words(self):
        text = "x " * 300 + "is radiologist-level " + "y " * 300
        (issue,) = check_text(text)
        assert "radiologist-level" in issue.places[0].quote
        assert len(issue.places[0].quote) <= 102

    def test_rules_are_named_as_they_report(self):
        modules = (rules_claims, rules_data, rules_numbers, rules_numbers)
        assert all(rule.__module__ in {module.__name__ for module in modules} for rule in RULES.values())
        for text, rule in CARELESS:
            assert rule in [issue.rule for issue in RULES[rule](parse(text), None)]


class TestCheckReport:
    def test_a_missing_document_or_run_is_named(self, tmp_path, report):
        with pytest.raises(FileNotFoundError, match=r"none\.md"):
            check_report(tmp_path / "none.md")
        with pytest.raises(FileNotFoundError, match="nowhere"):
            check_report(report, tmp_path / "nowhere")

    def test_a_file_that_is_no_text_is_refused(self, tmp_path):
        (tmp_path / "report.pdf").write_bytes(b"%PDF\xff\xfe")
        with pytest.raises(ValueError, match=r"report\.pdf is no text in UTF-8"):
            check_report(tmp_path / "report.pdf")

    def test_answers_without_a_run_are_refused(self, report):
        with pytest.raises(ValueError, match=r"with run=\.\.\. only"):
            check_report(report, answers=Answers())
