"""Text in Markdown: what came from a file is escaped, what is ours is marked as such.

A run folder, and the tables and answers beside it, may be somebody else's. Nothing that they hold may become a heading,
a link, a verdict in bold or a part of the page that hides another; so templates escape whatever they print, unless it
is `Marked`.
"""

import re
from typing import TYPE_CHECKING, Any

from chexkeras.progress import printable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

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


_MARKS = ("backticks", "emphasis", "entity", "escape")
"""Marks within a line that an author's answer keeps; links, pictures and HTML are not among them."""


def _parser(*rules: str) -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("zero").enable([*_MARKS, *rules])


def prose(answer: str) -> Marked:
    r"""Returns an author's answer of one line, which stands within a sentence, a cell or a paragraph of ours.

    Words in bold, in italics and in the type of code stay so, where the marks are whole; a mark without its partner
    would pair with one of ours. Nothing else in it means anything: no heading, list, table, link or HTML.

    Args:
        answer: The answer; breaks of lines count as blanks.

    Example:
        >>> print(prose("Not **for** children"), prose("~~~ **for"), prose("1. `a`"))
        Not **for** children \~\~\~ \*\*for 1\. `a`
    """
    from markdown_it.tree import SyntaxTreeNode

    inline = SyntaxTreeNode(_parser().parseInline(" ".join(answer.split()))).children
    return _line(inline[0]) if inline else Marked("")


def passage(answer: str) -> Marked:
    r"""Returns an author's answer, of one line or of several paragraphs, lists and tables.

    One paragraph stands within ours. More than that begins and ends with a blank line, so that it stands for itself. A
    heading becomes a line in bold, since the document's headings are ours; for the rest see `prose`.

    Args:
        answer: The answer, as Markdown.

    Example:
        >>> passage("For adults:\n\n# Not\n* children\n* animals")
        '\n\nFor adults:\n\n**Not**\n\n- children\n- animals\n\n'
    """
    from markdown_it.tree import SyntaxTreeNode

    tree = SyntaxTreeNode(_parser("list", "table", "heading").parse(answer))
    if [node.type for node in tree.children] in ([], ["paragraph"]):
        return prose(answer)
    return Marked("\n\n" + "\n\n".join(filter(None, map(_block, tree.children))) + "\n\n")


def _line(inline: "SyntaxTreeNode") -> Marked:
    """Returns the text of a line as Markdown with the marks that are allowed."""
    pieces = []
    for node in inline.to_tokens()[0].children or ():
        if node.type == "text":
            pieces.append(escaped(node.content))
        elif node.type == "code_inline":
            pieces.append(as_code(node.content))
        else:
            pieces.append(Marked(node.markup))
    return Marked("".join(pieces).strip())


def _words(node: "SyntaxTreeNode") -> str:
    """Returns the words of a line without any marks."""
    return "".join(child.content for child in node.walk() if child.type in ("text", "code_inline"))


def _block(node: "SyntaxTreeNode") -> str:
    """Returns a paragraph, list, table or heading of an answer as Markdown; "" where it is empty."""
    if node.type == "paragraph":
        return _line(node.children[0])
    if node.type == "heading":
        words = escaped(_words(node)).strip()
        return f"**{words}**" if words else ""
    if node.type in ("bullet_list", "ordered_list"):
        return _list(node)
    if node.type == "table":
        return _table(node)
    return escaped(_words(node))


def _list(node: "SyntaxTreeNode") -> str:
    first = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else None
    points: list[str] = []
    for item in node.children:
        sign = "- " if first is None else f"{first + len(points)}. "
        inside = ""
        for child in item.children:
            # Only a list may follow a line without a blank line between.
            near = child.type.endswith("list") and all(
                each.hidden for each in item.children if each.type == "paragraph"
            )
            block = _block(child)
            inside += ("\n" if near else "\n\n") * bool(inside and block) + block
        if inside:
            points.append(sign + indented(inside, len(sign)))
    return "\n".join(points)


def indented(text: str, width: int = 2) -> str:
    r"""Returns blocks of Markdown as the content of a list's point: what comes after the first line is indented.

    Args:
        text: The blocks.
        width: How far: the length of the point's sign with its blank.

    Example:
        >>> indented("One.\n\n- Two.")
        'One.\n\n  - Two.'
    """
    return re.sub(r"\n(?=[^\n])", "\n" + " " * width, text)


def _table(node: "SyntaxTreeNode") -> str:
    rows = [row for part in node.children for row in part.children]
    if len(rows) < 2:
        return ""
    ends = {"text-align:right": "---:", "text-align:center": ":---:"}
    lines = ["| " + " | ".join(_line(cell.children[0]) for cell in row.children) + " |" for row in rows]
    lines.insert(
        1, "| " + " | ".join(ends.get(str(cell.attrs.get("style")), "---") for cell in rows[0].children) + " |"
    )
    return "\n".join(lines)
