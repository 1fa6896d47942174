"""Text in Markdown: what came from a file is escaped, what is ours is marked as such.

A run folder, and the tables and answers beside it, may be somebody else's. Nothing that they hold may become a heading,
a link, a verdict in bold or a part of the page that hides another; so templates escape whatever they print, unless it
is `Marked`.
"""

import re
from typing import Any

from chexkeras.progress import printable

_BACKSLASH = re.compile(r"\\(?=[!-/:-@\[-`{-~]|\Z)")
_ALWAYS = re.compile(r"[`|\[\]~$]")
_ENTITY = re.compile(r"&(?=#?\w+;)")
# "p < 0.001" and "<0.001" open no tag.
_TAG = re.compile(r"<(?! |\d[\d.]*(?![\w@.]))")
_ADDRESS = re.compile(r"(?<=:)/(?=/)|(?<=\bwww)\.", re.IGNORECASE)
# What opens a heading, quotation, list, rule or table's second line at the beginning of a line, and no number.
_BEGINS = re.compile(r"#|>|[-+=](?![\d.])|\d{1,9}(?=[.)](?:\s|\Z))")


class Marked(str):
    """Text that is Markdown already: our own words and marks, and in it what `escaped` and `as_code` have returned."""

    __slots__ = ()


def escaped(value: Any) -> Marked:
    r"""Returns text that Markdown shows as it is, in a sentence, a cell of a table, or at the beginning of a line.

    Only characters that would mean something where they stand are escaped, for Markdown as CommonMark and GitHub read
    it and for HTML; blanks and breaks of lines become one blank.

    Args:
        value: What came from a file; `Marked` text is returned as it is.

    Source:
        CommonMark 0.31, GitHub Flavored Markdown 0.29.

    Example:
        >>> print(escaped("val_auroc | **MET** <b>"), escaped("# [a](b)"), escaped("0.5 * 2 at -1"))
        val_auroc \| \*\*MET\*\* &lt;b> \# \[a\](b) 0.5 * 2 at -1
    """
    if isinstance(value, Marked):
        return value
    text = printable(re.sub(r"\s+", " ", str(value)))
    text = _BACKSLASH.sub(r"\\\\", text)
    text = _ALWAYS.sub(lambda sign: f"\\{sign[0]}", text)
    # Within a word an underscore is a letter, between blanks an asterisk is a sign.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    text = re.sub(r"\*(?! )|(?<! )\*", r"\\*", text)
    text = _ADDRESS.sub(lambda sign: f"\\{sign[0]}", text)
    text = _TAG.sub("&lt;", _ENTITY.sub("&amp;", text))
    begins = _BEGINS.match(text)
    if begins and begins[0].isdigit():
        text = f"{begins[0]}\\{text[begins.end() :]}"
    elif begins:
        text = f"\\{text}"
    return Marked(text)


def as_code(value: Any) -> Marked:
    r"""Returns text in the type of code, as a name of a file or a layer is shown.

    Args:
        value: What came from a file.

    Example:
        >>> print(as_code("conv5_block5_0_bn"), as_code("a`b|c"))
        `conv5_block5_0_bn` `a'b\|c`
    """
    text = printable(" ".join(str(value).split())).replace("`", "'")
    # In a table a bar ends the cell even within code.
    return Marked(f"`{text.replace('|', chr(92) + '|')}`") if text else Marked("not stated")


def prose(answer: str) -> Marked:
    r"""Returns an author's answer, which stands within a sentence, a cell or a paragraph of ours.

    Words in bold, in italics and in the type of code stay so, where the marks are whole; a mark without its partner
    would pair with one of ours. Nothing else in it means anything: no heading, list, table, link or HTML.

    Args:
        answer: The answer, one line.

    Example:
        >>> print(prose("Not **for** children"), prose("~~~ **for"), prose("1. `a`"))
        Not **for** children \~\~\~ \*\*for 1\. `a`
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("zero").enable(["backticks", "emphasis", "entity", "escape"])
    (inline,) = parser.parseInline(answer)
    shown = {"text": lambda token: escaped(token.content), "code_inline": lambda token: as_code(token.content)}
    return Marked("".join(shown.get(token.type, lambda token: token.markup)(token) for token in inline.children or ()))
