import base64
from html.parser import HTMLParser

import pytest

from chexkeras.report.html import write_html
from chexkeras.report.submission import show_report

PIXELS = b"\x89PNG\r\n\x1a\n pixels"


class Frame(HTMLParser):
    """The tags of what a notebook displays, with their attributes unescaped."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def report(tmp_path):
    (tmp_path / "my figures").mkdir()
    (tmp_path / "my figures" / "roc.png").write_bytes(PIXELS)
    (tmp_path / "my figures" / "facts.json").write_text("{}")
    path = tmp_path / "report.md"
    path.write_text('# Title\n\n![A "curve".](my%20figures/roc.png)\n\n<script>alert(1)</script> </iframe>\n')
    return path


def test_the_page_is_shown_in_a_frame_that_runs_nothing(report):
    shown = show_report(report)
    ((tag, attributes),) = Frame(shown._repr_html_()).tags
    assert tag == "iframe"
    assert attributes["sandbox"] in (None, "")
    assert attributes["srcdoc"] == write_html(report).read_text()
    assert f"data:image/png;base64,{base64.b64encode(PIXELS).decode()}" in attributes["srcdoc"]
    assert "<script" not in attributes["srcdoc"]


def test_a_notebook_prefers_it_over_text_and_text_stays_short(report):
    shown = show_report(report)
    assert not hasattr(shown, "_repr_markdown_")
    assert repr(shown) == f"ShownReport(path={report!r})"


def test_a_missing_figure_or_report_is_named(report):
    (report.parent / "my figures" / "roc.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"roc\.png"):
        show_report(report)
    with pytest.raises(FileNotFoundError, match=r"none\.md"):
        show_report(report.with_name("none.md"))
