"""The report as one HTML file: complete, self-contained, inert."""

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chexkeras.report import html
from chexkeras.report.html import write_html
from chexkeras.report.lint.document import parse


class Page(HTMLParser):
    """What a browser would make of a page: its tags with attributes, and its text outside the style sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.style = ""
        self._inside = ""
        self.feed(text)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag if tag in ("style", "title") else self._inside
        if tag in ("p", "td", "th", "li", "h1", "h2", "h3", "br", "pre"):
            self.words.append(" ")

    def handle_endtag(self, tag):
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data):
        if self._inside == "style":
            self.style += data
        elif not self._inside:
            self.words.append(data)

    def having(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and all(a.get(k, "") == v for k, v in wanted.items())]


def picture(width=300, height=150, dpi=100.0, kind="PNG"):
    out = io.BytesIO()
    Image.new("L", (width, height)).save(out, kind, dpi=(dpi, dpi))
    return out.getvalue()


@pytest.fixture
def document(tmp_path):
    """Writes a Markdown file with a folder of one figure beside it."""

    def write(text, figure=None):
        folder = tmp_path / "my figures"
        folder.mkdir(exist_ok=True)
        (folder / "facts.json").write_text("{}")
        (folder / "roc.png").write_bytes(picture() if figure is None else figure)
        path = tmp_path / "report.md"
        path.write_text(text, encoding="utf-8")
        return path

    return write


PIECES = [
    "<script>", "</style>", "<img src=x onerror=y>", "[x](javascript:y)", "<a onclick=x>", "> **Caution.** ", "}", '"',
    "\n\n", "# ", "**", "`", "[SPONSOR TO COMPLETE: ", "](", "<!--", "&#60;script&#62;", "| a |\n|---|\n",
]  # fmt: skip


def page(path):
    return Page(write_html(path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown(report):
    return page(report)


class TestOurReport:
    def test_every_word_and_number_is_in_the_page(self, report, shown):
        text = shown.text.replace(" ", "")
        for passage in parse(report.read_text()).passages:
            assert passage.text.replace(" ", "").replace("\n", "") in text, passage

    def test_every_figure_is_inside_with_its_words(self, report, shown):
        links = re.findall(r"!\[(.*?)\]\((.*?)\)", report.read_text())
        images = shown.having("img")
        assert len(images) == len(links) > 10
        for image, (_, link) in zip(images, links, strict=True):
            kind, data = image["src"].split(",")
            assert kind == "data:image/png;base64"
            assert base64.b64decode(data) == (report.parent / link).read_bytes()
            assert len(image["alt"]) > 20

    def test_nothing_is_fetched_and_nothing_runs(self, shown):
        assert not [tag for tag, _ in shown.tags if tag in ("script", "link", "iframe", "object", "embed", "form")]
        for _, attributes in shown.tags:
            assert not [name for name in attributes if name.startswith("on")]
            assert attributes.get("href", "#").startswith("#")
        assert "url(" not in shown.style and "@import" not in shown.style
        (policy,) = shown.having("meta", **{"http-equiv": "Content-Security-Policy"})
        assert policy["content"].startswith("default-src 'none'; img-src data:;")

    def test_the_table_of_contents_leads_to_every_heading(self, report, shown):
        headings = [line.lstrip("# ") for line in report.read_text().splitlines() if re.match("##+ ", line)]
        targets = [attributes["href"].removeprefix("#") for attributes in shown.having("a")]
        ids = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
        assert len(targets) == len(headings) > 20
        assert set(targets) <= set(ids)
        assert len(set(ids)) == len(ids)

    def test_cautions_come_first_and_stand_on_every_printed_page(self, shown):
        order = [attributes.get("class", "") or tag for tag, attributes in shown.tags]
        assert order.index("caution") < order.index("table many short") < order.index("long") < order.index("h2")
        assert '@top-right { content: "Caution. Synthetic images' in shown.style
        assert '@top-left { content: "FDA Submission"' in shown.style

    def test_gaps_and_verdicts_are_marked(self, report, shown):
        text = report.read_text()
        assert len(shown.having("mark", **{"class": "gap"})) == text.count("[SPONSOR TO COMPLETE:")
        bold = re.findall(r"\*\*[^*]*NOT MET\*\*", text)
        assert len(shown.having("span", **{"class": "verdict not-met"})) == len(bold) > 0

    def test_it_is_the_same_each_time(self, report):
        assert write_html(report).read_bytes() == write_html(report, report.parent / "again.html").read_bytes()


class TestHostileText:
    def test_html_is_shown_as_text(self, document):
        wild = "# <script>alert(1)</script>\n\n<img src=x onerror=alert(2)> `</code><b>` [x](javascript:alert(3))\n"
        shown = page(document(wild))
        assert not shown.having("script") and not shown.having("img") and not shown.having("b")
        assert "<script>alert(1)</script>" in shown.text
        assert "<img src=x onerror=alert(2)>" in shown.text
        assert not shown.having("a")

    def test_a_caution_cannot_leave_the_style_sheet(self, document):
        shown = page(document('> **Caution.** x"; } </style><script>alert(1)</script> body { display: none }\n'))
        assert not shown.having("script")
        assert "display: none }" not in shown.style
        assert "</style>" in shown.text

    def test_a_heading_cannot_break_out_of_its_anchor(self, document):
        shown = page(document('# T\n\n## a" onclick="x\n\n## a" onclick="x\n\n## 図\n\n## ---x\n'))
        anchors = [attributes["id"] for attributes in shown.having("h2")]
        assert anchors == ["a-onclick-x", "a-onclick-x-2", "図", "x"]
        assert [attributes["href"] for attributes in shown.having("a")] == [f"#{anchor}" for anchor in anchors]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.one_of(st.text(), st.sampled_from(PIECES)), max_size=20).map("".join))
    def test_no_text_makes_a_page_run_or_fetch_anything(self, document, text):
        shown = page(document(text.encode("utf-8", "replace").decode()))
        assert not [
            tag for tag, _ in shown.tags if tag in ("script", "iframe", "object", "embed", "svg", "form", "img")
        ]
        for _, attributes in shown.tags:
            assert not [name for name in attributes if name.startswith("on")]
            assert not attributes.get("href", "").casefold().startswith(("javascript:", "data:", "vbscript:", "file:"))
        assert shown.style.count("{") == shown.style.count("}")


class TestPaper:
    def test_the_head_of_a_page_keeps_its_blanks_whatever_stands_before_them(self, document):
        """As a browser reads a CSS string: a code is a backslash, up to six digits and one blank that belongs to it."""
        words = "Caution. 50.0 % (a case; control) of all: 'x' 3"
        style = page(document(f"# T\n\n> **Caution.** {words.removeprefix('Caution. ')}\n")).style
        found = re.search(r'@top-right \{ content: "(.*?)"', style)
        assert found is not None
        assert re.sub(r"\\([0-9a-f]{1,6})\s?", lambda code: chr(int(code[1], 16)), found[1]) == words

    def test_a_long_caution_is_cut_at_a_word(self, document):
        style = page(document("# T\n\n> **Caution.** " + "word " * 60 + "\n")).style
        found = re.search(r'@top-right \{ content: "(.*?)"', style)
        assert found is not None
        assert found[1].endswith("word \\002026 ") and len(found[1]) < html.RUNNING_LENGTH + 12

    def test_appendices_are_parts_of_their_own_and_broad_where_their_tables_are(self, document):
        wide = "|a|b|c|d|e|f|\n|-|-|-|-|-|-|\n|1|2|3|4|5|6|\n"
        text = f"# T\n\n## One\n\n{wide}\n## Appendix A. X\n\n{wide}\n## Appendix B. Y\n\nText.\n"
        shown = page(document(text))
        assert [part["class"] for part in shown.having("section")] == ["appendix broad", "appendix"]

    def test_the_line_above_a_table_stays_with_it(self, document):
        shown = page(document("**Table 3.** What it shows.\n\n|a|\n|-|\n|1|\n"))
        assert len(shown.having("p", **{"class": "title"})) == 1

    def test_the_contents_have_page_numbers_where_the_printing_engine_can_count_them(self, shown):
        assert "target-counter(attr(href url), page)" in shown.style


class TestFigures:
    def test_a_figure_has_the_size_that_its_file_states(self, document):
        (image,) = page(document("![A curve.](my%20figures/roc.png)\n")).having("img")
        # 300 dots at 100 dots per inch; on paper about six tenths of it.
        assert image["style"] == "--screen: 3.00in; --paper: 1.86in"

    def test_of_figures_a_little_too_tall_two_fit_on_a_page(self, document):
        tall = picture(width=600, height=720)
        (image,) = page(document("![x](my%20figures/roc.png)\n", tall)).having("img")
        # 7.2 inches would be printed 4.5 tall; at 3.95 the width is 6 * 3.95 / 7.2.
        assert image["style"] == "--screen: 6.00in; --paper: 3.29in"

    def test_a_very_tall_figure_still_fits_on_a_page(self, document):
        tall = picture(width=600, height=3000)
        (image,) = page(document("![x](my%20figures/roc.png)\n", tall)).having("img")
        assert image["style"] == "--screen: 6.00in; --paper: 1.72in"

    def test_a_jpeg_is_embedded_as_such(self, document):
        (image,) = page(document("![x](my%20figures/roc.png)\n", picture(kind="JPEG"))).having("img")
        assert image["src"].startswith("data:image/jpeg;base64,")

    @pytest.mark.parametrize("link", ["https://example.org/x.png", "//example.org/x.png", "ftp://example.org/x.png"])
    def test_only_figures_beside_the_report_are_shown(self, document, link):
        with pytest.raises(ValueError, match="only local figures are shown"):
            write_html(document(f"![x]({link})\n"))

    @pytest.mark.parametrize(
        "link", ["file:///etc/passwd", "data:,x", "javascript:alert(1)", "data:image/png;base64,AA"]
    )
    def test_links_that_no_page_should_follow_stay_text(self, document, link):
        shown = page(document(f"![x]({link}) [y]({link})\n"))
        assert not shown.having("img") and not shown.having("a")
        assert shown.text == f"![x]({link}) [y]({link})"

    def test_no_other_file_is_carried_along(self, document, tmp_path):
        path = document("![x](secret.png)\n")
        (tmp_path / "secret.png").write_bytes(picture())
        with pytest.raises(ValueError, match=r"does not lie in the report's folder of figures"):
            write_html(path)
        other = tmp_path / "other"
        other.mkdir()
        (other / "facts.json").write_text("{}")
        (other / "secret.png").write_bytes(picture())
        (tmp_path / "my figures" / "link.png").symlink_to(other / "secret.png")
        path.write_text("![x](my%20figures/link.png)\n")
        with pytest.raises(ValueError, match=r"does not lie in the report's folder of figures"):
            write_html(path)
        assert not (tmp_path / "report.html").exists()

    def test_what_is_no_picture_is_refused(self, document):
        with pytest.raises(ValueError, match="is neither PNG nor JPEG"):
            write_html(document("![x](my%20figures/roc.png)\n", b"<svg onload='alert(1)'/>"))

    def test_a_missing_figure_or_report_is_named(self, document, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            write_html(document("![x](my%20figures/none.png)\n"))
        with pytest.raises(FileNotFoundError, match=r"none\.md"):
            write_html(tmp_path / "none.md")


class TestMarks:
    def test_tables_are_framed_by_width_and_length(self, document):
        narrow = "| a | b |\n|---|---|\n| 1 | 2 |\n"
        wide = "|a|b|c|d|e|f|\n|-|-|-|-|-|-|\n" + "|1|2|3|4|5|6|\n" * (html.SHORT_ROWS + 1)
        frames = page(document(f"{narrow}\n{wide}")).having("div")
        assert [frame["class"] for frame in frames] == ["table short", "table many"]

    def test_verdicts_count_only_in_bold(self, document):
        shown = page(document("**NOT MET** and **Goals: MET** or **NOT ESTIMABLE**, but MET alone is a word.\n"))
        spans = [attributes["class"] for attributes in shown.having("span")]
        assert spans == ["verdict not-met", "verdict met", "verdict not-estimable"]

    def test_a_gap_may_hold_marks_and_brackets_elsewhere_stay(self, document):
        shown = page(document("See [note] and [SPONSOR TO COMPLETE: the `name` of it] here.\n"))
        assert len(shown.having("mark")) == 1
        assert shown.text == "See [note] and [SPONSOR TO COMPLETE: the name of it] here."

    @pytest.mark.parametrize(("word", "shown"), [
        ("pneumonoultramicroscopic", "pneumonoultramicroscopic"),
        ("head_dense_1024_relu", "head_<wbr>dense_<wbr>1024_<wbr>relu"),
        ("TransferSyntaxUID", "Transfer<wbr>Syntax<wbr>UID"),
        ("0123456789abcdef0123", "0123456789abcd<wbr>ef0123"),
        ("a_b", "a_b"),
        ("<b>&x_yyyyyyyyyyyyyy", "&lt;b&gt;&amp;x_<wbr>yyyyyyyyyyyyyy"),
    ])  # fmt: skip
    def test_long_names_may_break_at_their_joints(self, word, shown):
        assert html._breakable(word) == shown


def test_the_page_lies_beside_the_report_or_where_it_is_wanted(document, tmp_path):
    path = document("# A title\n\nText.\n")
    assert write_html(path) == tmp_path / "report.html"
    assert "<title>A title</title>" in (tmp_path / "report.html").read_text()
    assert write_html(path, tmp_path / "new" / "x.html").exists()
    with pytest.raises(ValueError, match="is the report itself"):
        write_html(path, path)
    assert path.read_text().startswith("# A title")


def test_only_a_long_table_of_contents_is_set_in_two_columns(document):
    few = "# T\n\n" + "## H\n\n" * html.COLUMNS_OF_CONTENTS
    assert page(document(few)).having("nav")[0].get("class") is None
    assert page(document(few + "## H\n")).having("nav")[0]["class"] == "long"


def test_a_document_without_headings_has_no_contents(document):
    shown = page(document("Only text.\n"))
    assert not shown.having("nav")
    assert shown.text == "Only text."
