"""How the report and the model card are built, whatever a run holds: lists, tables, numbers, headings.

Read as CommonMark with tables, and line by line: what a lenient reader mends a strict one loses.
"""

import itertools
import re

import pytest
from markdown_it import MarkdownIt

from chexkeras import files
from chexkeras.report.answers import QUESTIONS, load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.model_card import card_text
from chexkeras.report.submission import preview
from chexkeras.report.templating import environment, tidy
from chexkeras.runs.run import HEATMAPS, ROBUSTNESS, Run
from tests.report.conftest import Design, write_run_folder
from tests.report.facts.test_heatmaps import study_of

SMALL = {"patients": 60}


def _plain(folder):
    return Run.load(write_run_folder(folder, Design(**SMALL, recalibrated=True)))


def _bare(folder):
    return Run.load(write_run_folder(folder, Design(**SMALL, dicom=False, robustness=False, weights=None)))


def _real_images_without_skill(folder):
    return Run.load(write_run_folder(folder, Design(**SMALL, synthetic=False, skill=0.0)))


def _three_findings(folder):
    return Run.load(write_run_folder(folder, Design(patients=150, targets=("Effusion", "Mass", "Pleural_Thickening"))))


def _many_findings(folder):
    names = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Edema")
    return Run.load(write_run_folder(folder, Design(patients=150, targets=names, dicom=False)))


def _leaky(folder):
    return Run.load(write_run_folder(folder, Design(**SMALL, leaky=True)))


def _heat_maps(folder):
    run = _plain(folder)
    study_of(run).save(folder / HEATMAPS)
    return run


def _stale(folder):
    run = _heat_maps(folder)
    for name in (ROBUSTNESS, HEATMAPS):
        files.write_json(folder / name, files.read_json(folder / name) | {"scores_fingerprint": "00" * 32})
    return Run.load(run.folder)


def _few_of_each_group(folder):
    return Run.load(write_run_folder(folder, Design(patients=24, prevalence=0.5)))


AT_LENGTH = """
First paragraph,
on two lines.

# A heading of the author's

- one
  - nested
- two

| Site | Images |
| :--- | ---: |
| here | 12 |

Setext
======

> ## quoted <b>
"""


def _answered_at_length(folder):
    run = _bare(folder)
    asked = [each for each in QUESTIONS if each.kind != "number"]
    tables = dict.fromkeys(each.key.split(".")[0] for each in asked)
    lines = []
    for table in tables:
        lines.append(f"[{table}]")
        for each in asked:
            if each.key.startswith(f"{table}."):
                said = AT_LENGTH if each.kind == "text" else "a phrase\non two lines"
                lines.append(f'{each.key.split(".")[1]} = """{said}"""')
    (folder.parent / "submission.toml").write_text("\n".join(lines))
    return run


MADE = {
    name.removeprefix("_"): make
    for name, make in list(globals().items())
    if name.startswith("_") and getattr(make, "__module__", "") == __name__
}


@pytest.fixture(scope="session")
def texts(tmp_path_factory, finished_run, answered):
    """Report and card of every configuration, made when first asked for."""
    made: dict[str, tuple[str, str]] = {}

    def text_of(name):
        if name not in made:
            if name == "everything_answered":
                facts = collect_facts(Run.load(finished_run), answers=load_answers(answered))
            else:
                run = MADE[name](tmp_path_factory.mktemp(name) / "run")
                stated = run.folder.parent / "submission.toml"
                facts = collect_facts(run, answers=load_answers(stated) if stated.exists() else None)
            made[name] = preview(facts).text, card_text(facts)
        return made[name]

    return text_of


CONFIGURATIONS = [*MADE, "everything_answered"]
everywhere = pytest.mark.parametrize("name", CONFIGURATIONS)


def _tokens(text):
    return MarkdownIt("commonmark").enable("table").parse(text)


def _cells(line):
    return re.split(r"(?<!\\)\|", line.strip().strip("|"))


@everywhere
def test_paragraphs_lists_and_tables_stand_apart(name, texts):
    for text in texts(name):
        lines = text.split("\n")
        assert "\n\n\n" not in text and text.endswith("\n") and not text.endswith("\n\n")
        assert [line for line in lines if line != line.rstrip()] == []
        for before, line in zip(["", *lines], lines, strict=False):
            if before and line:
                assert before.lstrip().startswith("|") == line.lstrip().startswith("|"), (before, line)
                # A list after a sentence is a part of it for readers that want a blank line.
                assert not line.startswith("- ") or before.startswith(("- ", "  ")), (before, line)


@everywhere
def test_no_point_of_a_list_begins_in_the_middle_of_a_line(name, texts):
    for text in texts(name):
        assert re.findall(r"^(?! *\|).*\S- \S.*$", text, re.MULTILINE) == []
        for token in _tokens(text):
            if token.type == "inline" and not token.content.startswith("!["):
                assert not re.search(r"[.:;]-|^\||^#", token.content), token.content


@everywhere
def test_every_table_is_whole_and_none_is_empty(name, texts):
    for text in texts(name):
        blocks = re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE)
        assert len(blocks) == sum(token.type == "table_open" for token in _tokens(text)) > 5
        for block in blocks:
            header, separator, *rows = map(str.strip, block.splitlines())
            assert re.fullmatch(r"\|(?: :?-{3,}:? \|)+", separator), block
            assert rows, block
            assert {len(_cells(line)) for line in (header, separator, *rows)} == {len(_cells(header))}, block
            assert all(any(cell.strip() for cell in _cells(row)) for row in rows), block


# An author's tables have no number.
@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name != "answered_at_length"])
def test_tables_and_figures_are_numbered_in_order_and_those_referred_to_exist(name, texts):
    report, _ = texts(name)
    tables = re.findall(r"^\*\*Table (\d+)\.\*\* \S.*\.\n\n\|", report, re.MULTILINE)
    assert len(tables) == sum(token.type == "table_open" for token in _tokens(report))
    figures = re.findall(r"^!\[.*\]\(.*\)\n\n\*Figure (\d+)\. .*\*$", report, re.MULTILINE)
    assert len(figures) == report.count("![")
    for kind, found in (("Table", tables), ("Figure", figures)):
        assert [int(number) for number in found] == list(range(1, len(found) + 1))
        assert {number for number in re.findall(rf"\b{kind} (\d+)", report)} == set(found)


@everywhere
def test_headings_come_in_order_and_each_has_something_below(name, texts):
    report, card = texts(name)
    for text in (report, card):
        tokens = [token for token in _tokens(text) if token.level == 0 and not token.type.endswith("_close")]
        levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(below <= above + 1 for above, below in itertools.pairwise(levels))
        kinds = [token.type for token in _tokens(text) if token.level == 0 and token.type != "inline"]
        for first, second in zip(kinds, kinds[2:], strict=False):
            assert first != "heading_open" or second != "heading_open" or "## Algorithm Description" in text
        assert kinds[-1] != "heading_close"
    numbers = [int(number) for number in re.findall(r"^#+ (\d+)\. ", report, re.MULTILINE)]
    assert numbers == list(range(1, 23))


def test_a_tag_at_the_end_of_a_line_glues_nothing(tmp_path):
    made = environment().from_string(
        "- one{% if x %} more{% endif %}\n- two\n{% for y in [] %}\n- none\n{% endfor %}\n- three\n"
    )
    assert made.render(x=True) == "- one more\n- two\n- three\n"
    assert made.render(x=False) == "- one\n- two\n- three\n"


def test_a_table_is_kept_apart_from_the_sentences_around_it():
    assert tidy("Words:\n| a |\n| - |\n| b |\nMore.\n\n\n\n> x\n>\n") == (
        "Words:\n\n| a |\n| - |\n| b |\n\nMore.\n\n> x\n>\n"
    )


def test_a_reference_to_what_is_not_there_is_an_error(small_run):
    from chexkeras.report.templating import TemplateContext

    facts = collect_facts(Run.load(small_run))
    context = TemplateContext(facts, numbered={"time": "Table 4"})
    assert context.see("time") == "Table 4"
    with pytest.raises(KeyError, match=r"no table or figure 'tine'.*time"):
        context.see("tine")
    context.table("time", "Once")
    with pytest.raises(ValueError, match="two tables or figures are called 'time'"):
        context.table("time", "Twice")


def test_the_word_list_of_the_body_part_stands_once(texts):
    report, _ = texts("plain")
    assert report.count("SEMIUPRIGHT") == 1
    assert report.index("SEMIUPRIGHT") > report.index("## Appendix A. DICOM Checks")
    assert report.index("`too_large`") > report.index("## Appendix A. DICOM Checks")


def test_the_first_page_says_how_it_did_on_whom_and_what_is_missing(small_run, texts):
    run = Run.load(small_run)
    facts = collect_facts(run)
    front = preview(facts).text.partition("## Algorithm Description")[0]
    for key in ("auroc", "sensitivity", "specificity", "prevalence_percent"):
        assert facts[f"test.Effusion.{key}"].text in front
    assert re.search(r"\| Left for the sponsor \| \d+ fields: in the head, and sections 1, ", front)
    assert "| Split | split by patient, seed 0 |" in front
    assert "| Not measured | where the model looks, other runs on the same images, readers, other hospitals" in front
    assert "nothing on file contradicts what was measured" in front
    bare, _ = texts("bare")
    assert "| Not measured | DICOM files, changed images, where the model looks" in bare


def test_an_answer_keeps_its_paragraphs_lists_and_tables_and_changes_no_heading(texts):
    report, _ = texts("answered_at_length")
    asked = sum(
        each.kind == "text" and each.key not in ("data.label_source", "data.labeller_accuracy") for each in QUESTIONS
    )
    without, _ = texts("bare")
    for text, count in ((report, asked), (without, 0)):
        assert len(re.findall(r"^ *\| Site \| Images \|$", text, re.MULTILINE)) == count
        assert len(re.findall(r"^ *- one$", text, re.MULTILINE)) == count
    headings = [re.findall("^#.*$", text, re.MULTILINE) for text in (report, without)]
    assert headings[0] == headings[1]
    assert "\n  **A heading of the author's**\n" in report and "\n**A heading of the author's**\n" in report
    assert "\n\\> ## quoted &lt;b>\n" in report
    # Within a sentence and in a cell one line is what fits.
    assert "assist a phrase on two lines" in report


def test_where_nothing_is_open_the_first_page_says_so(texts):
    report, _ = texts("everything_answered")
    assert "| Left for the sponsor | 0 fields |" in report


def test_the_precision_recall_curve_stands_among_the_results_on_the_test_part(texts):
    report, _ = texts("plain")
    performance = report[report.index("## 8. ") : report.index("## 9. ")]
    assert "/precision_recall.png)" in performance
    number = re.search(r"precision_recall.png\)\n\n\*(Figure \d+)\.", performance)
    assert number is not None
    training = report[report.index("### 3. ") : report.index("### 4. ")]
    assert f"The precision-recall curve is {number[1]}," in training


def test_old_documents_are_told_apart(texts):
    report, _ = texts("stale")
    assert "NOT SHOWN: robustness.json was measured on other scores" in report
    assert "NOT SHOWN: heatmaps.json was made on other scores" in report
