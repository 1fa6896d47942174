"""A report as one HTML file: figures inside, a table of contents, fit for screen and paper, no script."""

import base64
import itertools
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import existing_file, typed_path
from chexkeras.report.goals import MET, NOT_ESTIMABLE, NOT_MET

if TYPE_CHECKING:
    from markdown_it.token import Token

PAGE, STYLE = "page.html.j2", "page.css"
GAP_START, GAP_END = "[SPONSOR TO COMPLETE:", "]"
CAUTION = "Caution."
MANY_COLUMNS, MOST_COLUMNS = 6, 8
"""From this many columns on a table is printed in smaller type, and in the smallest."""

SHORT_ROWS = 8
"""Up to this many rows a table is kept on one page."""

LONG_WORD = 14
"""From this many characters on a word may be broken: at its joints, or anywhere if it is a fingerprint."""

COLUMNS_OF_CONTENTS = 12
"""From more entries on the table of contents is set in two columns."""

PRINTED_SCALE = 0.62
"""Share of its own size at which a figure is printed: two fit on a page, and their type stays readable."""

TWO_ON_A_PAGE_INCHES = 3.95
"""Height at which two figures with captions fit on a page, A4 or Letter; a little taller ones are printed this tall."""

_A_LITTLE_TALLER_INCHES = 4.8

RUNNING_LENGTH = 100
"""Characters of the first caution that stand at the head of every printed page; it is in full on the first."""

_PRINTED_WIDTH_INCHES, _PRINTED_HEIGHT_INCHES = 6.8, 8.6
_USUAL_DPI = 150.0
_INCH_METRES = 0.0254
_TEMPLATES = Path(__file__).parent / "templates"
_FACTS = "facts.json"
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_BADGES = {MET: "met", NOT_MET: "not-met", NOT_ESTIMABLE: "not-estimable"}
_APPENDIX = re.compile(r"Appendix [A-Z]\. ")
_TABLE_TITLE = re.compile(r"Table \d+\. ")
_JOINTS = re.compile(r"(?<=[_/])(?=\w)|(?<=[a-z)])(?=[A-Z])")
_SENTENCE = re.compile(r"\.\Z|\b(?:MET|ESTIMABLE)\b")
_VERDICT = re.compile(r"\b(NOT MET|NOT ESTIMABLE|MET)\b")


@dataclass(frozen=True)
class Entry:
    """One line of the table of contents: the heading's level (1 to 6), text and anchor."""

    level: int
    text: str
    anchor: str


@checked
def write_html(markdown_path: str | Path, out: str | Path | None = None) -> Path:
    """Writes a report as one self-contained HTML file.

    Nothing in the page is fetched from elsewhere and nothing in it runs: figures are part of the file, HTML inside the
    Markdown is shown as text, and the page forbids scripts and remote content to the browser.

    Args:
        markdown_path: A Markdown file, as `write_report` wrote it.
        out: The file to write; by default beside the report, with the suffix ".html".

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: If the report, or a figure it shows, is missing.
        ValueError: If a figure lies outside the report's folder of figures (the one with facts.json), or is no PNG or
            JPEG; or if `out` is the report itself.
    """
    report = existing_file(typed_path(markdown_path, "report"), "report")
    page = report.with_suffix(".html") if out is None else typed_path(out, "out")
    if page.resolve() == report.resolve():
        raise ValueError(f"out={str(page)!r} is the report itself; choose a name that ends in .html.")
    return files.write_text(page, page_text(report))


def page_text(report: Path) -> str:
    """Returns the whole page of a report that exists."""
    import jinja2
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    # markdown-it follows no script; a link that carries a page or a picture of its own is none for a report either.
    usual = parser.validateLink
    parser.validateLink = lambda url: usual(url) and not url.strip().casefold().startswith("data:")  # type: ignore[method-assign]
    parser.add_render_rule("text", lambda _, tokens, at, *rest: _breakable(tokens[at].content))
    parser.add_render_rule("code_inline", lambda _, tokens, at, *rest: f"<code>{_breakable(tokens[at].content)}</code>")
    tokens = parser.parse(report.read_text(encoding="utf-8"))
    entries = _mark_headings(tokens)
    _mark_paragraphs(tokens)
    _embed(tokens, report)
    for token in tokens:
        if token.children:
            token.children = _marked(token.children)
    tokens = _with_frames(tokens)
    # The contents stand after the front matter: the cautions stay the first thing that is read.
    front = next((at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag != "h1"), 0)
    parts = (tokens[: front or len(tokens)], _with_appendices(tokens[front or len(tokens) :]))
    before, after = (parser.renderer.render(part, parser.options, {}) for part in parts)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), undefined=jinja2.StrictUndefined, autoescape=True
    )
    return environment.get_template(PAGE).render(
        title=entries[0].text if entries else report.stem,
        style=Markup((_TEMPLATES / STYLE).read_text(encoding="utf-8")),
        heading=Markup(_css_string(shortened(entries[0].text if entries else ""))),
        running=Markup(_css_string(shortened(_first_caution(tokens)))),
        contents=[entry for entry in entries if entry.level > 1],
        columns_of_contents=COLUMNS_OF_CONTENTS,
        before=Markup(before),
        after=Markup(after),
    )


def _breakable(text: str) -> str:
    """Returns text as HTML in which names of code and fingerprints can be broken, but no word of English."""
    from markdown_it.common.utils import escapeHtml

    def parts(word: str) -> str:
        if len(word) < LONG_WORD:
            return escapeHtml(word)
        if word.isalnum() and any(map(str.isdigit, word)):
            pieces = [word[start : start + LONG_WORD] for start in range(0, len(word), LONG_WORD)]
        else:
            pieces = _JOINTS.split(word)
        return "<wbr>".join(map(escapeHtml, pieces))

    return "".join(parts(word) for word in re.split(r"(\s+)", text))


def _plain(token: "Token") -> str:
    """Returns the text of an inline token without its marks."""
    words = [child.content if child.type in ("text", "code_inline") else " " for child in token.children or ()]
    return " ".join("".join(words).split())


def _mark_headings(tokens: "list[Token]") -> list[Entry]:
    """Gives every heading an anchor of its own and returns the table of contents."""
    entries: list[Entry] = []
    taken: set[str] = set()
    for at, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        text = _plain(tokens[at + 1])
        base = re.sub(r"[^\w]+", "-", text.casefold()).strip("-") or "section"
        anchor, count = base, 1
        while anchor in taken:
            count += 1
            anchor = f"{base}-{count}"
        taken.add(anchor)
        token.attrSet("id", anchor)
        entries.append(Entry(int(token.tag[1:]), text, anchor))
    return entries


def _mark_paragraphs(tokens: "list[Token]") -> None:
    """Classes for cautions, figures and their captions, and the lines in bold that head a part of a section."""
    before = ""
    for at, token in enumerate(tokens):
        if token.type != "paragraph_open":
            continue
        kinds = [child.type for child in tokens[at + 1].children or () if child.type != "text" or child.content]
        text = _plain(tokens[at + 1])
        name = ""
        if text.startswith((CAUTION, "LEAKY:")) and kinds[:1] == ["strong_open"]:
            name = "caution"
        elif kinds == ["image"]:
            name = "figure"
        elif kinds[:1] == ["strong_open"] and _TABLE_TITLE.match(text):
            name = "title"
        elif before == "figure" and kinds[:1] == ["em_open"] and kinds[-1:] == ["em_close"]:
            name = "caption"
        elif kinds[:1] == ["strong_open"] and kinds[-1:] == ["strong_close"] and not _SENTENCE.search(text):
            name = "part"
        elif text.endswith(":"):
            name = "lead"
        if name:
            token.attrJoin("class", name)
        before = name


def _first_caution(tokens: "list[Token]") -> str:
    for at, token in enumerate(tokens):
        if token.type == "paragraph_open" and token.attrGet("class") == "caution":
            return _plain(tokens[at + 1])
    return ""


def shortened(text: str) -> str:
    """Returns as much of a text as the head of a printed page holds: to the end of a clause, or else whole words."""
    if len(text) <= RUNNING_LENGTH:
        return text
    head = text[:RUNNING_LENGTH]
    clause = max(head.rfind(mark) for mark in (". ", ": ", "; "))
    kept = head[:clause] if clause > RUNNING_LENGTH // 2 else head.rpartition(" ")[0]
    return f"{kept.rstrip(' ,;:(')} …"


def _css_string(text: str) -> str:
    """Returns text as the inside of a CSS string; whatever could end the string or the style sheet is a code.

    A code takes the blank after it for its end, so each has one of its own: the blanks of the text stay.

    Source:
        CSS Syntax Module Level 3, 4.3.7: consume an escaped code point.
    """
    safe = re.compile(r"[A-Za-z0-9 .,]")
    return "".join(char if safe.match(char) else f"\\{ord(char):06x} " for char in text)


def checked_figure(report: Path, source: str) -> tuple[Path, bytes]:
    """Returns the file of a figure that a report shows, and what is in it.

    Args:
        report: The report's Markdown file.
        source: The figure's address as it stands in the report.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the address is no file beside the report, not in its folder of figures, or no PNG or JPEG.
    """
    if urlsplit(source).scheme or urlsplit(source).netloc or not source:
        raise ValueError(f"the report shows {source!r}, which is no file beside it; only local figures are shown.")
    figure = existing_file(report.parent / unquote(source), "figure", "write the report again.")
    folder = figure.resolve().parent
    # The folder that `write_report` made, and no other: a page must not carry a file that a link was bent to.
    if not (folder / _FACTS).is_file() or Path(os.path.abspath(figure)).parent.resolve() != folder:
        raise ValueError(
            f"the figure {source!r} does not lie in the report's folder of figures, the one with {_FACTS}; "
            "write the report again."
        )
    data = figure.read_bytes()
    if not data.startswith(tuple(_SIGNATURES)):
        raise ValueError(f"the figure {source!r} is neither PNG nor JPEG; write the report again.")
    return figure, data


def _embed(tokens: "list[Token]", report: Path) -> None:
    """Puts every figure into its own link."""
    images = [child for token in tokens for child in token.children or () if child.type == "image"]
    for image in images:
        _, data = checked_figure(report, str(image.attrGet("src") or ""))
        kind = next(kind for start, kind in _SIGNATURES.items() if data.startswith(start))
        image.attrSet("style", _size(data))
        image.attrSet("src", f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}")


def _inches(data: bytes) -> tuple[float, float]:
    """Returns the width and the height of a figure, from the size and the resolution that its PNG states; 0 without.

    Source:
        PNG specification: width and height in IHDR, the first chunk; pixels per metre in pHYs.
    """
    if data[12:16] != b"IHDR":
        return 0.0, 0.0
    width, height = struct.unpack(">II", data[16:24])
    at = data.find(b"pHYs", 0, data.find(b"IDAT"))
    dpi = struct.unpack(">I", data[at + 4 : at + 8])[0] * _INCH_METRES if at > 0 else _USUAL_DPI
    return (width / dpi, height / dpi) if width and height and dpi else (0.0, 0.0)


def printed_width(data: bytes, widest: float, tallest: float) -> float:
    """Returns how broad a figure is printed, inches; 0 where its file does not state its size.

    Args:
        data: The figure's file.
        widest: The breadth of the text, inches.
        tallest: The height that a figure may take, inches.
    """
    width, height = _inches(data)
    if not width:
        return 0.0
    if TWO_ON_A_PAGE_INCHES < height * PRINTED_SCALE <= _A_LITTLE_TALLER_INCHES:
        tallest = TWO_ON_A_PAGE_INCHES
    return min(width * PRINTED_SCALE, widest, tallest * width / height)


def _size(data: bytes) -> str:
    """Returns a figure's width on the screen and on paper."""
    printed = printed_width(data, _PRINTED_WIDTH_INCHES, _PRINTED_HEIGHT_INCHES)
    return f"--screen: {_inches(data)[0]:.2f}in; --paper: {printed:.2f}in" if printed else ""


def _marked(children: "list[Token]") -> "list[Token]":
    """Returns inline tokens with gaps marked as such and verdicts in bold as badges."""
    from markdown_it.token import Token

    found: list[Token] = []
    strong = gap = 0

    def text(content: str) -> None:
        if content:
            found.append(Token("text", "", 0, content=content))

    def mark(tag: str, name: str, content: str) -> None:
        found.append(Token(f"{tag}_open", tag, 1, attrs={"class": name}))
        text(content)
        if content:
            found.append(Token(f"{tag}_close", tag, -1))

    for child in children:
        strong += {"strong_open": 1, "strong_close": -1}.get(child.type, 0)
        if child.type != "text":
            found.append(child)
            continue
        rest = child.content
        while rest:
            if gap:
                inside, end, rest = rest.partition(GAP_END)
                text(inside + end)
                if end:
                    found.append(Token("mark_close", "mark", -1))
                    gap = 0
                continue
            before, start, rest = rest.partition(GAP_START)
            for at, piece in enumerate(_VERDICT.split(before) if strong else [before]):
                if at % 2:
                    mark("span", f"verdict {_BADGES[piece]}", piece)
                else:
                    text(piece)
            if start:
                mark("mark", "gap", "")
                text(start)
                gap = 1
    if gap:
        found.append(Token("mark_close", "mark", -1))
    return found


def _with_frames(tokens: "list[Token]") -> "list[Token]":
    """Returns the tokens with every table in a frame of its own, which scrolls where the page is too narrow."""
    from markdown_it.token import Token

    framed: list[Token] = []
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            end = next(i for i in range(at, len(tokens)) if tokens[i].type == "thead_close")
            columns = sum(part.type == "th_open" for part in tokens[at:end])
            last = next(i for i in range(at, len(tokens)) if tokens[i].type == "table_close")
            rows = sum(part.type == "tr_open" for part in tokens[end:last])
            name = "table" + " many" * (columns >= MANY_COLUMNS) + " most" * (columns >= MOST_COLUMNS)
            name += " short" * (rows <= SHORT_ROWS)
            framed.append(Token("div_open", "div", 1, attrs={"class": name}, block=True))
        framed.append(token)
        if token.type == "table_close":
            framed.append(Token("div_close", "div", -1, block=True))
    return framed


def _with_appendices(tokens: "list[Token]") -> "list[Token]":
    """Returns the tokens with every appendix in a part of its own, on broad pages where a table has many columns."""
    from markdown_it.token import Token

    starts = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag in ("h1", "h2")]
    parted = list(tokens)
    for at, end in reversed(list(itertools.pairwise([*starts, len(tokens)]))):
        if not _APPENDIX.match(_plain(tokens[at + 1])):
            continue
        inside = tokens[at:end]
        broad = any("many" in str(token.attrGet("class")).split() for token in inside)
        parted[at:end] = [
            Token("section_open", "section", 1, attrs={"class": "appendix" + " broad" * broad}, block=True),
            *inside,
            Token("section_close", "section", -1, block=True),
        ]
    return parted
