"""A Markdown document as a checker reads it: sentences, table cells and code, each with its line and its headings."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from markdown_it.token import Token

SENTENCE, HEADING, CELL, CODE, HIDDEN = "sentence", "heading", "cell", "code", "hidden"
_END = re.compile(r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bet al\.)(?<!\bvs\.)(?<!\bNo\.)(?<!\bFig\.)[*\"')\]]*\s+")


@dataclass(frozen=True)
class Passage:
    """One sentence, heading, table cell or block of code, or words that a page does not show.

    Attributes:
        text: Its words, without Markdown's marks.
        line: Where it begins, counted from 1.
        kind: "sentence", "heading", "cell", "code", or "hidden": addresses and titles of links, words that stand for
            pictures.
        section: The headings above it, from the outermost inwards.
        lead: For a sentence, what stands before it in its paragraph.
        column: For a cell, the heading of its column.
        row: For a cell, all cells of its row.
        caption: For a cell, the sentence before the table.
        table: For a cell, the table's position in the document; otherwise -1.
    """

    text: str
    line: int
    kind: str = SENTENCE
    section: tuple[str, ...] = ()
    lead: str = ""
    column: str = ""
    row: tuple[str, ...] = ()
    caption: str = ""
    table: int = -1

    @property
    def label(self) -> str:
        """A cell's row label: the first cell of its row."""
        return self.row[0] if self.row else ""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        header: Its column headings.
        rows: Its rows, without the header.
        lines: The line of each row.
        section: The headings above it.
        caption: The sentence before it.
        line: Where it begins.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    section: tuple[str, ...]
    caption: str
    line: int


@dataclass(frozen=True)
class Document:
    """A document taken apart.

    Attributes:
        passages: Everything, in order.
        tables: Its tables, in order.
    """

    passages: tuple[Passage, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def prose(self) -> tuple[Passage, ...]:
        """Sentences and headings."""
        return tuple(passage for passage in self.passages if passage.kind in (SENTENCE, HEADING))

    @property
    def words(self) -> tuple[Passage, ...]:
        """Everything that is read but code."""
        return tuple(passage for passage in self.passages if passage.kind not in (CODE, HIDDEN))

    @property
    def text(self) -> str:
        """All words in one line."""
        return " ".join(passage.text for passage in self.words)


@dataclass
class _Reader:
    """Where the reader is in the document, and what it has found."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    caption: str = ""
    passages: list[Passage] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def section(self) -> tuple[str, ...]:
        return tuple(text for _, text in self.headings)

    def heading(self, level: int, text: str, line: int) -> None:
        self.headings = [entry for entry in self.headings if entry[0] < level]
        self.passages.append(Passage(text, line, HEADING, self.section))
        self.headings.append((level, text))
        self.caption = text

    def paragraph(self, text: str, line: int) -> None:
        at = 0
        for piece in [*_END.finditer(text), None]:
            end = len(text) if piece is None else piece.end()
            sentence = text[at:end]
            start = line + text[:at].count("\n") + (len(sentence) - len(sentence.lstrip("\n")))
            words = " ".join(sentence.split())
            if words:
                self.passages.append(Passage(words, start, SENTENCE, self.section, lead=text[:at]))
                self.caption = words
            at = end

    def table(self, header: list[str], rows: list[tuple[int, list[str]]], line: int) -> None:
        number = len(self.tables)
        made = Table(
            tuple(header), tuple(tuple(cells) for _, cells in rows), tuple(at for at, _ in rows),
            self.section, self.caption, line,
        )  # fmt: skip
        self.tables.append(made)
        for at, row in zip(made.lines, made.rows, strict=True):
            for column, text in zip(made.header, row, strict=False):
                if text:
                    cell = Passage(text, at, CELL, self.section, "", column, row, self.caption, number)
                    self.passages.append(cell)


def plain(token: "Token") -> str:
    """Returns the words of an inline token; line breaks stay, pictures go."""
    words = {"softbreak": "\n", "hardbreak": "\n"}
    pieces = [
        child.content if child.type in ("text", "code_inline") else words.get(child.type, "")
        for child in token.children or ()
    ]
    return "".join(pieces)


def _unseen(token: "Token") -> str:
    """Returns the words of an inline token that are not seen: of its links and pictures."""
    found = [
        part
        for child in token.children or ()
        if child.type in ("link_open", "image")
        for part in (child.attrs.get("href"), child.attrs.get("title"), child.content)
    ]
    return unquote(". ".join(str(part) for part in found if part))


def parse(text: str) -> Document:
    r"""Takes a Markdown document apart.

    Args:
        text: Markdown; HTML in it counts as words.

    Returns:
        Its sentences, headings, cells, blocks of code and what links and pictures hide, with their lines.

    Example:
        >>> [(passage.line, passage.text) for passage in parse("# Title\n\nOne. Two\nthree.").passages]
        [(1, 'Title'), (3, 'One.'), (3, 'Two three.')]
    """
    from markdown_it import MarkdownIt

    known: dict[str, Any] = {}
    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(text, known)
    reader = _Reader()
    header: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    inside = ""
    begun = 0
    for at, token in enumerate(tokens):
        line = (token.map[0] + 1) if token.map else 0
        if token.type == "table_open":
            header, rows, inside, begun = [], [], "table", line
        elif token.type == "table_close":
            reader.table(header, rows, begun)
            inside = ""
        elif token.type == "tr_open" and header:
            rows.append((line, []))
        elif token.type in ("fence", "code_block"):
            reader.passages.append(Passage(token.content, line, CODE, reader.section))
        elif token.type == "inline":
            words = plain(token)
            if unseen := _unseen(token):
                reader.passages.append(Passage(unseen, line, HIDDEN, reader.section))
            opened = tokens[at - 1]
            if opened.type == "th_open":
                header.append(" ".join(words.split()))
            elif inside:
                rows[-1][1].append(" ".join(words.split()))
            elif opened.type == "heading_open":
                reader.heading(int(opened.tag[1:]), " ".join(words.split()), line)
            else:
                reader.paragraph(words, line)
    for name, target in known.get("references", {}).items():
        words = unquote(f"{name}. {target.get('href', '')}. {target.get('title', '')}")
        reader.passages.append(Passage(words, target.get("map", [0])[0] + 1, HIDDEN))
    return Document(tuple(reader.passages), tuple(reader.tables))
