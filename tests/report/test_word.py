"""The report as a Word document, and what pandoc makes of the Markdown file by itself."""

import json
import re
import subprocess
import xml.etree.ElementTree
import zipfile

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.report import word, word_style
from chexkeras.report.answers import load_answers
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.submission import preview
from chexkeras.report.word import write_docx
from chexkeras.runs.run import Run
from tests.report.test_html import picture

pypandoc = pytest.importorskip("pypandoc")
try:
    PANDOC = pypandoc.get_pandoc_path()
except OSError:
    pytest.skip("pypandoc is installed without pandoc", allow_module_level=True)


def tables_of(text):
    return len(re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE))


def read_by_pandoc(text, reader):
    done = subprocess.run([PANDOC, "-f", reader, "-t", "json"], input=text.encode(), capture_output=True, check=True)
    return json.loads(done.stdout)


def parts(path):
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name).decode("utf-8", "replace") for name in packed.namelist()}


def paragraphs(document):
    """Returns style and words of each paragraph, in order."""
    found = []
    for paragraph in re.findall(r"<w:p>.*?</w:p>|<w:p .*?</w:p>", document, re.DOTALL):
        style = re.search(r'<w:pStyle w:val="(.*?)"', paragraph)
        found.append((style[1] if style else "", "".join(re.findall(r"<w:t[ >][^<]*?>?([^<>]*)</w:t>", paragraph))))
    return found


@pytest.fixture(scope="module")
def made(report, tmp_path_factory):
    return write_docx(report, tmp_path_factory.mktemp("word") / "report.docx")


@pytest.fixture(scope="module")
def inside(made):
    return parts(made)


@pytest.mark.parametrize("reader", ["markdown", "gfm", "commonmark_x", word.READER])
def test_pandoc_keeps_every_table_of_the_markdown_file_however_it_reads_it(reader, report, answered, finished_run):
    full = preview(collect_facts(Run.load(finished_run), answers=load_answers(answered))).text
    for text in (report.read_text(), full):
        tree = read_by_pandoc(text, reader)
        assert sum(1 for _ in word._each(tree["blocks"], "Table")) == tables_of(text) > 30
        assert sum(1 for _ in word._each(tree["blocks"], "Header")) == len(re.findall("^#+ ", text, re.MULTILINE))


def test_every_table_figure_and_word_is_in_the_document(report, inside):
    text, document = report.read_text(), inside["word/document.xml"]
    assert document.count("<w:tbl>") == tables_of(text)
    assert document.count("<w:drawing>") == text.count("![") > 10
    words = re.sub(r"\s+", "", "".join(shown for _, shown in paragraphs(document)))
    for sentence in ("Verdict on the stated performance goals: NOT MET", "Table 1. Performance on the test part",
                     "[SPONSOR TO COMPLETE: name of the device]", "Appendix B. Provenance"):  # fmt: skip
        assert sentence.replace(" ", "") in words.replace("&amp;", "&"), sentence


def test_captions_cautions_cells_and_open_fields_have_styles_of_their_own(report, inside):
    text, found = report.read_text(), paragraphs(inside["word/document.xml"])
    named = {style: [shown for given, shown in found if given == style] for style, _ in found}
    assert len(named["TableCaption"]) == tables_of(text)
    assert all(re.match(r"Table \d+\. ", shown) for shown in named["TableCaption"])
    assert len(named["ImageCaption"]) == text.count("![")
    assert len(named["CaptionedFigure"]) == text.count("![")
    assert [shown[:9] for shown in named["Caution"]] == ["Caution. "] * text.count("> **Caution.**")
    assert len(named["TableText"]) > 300
    gaps = re.findall(r'<w:rStyle w:val="OpenField" ?/>', inside["word/document.xml"])
    assert len(gaps) >= text.count("[SPONSOR TO COMPLETE:") > 10


def test_the_contents_lead_to_the_page_of_every_heading(report, inside):
    document = inside["word/document.xml"]
    headings = len(re.findall("^##+ ", report.read_text(), re.MULTILINE))
    lines = [shown for style, shown in paragraphs(document) if style == "Contents"]
    assert len(lines) == headings > 20
    wanted = re.findall(r"PAGEREF (\w+)", document)
    assert len(wanted) == headings
    assert set(wanted) <= set(re.findall(r'<w:bookmarkStart w:id="\d+" w:name="(\w+)"', document))


def test_every_page_has_the_caution_above_and_its_number_below(inside):
    document = inside["word/document.xml"]
    assert "Caution. Synthetic images, not clinical evidence." in inside["word/header1.xml"]
    assert "FDA Submission" in inside["word/header1.xml"]
    assert " PAGE " in inside["word/footer1.xml"] and " NUMPAGES " in inside["word/footer1.xml"]
    kinds = re.findall(r"<w:(header|footer)Reference [^>]*r:id=\"(\w+)\"", document)
    # Once for each section: the report, its broad appendix, and the last one.
    assert [kind for kind, _ in kinds] == ["header", "footer"] * 3
    for kind, place in kinds:
        assert re.search(rf'<Relationship [^>]*Id="{place}"[^>]*', inside["word/_rels/document.xml.rels"]), kind


def _sections(document):
    """Returns for each section what it begins with and whether its pages are broad."""
    found, start = [], 0
    for section in re.finditer(r"<w:sectPr\b.*?</w:sectPr>", document, re.DOTALL):
        wide, high = (int(re.search(rf'<w:pgSz[^>]* w:{side}="(\d+)"', section[0])[1]) for side in "wh")
        heads = [shown for style, shown in paragraphs(document[start : section.start()]) if style == "Heading2"]
        found.append((heads, wide > high))
        start = section.end()
    return found


def test_no_row_of_a_table_breaks_at_the_foot_of_a_page(inside):
    document = inside["word/document.xml"]
    rows = re.findall(r"<w:tr>.*?</w:tr>", document, re.DOTALL)
    assert len(rows) > 100 and all(row.startswith("<w:tr><w:trPr><w:cantSplit/>") for row in rows)
    assert all(row.count("<w:trPr>") == 1 for row in rows)
    xml.etree.ElementTree.fromstring(document)


def test_an_appendix_of_many_columns_is_on_broad_pages_in_word_as_in_print(inside):
    (first, upright), (second, broad), (third, last) = _sections(inside["word/document.xml"])
    assert len(first) > 10 and not any(head.startswith("Appendix") for head in first)
    assert second == ["Appendix A. DICOM Checks"] and third == ["Appendix B. Provenance"]
    assert (upright, broad, last) == (False, True, False)


def test_a_broad_appendix_may_be_the_last_and_narrow_ones_begin_a_page(document):
    six = "| " + " | ".join("abcdef") + " |\n|" + " --- |" * 6 + "\n| " + " | ".join("123456") + " |\n"
    path = document(f"# T\n\n## Appendix A. Narrow\n\nText.\n\n## Appendix B. Broad\n\n{six}")
    inside = parts(write_docx(path))["word/document.xml"]
    assert _sections(inside) == [(["Appendix A. Narrow"], False), (["Appendix B. Broad"], True)]
    assert inside.count('<w:br w:type="page"') == 1


def test_tables_have_lines_and_their_heads_are_repeated(inside):
    style = re.search(r'<w:style [^>]*w:styleId="Table".*?</w:style>', inside["word/styles.xml"], re.DOTALL)
    assert style is not None
    assert "<w:insideH " in style[0] and "<w:tblHeader" in style[0]
    assert inside["word/document.xml"].count("<w:tblHeader") == inside["word/document.xml"].count("<w:tbl>")


def test_columns_are_as_broad_as_what_they_hold_asks_for(inside):
    """The table of DICOM rules has six columns: the code of a rule needs more room than what happens otherwise."""
    grids = [
        [int(width) for width in re.findall(r'<w:gridCol w:w="(\d+)"', grid)]
        for grid in re.findall(r"<w:tblGrid>.*?</w:tblGrid>", inside["word/document.xml"], re.DOTALL)
    ]
    code, _, expected, _, otherwise, _ = max((grid for grid in grids if len(grid) == 6), key=lambda grid: grid[0])
    assert code > otherwise and expected > otherwise
    assert all(min(grid) > 0.04 * sum(grid) for grid in grids)


def test_no_word_breaks_in_a_table_of_many_columns(document):
    """Words of Arial are about 0.55 of their type's size broad a letter, bold ones too."""
    heads = ["Kind", "Change", "Verdict", "Discrimination", "Operating point"]
    heads += [f"Difference of {each}" for each in ("AUROC", "sensitivity", "specificity")]
    heads += ["Calls changed", "Called unlike training"]
    cells = ["sharpness", "blurred by 0.5 % of the height", "worse", "not shown", "worse"]
    cells += ["-0.053 (95 % CI -0.104 to +0.001)"] * 3 + ["0.064 (95 % CI 0.037-0.102)"] * 2
    rows = (heads, ["---"] * len(heads), cells)
    path = document("# T\n\n" + "".join("| " + " | ".join(row) + " |\n" for row in rows))
    made = parts(write_docx(path))["word/document.xml"]
    grid = [int(width) for width in re.findall(r'<w:gridCol w:w="(\d+)"', made)]
    assert len(grid) == len(heads) and re.search(r'<w:tblW [^>]*w:w="5000"', made), "it takes the breadth of the text"
    assert made.count('<w:pStyle w:val="SmallTableText"') == 2 * len(heads)
    for width, *texts in zip(grid, heads, cells, strict=True):
        longest = max(len(word) for text in texts for word in text.split())
        inches = width / sum(grid) * word_style.TEXT_WIDTH_INCHES
        assert inches >= longest * 0.55 * word_style.SMALL_TABLE_POINTS / 72 + 140 / 1440, texts


def test_captions_stay_on_one_page(inside):
    caption = re.search(r'<w:style [^>]*w:styleId="ImageCaption".*?</w:style>', inside["word/styles.xml"], re.DOTALL)
    assert caption is not None and "<w:keepLines" in caption[0]


def test_no_path_of_this_machine_is_in_the_document(inside, report):
    folder = str(report.parent.resolve())
    assert not [name for name, text in inside.items() if isinstance(text, str) and folder in text]
    assert re.findall(r'<pic:cNvPr [^>]*descr="([^"]*)"', inside["word/document.xml"])[0].endswith(".png")
    assert "/" not in "".join(re.findall(r'<pic:cNvPr [^>]*descr="([^"]*)"', inside["word/document.xml"]))


def test_figures_fit_on_the_page(inside):
    sizes = re.findall(r'<wp:extent cx="(\d+)" cy="(\d+)"', inside["word/document.xml"])
    assert len(sizes) > 10
    for across, down in sizes:
        assert int(across) / 914_400 <= word_style.TEXT_WIDTH_INCHES + 0.01
        assert int(down) / 914_400 <= word_style.TEXT_HEIGHT_INCHES


def test_the_same_report_gives_the_same_document(report, made, tmp_path):
    assert write_docx(report, tmp_path / "again.docx").read_bytes() == made.read_bytes()


@pytest.fixture
def document(tmp_path):
    def write(text):
        folder = tmp_path / "my figures"
        folder.mkdir(exist_ok=True)
        (folder / "facts.json").write_text("{}")
        (folder / "roc.png").write_bytes(picture())
        path = tmp_path / "report.md"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_what_is_text_in_the_page_is_text_in_word(document):
    path = document("# T\n\n<b onclick='x'>bold</b> $x^2$ :smile: <!-- hidden -->\n\n![A.](my%20figures/roc.png)\n")
    inside = parts(write_docx(path))
    words = "".join(shown for _, shown in paragraphs(inside["word/document.xml"]))
    for shown in ("&lt;b onclick=", "$x^2$", ":smile:", "&lt;!-- hidden --&gt;"):
        assert shown in words, words
    assert inside["word/document.xml"].count("<w:drawing>") == 1


@pytest.mark.parametrize("link", ["https://example.org/x.png", "secret.png", "/etc/hostname", "../x.png"])
def test_no_other_file_is_carried_along_and_nothing_is_fetched(link, document, tmp_path):
    path = document(f"# T\n\n![x]({link})\n")
    (tmp_path / "secret.png").write_bytes(picture())
    with pytest.raises((ValueError, FileNotFoundError)):
        write_docx(path)
    assert not (tmp_path / "report.docx").exists()


def test_the_document_is_not_written_over_the_report(document):
    path = document("# T\n")
    with pytest.raises(ValueError, match="is the report itself"):
        write_docx(path, path)


def test_without_pandoc_a_sentence_says_how_to_get_it_before_anything_is_written(finished_run, tmp_path, monkeypatch):
    def missing():
        raise OSError("No pandoc was found")

    monkeypatch.setattr(pypandoc, "get_pandoc_path", missing)
    result = CliRunner().invoke(app, ["report", str(finished_run), "--out", str(tmp_path / "r.md"), "--docx"])
    assert result.exit_code == 2
    assert "pip install 'chexkeras[docx]'" in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []
