"""Text from files in Markdown: it is shown as it is, and what stands around it stays what it was."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chexkeras.progress import printable
from chexkeras.report.answers import QUESTIONS, load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.markdown import Marked, as_code, escaped, passage, prose
from chexkeras.report.model_card import card_text
from chexkeras.report.submission import preview
from chexkeras.report.templating import tidy
from chexkeras.runs.run import Run

PAYLOADS = (
    "**MET** cleared under K123456", "# Cleared", "Cleared\n===", "[link](http://evil.example)", "![x](http://e/p.png)",
    "<script>alert(1)</script>", "<!-- hidden", "-->", "<details>", "</td>", "| a | b |", "```", "~~~", "~~gone~~",
    "`x`", "a`b", "one\n\n# Two\n\n- three", "> quote", "- item", "+ item", "* item", "1. item", "2) item", "===",
    "---", "***", "&lt;b&gt; &#60;", "\\", "end\\", "\\*x\\*", "http://evil.example/x", "www.evil.example", "$x$",
    "_x_ __y__", "a_b_c", "[ref]: http://evil.example", "<http://evil.example>", "<a@b.example>", "a*b*c",
    "{{ 7 * 7 }}", "{% raw %}", "\u202eTEM", "\x1b[2J", "\ud800", "*", "_", "<", "x <", "p < 0.001", "<0.5", "!", "&",
    "|", "[", "]",
)  # fmt: skip


def parse(text):
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def skeleton(text):
    """Returns all that Markdown makes of a text but its words."""
    found = []
    for token in parse(text):
        found.append((token.type, token.tag, token.info))
        found += [
            (child.type, child.markup) for child in token.children or () if child.type not in ("text", "softbreak")
        ]
    return found


def words(text):
    return "".join(
        child.content
        for token in parse(text)
        for child in token.children or ()
        if child.type in ("text", "code_inline")
    )


def as_shown(payload):
    return printable(re.sub(r"\s+", " ", payload))


PLACES = {
    "in a sentence": "Before {}, after.",
    "at the beginning": "{}\nafter",
    "in a cell": "| a | b |\n| --- | --- |\n| {} | c |\n",
    "in a heading's column": "| {} | b |\n| --- | --- |\n| x | c |\n",
    "in bold": "**{}**",
    "behind a list's sign": "- {}\n- after",
    "in a quotation": "> {}\n> after",
    "between answers": "{} {} after `code` and **bold** [SPONSOR TO COMPLETE: x]",
    "under a sentence": "before\n{}\n\nafter",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_from_a_file_is_shown_as_it_is_and_changes_nothing_around(place, payload):
    if place == "in bold":
        payload = payload.strip()
    text = PLACES[place].replace("{}", escaped(payload))
    # The same place with a word that means nothing.
    assert skeleton(text) == skeleton(PLACES[place].replace("{}", "word"))
    assert as_shown(payload).strip() in words(text)
    assert "http://" not in text.replace("\\/", "") and "www.evil" not in text


@given(st.text(alphabet="ab1 \n#>-+=*_~`|[]()<>!&;\\:/.$@\u202e\"'"))
def test_any_text_is_shown_as_it_is(payload):
    for place in ("in a sentence", "in a cell", "at the beginning"):
        if place == "at the beginning" and not payload.strip():
            continue
        text = PLACES[place].replace("{}", escaped(payload))
        assert skeleton(text) == skeleton(PLACES[place].replace("{}", "word"))
        assert as_shown(payload).strip() in words(text)


def test_what_is_marked_is_not_escaped_again():
    assert escaped(escaped("*a*")) == r"\*a\*"
    assert escaped(Marked("**ours**")) == "**ours**"
    assert escaped("conv5_block5 is 0.5 (95 % CI 0.4-0.6; n = 3), -0.12 to +0.3") == (
        "conv5_block5 is 0.5 (95 % CI 0.4-0.6; n = 3), -0.12 to +0.3"
    )


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_name_in_the_type_of_code_is_one_name(payload):
    text = f"| a | b |\n| --- | --- |\n| {as_code(payload)} | `c` |\n"
    assert skeleton(text) == skeleton("| a | b |\n| --- | --- |\n| `word` | `c` |\n")
    assert as_code(" ") == "not stated"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_an_answer_keeps_its_whole_marks_and_opens_nothing(payload):
    for place in ("at the beginning", "in a cell", "between answers", "behind a list's sign", "in a sentence"):
        text = PLACES[place].replace("{}", prose(" ".join(payload.split())))
        inline = {"code_inline", "strong_open", "strong_close", "em_open", "em_close"}
        expected = [entry for entry in skeleton(PLACES[place].replace("{}", "word")) if entry[0] not in inline]
        assert [entry for entry in skeleton(text) if entry[0] not in inline] == expected
        if place == "between answers":
            assert skeleton(text)[-4:] == skeleton(PLACES[place].replace("{}", "word"))[-4:]
    assert prose("Not **for** *use* in `x`") == "Not **for** *use* in `x`"


BLOCKS = {
    "paragraph_open", "inline", "bullet_list_open", "ordered_list_open", "list_item_open", "table_open", "thead_open",
    "tbody_open", "tr_open", "th_open", "td_open",
}  # fmt: skip
INLINE = {"text", "softbreak", "code_inline", "strong_open", "strong_close", "em_open", "em_close"}


def harmless_around(answer):
    """Checks an answer between a paragraph, a table and a heading of ours: they stay, and nothing in it is live."""
    text = tidy(f"Before. {passage(answer)}\n\nAfter.\n\n| a | b |\n| --- | --- |\n| c | d |\n\n## Ours\n\nEnd.\n")
    tokens = parse(text)
    assert [token.content for token in tokens[-15:] if token.type == "inline"][-3:] == ["d", "Ours", "End."], text
    assert [token for token in tokens if token.type == "heading_open"] == [tokens[-6]], text
    for token in tokens[:-6]:
        assert token.type in BLOCKS or token.type.endswith("_close"), (token.type, text)
        assert {child.type for child in token.children or ()} <= INLINE, text
    # A second pass finds what the first has written: no mark comes into being by being printed.
    assert passage(str(passage(answer)).strip()).strip() == passage(answer).strip(), text


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize(
    "place", ["{}", "One.\n\n{}", "- {}\n- b", "1. a\n   {}", "| a | b |\n| - | - |\n| {} | x |", "# {}"]
)
def test_an_answer_of_several_blocks_opens_nothing_but_lists_and_tables(place, payload):
    harmless_around(place.replace("{}", payload))


@given(st.text(alphabet="ab1 \n#>-+=*_~`|[]()<>!&;\\:/.\"'\t"))
def test_any_answer_leaves_what_stands_around_it(answer):
    harmless_around(answer)


@pytest.mark.parametrize(("answer", "shown"), [
    ("One.\n\nTwo\nlines.", "One.\n\nTwo lines."),
    ("* a\n* b\n    1. c\n    2. d", "- a\n- b\n  1. c\n  2. d"),
    ("3) x\n4) y", "3. x\n4. y"),
    ("- a\n\n  more\n\n- b", "- a\n\n  more\n- b"),
    ("|a|b|\n|:-:|-:|\n|1|**2**|\n|3|", "| a | b |\n| :---: | ---: |\n| 1 | **2** |\n| 3 |  |"),
    ("## A [b](http://c)\n\nd", "**A \\[b\\](http:\\//c)**\n\nd"),
    ("text\n\n![x](http://e/p.png)", "text\n\n!\\[x\\](http:\\//e/p.png)"),
])  # fmt: skip
def test_an_answer_of_several_blocks_is_written_anew(answer, shown):
    assert passage(answer) == f"\n\n{shown}\n\n"


def hostile(run, folder, text, fitted="validation"):
    """Returns a copy of a run that holds a text wherever one may be of any kind."""
    shutil.copytree(run, folder)

    def change(name, edit):
        document = json.loads((folder / name).read_text())
        edit(document)
        (folder / name).write_text(json.dumps(document))

    def provenance(document):
        document.update(git_commit=text, platform=text, cautions=[text])
        document["source"].update(dataset=text, label_release=text, files={text: "ab" * 32}, cautions=[text])
        document["split"]["description"] = text
        document["best"]["stage"] = text

    def evaluation(document):
        document["cautions"] = [text]
        entry = document["findings"][0]
        entry["ppv"] = {"value": None, "low": None, "high": None, "reason": text, "method": text}
        for analysis in entry["subgroups"]:
            for group in analysis["groups"]:
                group["level"] = f"{text}{group['level']}"
            for test in analysis["interactions"]:
                test.update(p_value=None, reason=text)

    change("provenance.json", provenance)
    change("evaluation.json", evaluation)
    change("recipe.json", lambda d: d.update(name=text) or d["stages"][1].update(name=text))
    change("stages.json", lambda d: d[1].update(stage=text))
    change("audit.json", lambda d: d["issues"]["unreadable"].update(meaning=text))
    change("operating_points.json", lambda d: d[0].update(note=text))
    change("recalibration.json", lambda d: d[0].update(note=text, fitted_on=text))
    for effect in (files := json.loads((folder / "robustness.json").read_text()))["effects"]:
        effect.update(perturbation=f"{text} {effect['perturbation']}", group=text)
    (folder / "robustness.json").write_text(json.dumps(files))
    for name, edit in (
        ("history.csv", lambda table: table.assign(stage=table["stage"].replace("stage2", text))),
        ("left_out.csv", lambda table: table.assign(reason=text)),
        ("table.csv", lambda table: table.assign(view=table["view"].replace("AP", text))),
        ("dicom_results.csv", lambda table: table.assign(code=text, decoder=text, profile=text)),
    ):
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        edit(table).to_csv(folder / name, index=False)
    return Run.load(folder)


@pytest.fixture(scope="module")
def harmless(small_run, tmp_path_factory):
    """What the two documents of a run are made of whose texts are words."""
    facts = collect_facts(hostile(small_run, tmp_path_factory.mktemp("harmless") / "run", "Word"))
    return skeleton(preview(facts).text), skeleton(card_text(facts))


@pytest.mark.parametrize(
    "payload",
    [
        "**MET** cleared under K123456", "x | y | z", "# Cleared", "<!-- hidden", "```", "[a](http://evil.example)",
        "<script>alert(1)</script>", "a\n\n## Cleared by FDA\n\n| a |\n| --- |", "\\", "~~~ `x` ***",
    ],
)  # fmt: skip
def test_no_text_of_a_run_changes_what_its_documents_are_made_of(payload, harmless, small_run, tmp_path):
    facts = collect_facts(hostile(small_run, tmp_path / "run", payload))
    for text, expected in zip((preview(facts).text, card_text(facts)), harmless, strict=True):
        assert skeleton(text) == expected
        assert not any(kind in ("html_block", "html_inline", "link_open") for kind, *_ in skeleton(text))


@pytest.mark.parametrize("answer", ["~~~", "```", "<!--", "<details>", "---", "===", "**x", "`x", "[a](b)", "| x"])
def test_no_answer_swallows_what_comes_after_it(answer, small_run, tmp_path):
    tables = {}
    for question in QUESTIONS:
        if question.kind != "number":
            table, name = question.key.split(".")
            tables.setdefault(table, []).append(name)

    def documents(said):
        text = "".join(
            f"[{table}]\n" + "".join(f"{name} = {json.dumps(said)}\n" for name in names)
            for table, names in tables.items()
        )
        Path(tmp_path / "submission.toml").write_text(text)
        facts = collect_facts(Run.load(small_run), answers=load_answers(tmp_path / "submission.toml"))
        return preview(facts).text, card_text(facts)

    for text, plain in zip(documents(answer), documents("word"), strict=True):
        assert skeleton(text) == skeleton(plain)
