"""A report as a Word document, by pandoc: tables, figures, contents, head and foot as the printed page has them."""

import itertools
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import existing_file, typed_path
from chexkeras.report import word_style
from chexkeras.report.html import (
    CAUTION,
    GAP_END,
    GAP_START,
    MANY_COLUMNS,
    MOST_COLUMNS,
    checked_figure,
    printed_width,
    shortened,
)

READER = "commonmark+pipe_tables"
"""How pandoc reads a report: as the HTML page is read, so that what is text there is text here."""

_SECONDS = 120
# The breadth of a letter by the size of the type, with room for bold ones, and what a cell has beside its text.
_LETTER_EM, _CODE_EM, _BESIDE_TEXT_INCHES = 0.58, 0.6, 0.12
_LONGEST_WORD = 24
"""Characters of a word that a column is made broad enough for; how much broader the type of code is."""

_TABLE, _FIGURE = re.compile(r"Table \d+\. "), re.compile(r"Figure \d+\. ")
_APPENDIX = re.compile(r"Appendix [A-Z]\. ")
_INCHES = word_style.TEXT_WIDTH_INCHES, word_style.TEXT_HEIGHT_INCHES * 0.8

Node = dict[str, Any]
"""A part of pandoc's document: its kind under "t", what is in it under "c"."""


@checked
def write_docx(markdown_path: str | Path, out: str | Path | None = None) -> Path:
    """Writes a report as a Word document.

    Needs pandoc, which comes with ``pip install 'chexkeras[docx]'``.

    Args:
        markdown_path: A Markdown file, as `write_report` wrote it.
        out: The file to write; by default beside the report, with the suffix ".docx".

    Returns:
        The path of the document.

    Raises:
        FileNotFoundError: If the report, or a figure that it shows, is missing.
        ValueError: If pandoc is not installed or cannot read the report; if a figure lies outside the report's folder
            of figures (the one with facts.json), or is no PNG or JPEG; or if `out` is the report itself.
    """
    pandoc = pandoc_path()
    report = existing_file(typed_path(markdown_path, "report"), "report")
    document = report.with_suffix(".docx") if out is None else typed_path(out, "out")
    if document.resolve() == report.resolve():
        raise ValueError(f"out={str(document)!r} is the report itself; choose a name that ends in .docx.")
    read = _run([pandoc, "--sandbox", "--from", READER, "--to", "json"], report.read_bytes())
    tree = _as_text(json.loads(read))
    headings = [block for block in tree["blocks"] if block["t"] == "Header"]
    title = _words(headings[0]) if headings else report.stem
    broad_at_end = ([False, *_broad_appendices(tree["blocks"]).values()])[-1]
    tree["blocks"] = list(_blocks(tree["blocks"], report))
    caution = next((_words(each) for each in _each(tree["blocks"], "Div") if _style_of(each) == word_style.CAUTION), "")
    with tempfile.TemporaryDirectory() as aside, files.replacing(document) as made:
        reference = Path(aside) / "reference.docx"
        original = _run([pandoc, "--print-default-data-file", "reference.docx"], b"")
        reference.write_bytes(
            word_style.reference_document(original, title=shortened(title), running=shortened(caution))
        )
        _run(
            [pandoc, "--from", "json", "--to", "docx", f"--reference-doc={reference}", f"--output={made}"],
            json.dumps(tree).encode("utf-8"),
            _made(report, tree["blocks"]),
        )
        word_style.finish_sections(Path(made), broad_at_end=broad_at_end)
    return document


def pandoc_path() -> str:
    """Returns pandoc's program.

    Raises:
        ValueError: If it is not installed; the message says how to install it.
    """
    try:
        import pypandoc

        return str(pypandoc.get_pandoc_path())
    except (ImportError, OSError) as error:
        raise ValueError(
            "a Word document is written by pandoc, which is not installed; install it with: "
            "pip install 'chexkeras[docx]'."
        ) from error


def _run(command: list[str], given: bytes, when: int = 0) -> bytes:
    """Returns what a call of pandoc printed; the document that it writes is dated `when`, seconds since 1970."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(when)}
    try:
        done = subprocess.run(command, input=given, capture_output=True, env=environment, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"pandoc did not finish within {_SECONDS} seconds; the report may be damaged.") from error
    if done.returncode:
        raise ValueError(f"pandoc could not convert the report: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout


def _made(report: Path, blocks: list[Node]) -> int:
    """Returns when the run was made, from the facts beside the figures; the same report gives the same document."""
    image = next(_each(blocks, "Image"), None)
    if image is None:
        return 0
    facts: Any = files.read_json(Path(image["c"][2][0]).with_name("facts.json"))
    try:
        return int(datetime.fromisoformat(str(facts["run.created_utc"]["value"])).astimezone(UTC).timestamp())
    except KeyError:
        return 0
    except ValueError:
        return 0


def _each(part: Any, kind: str) -> Iterator[Node]:
    """Yields the parts of one kind, wherever they are."""
    if isinstance(part, dict) and part.get("t") == kind:
        yield part
    inside = part.get("c") if isinstance(part, dict) else part
    if isinstance(inside, list):
        for within in inside:
            yield from _each(within, kind)


def _as_text(part: Any) -> Any:
    """Returns a document in which HTML is text, as it is in the page; pandoc would leave it out without a word."""
    if isinstance(part, list):
        return [_as_text(inside) for inside in part]
    if not isinstance(part, dict):
        return part
    if part.get("t") in ("RawInline", "RawBlock"):
        text = {"t": "Str", "c": part["c"][1]}
        return text if part["t"] == "RawInline" else {"t": "Para", "c": [text]}
    return {key: _as_text(inside) for key, inside in part.items()}


def _words(part: Any) -> str:
    """Returns the words of a part without marks."""
    if isinstance(part, list):
        return "".join(map(_words, part))
    if not isinstance(part, dict):
        return ""
    kind, inside = part.get("t"), part.get("c")
    if kind == "Str":
        return str(inside)
    if kind == "Code" and inside:
        return str(inside[1])
    if kind in ("Space", "SoftBreak", "LineBreak"):
        return " "
    return "" if kind == "Image" else _words(inside)


def _style_of(part: Node) -> str:
    return str(dict(part["c"][0][2]).get("custom-style", ""))


def _styled(kind: str, style: str, inside: list[Any]) -> Node:
    return {"t": kind, "c": [["", [], [["custom-style", style]]], inside]}


def _raw(kind: str, xml: str) -> Node:
    return {"t": kind, "c": ["openxml", xml]}


def _blocks(blocks: list[Node], report: Path) -> Iterator[Node]:
    """Yields the document's blocks with their styles; the contents stand before the second heading."""
    headings = [block for block in blocks if block["t"] == "Header"]
    for number, heading in enumerate(headings):
        anchor = heading["c"][1][0] = f"heading{number}"
        # Pandoc's own bookmark is around the whole section; a page number needs one at the heading.
        heading["c"][2].insert(0, _raw("RawInline", word_style.bookmark(number, _place(anchor))))
    appendices, broad = _broad_appendices(blocks), False
    after_figure = False
    for at, block in enumerate(blocks):
        if len(headings) > 2 and block is headings[1]:
            yield from _contents(headings[1:])
        if at in appendices:
            turned = appendices[at] != broad
            yield _raw("RawBlock", word_style.section_end(broad=broad) if turned else word_style.PAGE_BREAK)
            broad = appendices[at]
        shown = _block(block, report, after_figure)
        after_figure = shown["t"] == "Div" and _style_of(shown) == word_style.FIGURE
        yield shown


def _broad_appendices(blocks: list[Node]) -> dict[int, bool]:
    """Returns where each appendix begins, and whether it goes on broad pages, since a table has many columns."""
    starts = [at for at, block in enumerate(blocks) if block["t"] == "Header" and block["c"][0] <= 2]
    return {
        at: any(len(table["c"][2]) >= MANY_COLUMNS for table in _each(blocks[at:end], "Table"))
        for at, end in itertools.pairwise([*starts, len(blocks)])
        if _APPENDIX.match(_words(blocks[at]))
    }


def _contents(headings: list[Node]) -> Iterator[Node]:
    """Yields a line for each heading, with the page that it is on, on a page that they begin."""
    yield _styled("Div", word_style.CONTENTS_TITLE, [{"t": "Para", "c": [{"t": "Str", "c": "Contents"}]}])
    for heading in headings:
        level, (anchor, *_), words = heading["c"]
        indent = [{"t": "Str", "c": "\u2003" * (level - 2)}] if level > 2 else []
        link = {"t": "Link", "c": [["", [], []], _linked(words), [f"#{anchor}", ""]]}
        line = {"t": "Para", "c": [*indent, link, _raw("RawInline", word_style.page_of(_place(anchor)))]}
        yield _styled("Div", word_style.CONTENTS, [line])


def _place(anchor: str) -> str:
    return f"page_of_{anchor}"


def _linked(words: list[Node]) -> list[Node]:
    return [word for word in words if word["t"] in ("Str", "Space", "Code")]


def _block(block: Node, report: Path, after_figure: bool) -> Node:
    """Returns one block with its style."""
    kind = block["t"]
    if kind == "BlockQuote":
        parts = [
            _styled("Div", word_style.CAUTION if _words(part).startswith(CAUTION) else "Block Text", [_inline(part)])
            for part in block["c"]
        ]
        return {"t": "Div", "c": [["", [], []], parts]}
    if kind == "Table":
        return _table(block)
    if kind != "Para":
        return _inline(block)
    images = [part for part in block["c"] if part["t"] == "Image"]
    for image in images:
        _size(image, report)
    if images and len(block["c"]) == 1:
        return _styled("Div", word_style.FIGURE, [block])
    text = _words(block)
    if _TABLE.match(text) and block["c"][0]["t"] == "Strong":
        return _styled("Div", word_style.TABLE_TITLE, [_inline(block)])
    if after_figure and _FIGURE.match(text) and [part["t"] for part in block["c"]] == ["Emph"]:
        return _styled("Div", word_style.FIGURE_CAPTION, [{"t": "Para", "c": block["c"][0]["c"]}])
    if [part["t"] for part in block["c"]] == ["Strong"]:
        return _styled("Div", word_style.PART, [_inline(block)])
    return _inline(block)


def _size(image: Node, report: Path) -> None:
    """Points a picture at its checked file and gives it the width that it is printed at."""
    file, data = checked_figure(report, image["c"][2][0])
    image["c"][2][0] = str(file.resolve())
    inches = printed_width(data, *_INCHES)
    if inches:
        image["c"][0][2] = [["width", f"{inches:.2f}in"]]


def _table(table: Node) -> Node:
    """Returns a table whose columns are as broad as what they hold asks for, in the type of tables."""
    _, _, columns, head, bodies, foot = table["c"]
    rows = [*head[1], *(row for body in bodies for row in (*body[2], *body[3])), *foot[1]]
    style, em = word_style.TABLE_TEXT, word_style.TABLE_POINTS / 72
    if len(columns) >= MOST_COLUMNS:
        style, em = word_style.SMALL_TABLE_TEXT, word_style.SMALL_TABLE_POINTS / 72
    needs, wishes = [_BESIDE_TEXT_INCHES] * len(columns), [1.0] * len(columns)
    for row in rows:
        for at, cell in enumerate(row[1]):
            words = _words(cell[4])
            letter = em * (_CODE_EM if any(_each(cell[4], "Code")) else _LETTER_EM)
            word = min(max(map(len, words.split()), default=1), _LONGEST_WORD) * letter
            needs[at] = max(needs[at], word + _BESIDE_TEXT_INCHES)
            wishes[at] = max(wishes[at], len(words) ** 0.5)
            # Pandoc gives a style to paragraphs, not to plain words.
            inside = [{"t": "Para", "c": _marked(part["c"])} for part in cell[4]]
            cell[4] = [_styled("Div", style, inside)] if inside else []
    # A column needs its longest word, and of the rest of the room the square root of what it has to say.
    rest = max(word_style.TEXT_WIDTH_INCHES - sum(needs), 0.0)
    widths = [need + rest * wish / sum(wishes) for need, wish in zip(needs, wishes, strict=True)]
    for column, width in zip(columns, widths, strict=True):
        column[1] = {"t": "ColWidth", "c": width / sum(widths)}
    return table


def _inline(block: Any) -> Any:
    """Returns a block in which every open field has the colour of one."""
    if isinstance(block, list):
        return [_inline(part) for part in block]
    if not isinstance(block, dict) or "c" not in block:
        return block
    if block["t"] in ("Para", "Plain"):
        return {**block, "c": _marked(block["c"])}
    return {**block, "c": _inline(block["c"])}


def _marked(parts: list[Node]) -> list[Node]:
    opening = GAP_START.split()[0]
    marked: list[Node] = []
    field: list[Node] | None = None
    for part in parts:
        if field is None and part["t"] == "Str" and part["c"].startswith(opening):
            field = []
        (marked if field is None else field).append(part)
        if field is not None and part["t"] == "Str" and GAP_END in part["c"]:
            marked.append(_styled("Span", word_style.GAP, field))
            field = None
    return marked + (field or [])
