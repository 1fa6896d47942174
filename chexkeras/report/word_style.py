"""The look of a report in Word: pandoc's own reference document with this project's styles, page, head and foot."""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

PAGE_INCHES, MARGIN_INCHES = (8.5, 11.0), 0.9
TEXT_WIDTH_INCHES = PAGE_INCHES[0] - 2 * MARGIN_INCHES
TEXT_HEIGHT_INCHES = PAGE_INCHES[1] - 2 * MARGIN_INCHES

CAUTION, GAP = "Caution", "Open Field"
TABLE_TITLE, TABLE_TEXT, CONTENTS, CONTENTS_TITLE = "Table Caption", "Table Text", "Contents", "Contents Title"
SMALL_TABLE_TEXT = "Small Table Text"
PART = "Part of a Section"
FIGURE, FIGURE_CAPTION = "Captioned Figure", "Image Caption"
"""Names of the styles that `write_docx` gives to what it recognises."""

TABLE_POINTS, SMALL_TABLE_POINTS = 8, 6.5
"""Size of the type of tables, and of those with so many columns that words would break in it."""

_TWIPS = 1440
_FIRST_BOOKMARK = 100_000
"""Above the numbers that pandoc gives."""

_FONT = '<w:rFonts w:ascii="Arial" w:hAnsi="Arial" w:cs="Arial" w:eastAsia="Arial"/>'
_INK, _BLUE, _ORANGE, _GREY = "222222", "0072B2", "D55E00", "5C5C5C"
_NAMESPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_CONTENT = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def _paragraph(
    name: str,
    points: float,
    *,
    based: str = "Normal",
    before: float = 0,
    after: float = 5,
    colour: str = _INK,
    marks: str = "",
    further: str = "",
) -> str:
    """Returns a paragraph style; sizes and spaces in points."""
    inherits = f'<w:basedOn w:val="{based}"/>' if based else ""
    return (
        f'<w:style w:type="paragraph" w:styleId="{_id(name)}"><w:name w:val="{name}"/>'
        f"{inherits}<w:qFormat/>"
        f'<w:pPr><w:spacing w:before="{round(before * 20)}" w:after="{round(after * 20)}"/>{further}</w:pPr>'
        f'<w:rPr>{_FONT}{marks}<w:color w:val="{colour}"/><w:sz w:val="{round(points * 2)}"/>'
        f'<w:szCs w:val="{round(points * 2)}"/></w:rPr></w:style>'
    )


def _id(name: str) -> str:
    return name.title().replace(" ", "") if name.startswith("heading") else name.replace(" ", "")


def _headings() -> dict[str, str]:
    found = {}
    for level, (points, before) in enumerate(((20, 0), (14, 18), (11.5, 12), (10.5, 10), (10, 8), (10, 8)), start=1):
        line = f'<w:pBdr><w:bottom w:val="single" w:sz="8" w:space="2" w:color="{_INK}"/></w:pBdr>' * (level == 2)
        # The order of these elements is that of the schema.
        further = f'<w:outlineLvl w:val="{level - 1}"/>'
        style = _paragraph(f"heading {level}", points, before=before, after=4, marks="<w:b/>", further=further)
        style = style.replace("<w:pPr>", f"<w:pPr><w:keepNext/><w:keepLines/>{line}")
        found[f"Heading{level}"] = style.replace("<w:qFormat/>", '<w:next w:val="BodyText"/><w:qFormat/>')
    return found


def _box(colour: str, fill: str) -> str:
    sides = "".join(
        f'<w:{side} w:val="single" w:sz="{24 if side == "left" else 4}" w:space="4" w:color="{colour}"/>'
        for side in ("top", "left", "bottom", "right")
    )
    return f'<w:pBdr>{sides}</w:pBdr><w:shd w:val="clear" w:color="auto" w:fill="{fill}"/>'


def _styles() -> Mapping[str, str]:
    """Returns the styles by their ids: those of pandoc's that look otherwise here, and those that it does not have."""
    centred = '<w:jc w:val="center"/>'
    made = {
        **_headings(),
        # A list of several paragraphs, as an author's answer may hold, gets no other style from pandoc.
        "Normal": _paragraph("Normal", 9.5, based="", before=2, after=2).replace(
            'w:type="paragraph"', 'w:type="paragraph" w:default="1"'
        ),
        "BodyText": _paragraph("Body Text", 9.5, before=4, after=4),
        "FirstParagraph": _paragraph("First Paragraph", 9.5, based="BodyText"),
        "Compact": _paragraph("Compact", 9.5, based="BodyText", before=1, after=1),
        "BlockText": _paragraph("Block Text", 8.5, after=3).replace("<w:pPr>", f"<w:pPr>{_box(_GREY, 'F3F5F7')}"),
        _id(CAUTION): _paragraph(CAUTION, 8.5, after=3).replace("<w:pPr>", f"<w:pPr>{_box(_ORANGE, 'FFF4EC')}"),
        _id(TABLE_TITLE): _paragraph(TABLE_TITLE, 9, before=8, after=3).replace("<w:pPr>", "<w:pPr><w:keepNext/>"),
        _id(PART): _paragraph(PART, 9.5, before=8, after=3, colour=_BLUE).replace("<w:pPr>", "<w:pPr><w:keepNext/>"),
        _id(TABLE_TEXT): _paragraph(TABLE_TEXT, TABLE_POINTS, before=1, after=1),
        _id(SMALL_TABLE_TEXT): _paragraph(SMALL_TABLE_TEXT, SMALL_TABLE_POINTS, before=1, after=1),
        _id(FIGURE): _paragraph(FIGURE, 9.5, before=8, after=2, further=centred).replace(
            "<w:pPr>", "<w:pPr><w:keepNext/>"
        ),
        _id(FIGURE_CAPTION): _paragraph(FIGURE_CAPTION, 8.5, after=9, colour=_GREY, further=centred).replace(
            "<w:pPr>", "<w:pPr><w:keepLines/>"
        ),
        _id(CONTENTS_TITLE): _paragraph(CONTENTS_TITLE, 11.5, after=4, marks="<w:b/>").replace(
            "<w:pPr>", "<w:pPr><w:keepNext/><w:pageBreakBefore/>"
        ),
        _id(CONTENTS): _paragraph(CONTENTS, 9, after=1).replace(
            "<w:pPr>",
            '<w:pPr><w:tabs><w:tab w:val="right" w:leader="dot" '
            f'w:pos="{round(TEXT_WIDTH_INCHES * _TWIPS)}"/></w:tabs>',
        ),
        "Header": _paragraph("header", 8, colour=_ORANGE, after=0).replace(
            "<w:pPr>",
            f'<w:pPr><w:tabs><w:tab w:val="right" w:pos="{round(TEXT_WIDTH_INCHES * _TWIPS)}"/></w:tabs>',
        ),
        "Footer": _paragraph("footer", 8, colour=_GREY, after=0, further=centred),
        "Table": (
            '<w:style w:type="table" w:default="1" w:styleId="Table"><w:name w:val="Table"/><w:qFormat/>'
            '<w:tblPr><w:tblBorders>'
            f'<w:top w:val="single" w:sz="8" w:space="0" w:color="{_INK}"/>'
            f'<w:bottom w:val="single" w:sz="8" w:space="0" w:color="{_INK}"/>'
            '<w:insideH w:val="single" w:sz="4" w:space="0" w:color="C9CED3"/></w:tblBorders>'
            '<w:tblCellMar><w:left w:w="70" w:type="dxa"/><w:right w:w="70" w:type="dxa"/></w:tblCellMar></w:tblPr>'
            '<w:tblStylePr w:type="firstRow"><w:rPr><w:b/></w:rPr><w:trPr><w:tblHeader/></w:trPr><w:tcPr><w:tcBorders>'
            f'<w:bottom w:val="single" w:sz="8" w:space="0" w:color="{_INK}"/></w:tcBorders>'
            '<w:shd w:val="clear" w:color="auto" w:fill="F3F5F7"/><w:vAlign w:val="bottom"/></w:tcPr></w:tblStylePr>'
            "</w:style>"
        ),
        "VerbatimChar": (
            '<w:style w:type="character" w:styleId="VerbatimChar"><w:name w:val="Verbatim Char"/><w:rPr>'
            '<w:rFonts w:ascii="Consolas" w:hAnsi="Consolas" w:cs="Consolas"/></w:rPr></w:style>'
        ),
        _id(GAP): (
            f'<w:style w:type="character" w:customStyle="1" w:styleId="{_id(GAP)}"><w:name w:val="{GAP}"/><w:rPr>'
            '<w:shd w:val="clear" w:color="auto" w:fill="FFF0C2"/></w:rPr></w:style>'
        ),
    }  # fmt: skip
    return made


def reference_document(original: bytes, *, title: str, running: str) -> bytes:
    """Returns the document whose styles, page, head and foot a report in Word takes over.

    Args:
        original: Pandoc's own reference.docx, which has everything that is not changed here.
        title: What stands at the left of every page's head.
        running: What stands at its right: the first caution, shortened.
    """
    with zipfile.ZipFile(io.BytesIO(original)) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}

    def change(name: str, edit: "list[tuple[str, str]]") -> None:
        text = parts[name].decode("utf-8")
        for before, after in edit:
            if before not in text:
                raise ValueError(f"pandoc's reference.docx has no {before!r} in {name}; use pandoc 3.")
            text = text.replace(before, after, 1)
        parts[name] = text.encode("utf-8")

    styles = parts["word/styles.xml"].decode("utf-8")
    for name, style in _styles().items():
        pattern = re.compile(rf'<w:style\b[^>]*w:styleId="{name}".*?</w:style>', re.DOTALL)
        if pattern.search(styles):
            styles = pattern.sub(lambda _, style=style: style, styles, count=1)  # type: ignore[misc]
        else:
            styles = styles.replace("</w:styles>", f"{style}</w:styles>")
    parts["word/styles.xml"] = styles.encode("utf-8")
    change("word/document.xml", [
        ("<w:sectPr>", '<w:sectPr><w:headerReference w:type="default" r:id="rIdHead"/>'
         '<w:footerReference w:type="default" r:id="rIdFoot"/>'),
        ("</w:sectPr>", f"{_page(broad=False)}</w:sectPr>"),
    ])  # fmt: skip
    change("word/_rels/document.xml.rels", [("</Relationships>", "".join(
        f'<Relationship Id="rId{place}" Type="{_RELATION}/{kind}" Target="{kind}1.xml"/>'
        for place, kind in (("Head", "header"), ("Foot", "footer"))
    ) + "</Relationships>")])  # fmt: skip
    change("[Content_Types].xml", [("</Types>", "".join(
        f'<Override PartName="/word/{kind}1.xml" ContentType="{_CONTENT}.{kind}+xml"/>' for kind in ("header", "footer")
    ) + "</Types>")])  # fmt: skip
    parts["word/header1.xml"] = _part("hdr", "Header", f"{_run(title, _GREY)}<w:r><w:tab/></w:r>{_run(running)}")
    pages = f"{_field('PAGE')}{_run(' / ')}{_field('NUMPAGES')}"
    parts["word/footer1.xml"] = _part("ftr", "Footer", pages)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in parts.items():
            packed.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


_END = "</w:trPr>"
_ROW = f"<w:tr><w:trPr><w:cantSplit/>{_END}"

PAGE_BREAK = '<w:p><w:r><w:br w:type="page"/></w:r></w:p>'


def _page(*, broad: bool) -> str:
    """Returns the XML of a page's size and margins; a broad page lies on its side."""
    width, height, margin = (round(inches * _TWIPS) for inches in (*PAGE_INCHES, MARGIN_INCHES))
    size = f'w:w="{height}" w:h="{width}" w:orient="landscape"' if broad else f'w:w="{width}" w:h="{height}"'
    return (
        f'<w:pgSz {size}/><w:pgMar w:top="{margin}" w:right="{margin}" w:bottom="{margin}" w:left="{margin}" '
        'w:header="450" w:footer="450" w:gutter="0"/>'
    )


def section_end(*, broad: bool) -> str:
    """Returns the XML that ends a section of the document, upright pages or broad ones; the next begins a new page.

    `finish_sections` gives it head and foot, whose places in the file are pandoc's to number.
    """
    return f'<w:p><w:pPr><w:sectPr><w:type w:val="nextPage"/>{_page(broad=broad)}</w:sectPr></w:pPr></w:p>'


def finish_sections(document: Path, *, broad_at_end: bool) -> None:
    """Gives every section of a written document the head and foot of its last one, and keeps table rows whole.

    Args:
        document: The Word document; it is written anew.
        broad_at_end: Whether its last section is one of broad pages.
    """
    with zipfile.ZipFile(document) as packed:
        parts = [(info, packed.read(info)) for info in packed.infolist()]
    with zipfile.ZipFile(document, "w", zipfile.ZIP_DEFLATED) as packed:
        for info, data in parts:
            packed.writestr(info, _finished(data.decode("utf-8"), broad_at_end).encode("utf-8")
                            if info.filename == "word/document.xml" else data, zipfile.ZIP_DEFLATED)  # fmt: skip


def _finished(text: str, broad_at_end: bool) -> str:
    before, opening, last = text.rpartition("<w:sectPr")
    references = "".join(re.findall(r"<w:(?:header|footer)Reference [^>]*/>", last))
    if broad_at_end:
        last = re.sub(r"<w:pgSz [^>]*/>.*?<w:pgMar [^>]*/>", _page(broad=True), last, count=1, flags=re.DOTALL)
    before = before.replace("<w:sectPr>", f"<w:sectPr>{references}")
    # A row that breaks at the foot of a page is read as two.
    before = re.sub(r"<w:tr>(?:<w:trPr>)?", lambda found: _ROW if found[0] == "<w:tr>" else _ROW[: -len(_END)], before)
    # Pandoc writes where on this machine a picture was read: its name is enough.
    before = re.sub(r'(<pic:cNvPr [^>]*descr=")[^"]*[/\\]', r"\1", before)
    return f"{before}{opening}{last}"


def _part(kind: str, style: str, runs: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><w:{kind} {_NAMESPACES}>'
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr>{runs}</w:p></w:{kind}>'
    ).encode()


def _run(text: str, colour: str = "") -> str:
    look = f'<w:rPr><w:color w:val="{colour}"/></w:rPr>' if colour else ""
    return f'<w:r>{look}<w:t xml:space="preserve">{escape(text)}</w:t></w:r>'


def _field(instruction: str, shown: str = "1") -> str:
    """Returns a field that Word and LibreOffice compute, with what stands there until they do."""
    return (
        '<w:r><w:fldChar w:fldCharType="begin" w:dirty="true"/></w:r>'
        f'<w:r><w:instrText xml:space="preserve"> {escape(instruction)} </w:instrText></w:r>'
        f'<w:r><w:fldChar w:fldCharType="separate"/></w:r>{_run(shown)}<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )


def bookmark(number: int, name: str) -> str:
    """Returns the XML of a place in the text, for fields that refer to it; its number must be no other's."""
    place = _FIRST_BOOKMARK + number
    return f'<w:bookmarkStart w:id="{place}" w:name="{name}"/><w:bookmarkEnd w:id="{place}"/>'


def page_of(anchor: str) -> str:
    """Returns the XML of a tab and the number of the page on which a heading stands, for a line of the contents."""
    return "<w:r><w:tab/></w:r>" + _field(f"PAGEREF {anchor} \\h", "")
