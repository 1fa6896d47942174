import base64

import pytest

from chexkeras.report.shown import show_report


@pytest.fixture
def report(tmp_path):
    (tmp_path / "my figures").mkdir()
    (tmp_path / "my figures" / "roc.png").write_bytes(b"pixels")
    path = tmp_path / "report.md"
    path.write_text(
        "# Title\n\n![A \\[curve\\].](my%20figures/roc.png)\n\n![web](https://example.org/x.png) [link](roc.png)\n"
    )
    return path


def test_local_figures_are_embedded_and_nothing_else_changes(report):
    shown = show_report(report)
    data = base64.b64encode(b"pixels").decode()
    assert f"![A \\[curve\\].](data:image/png;base64,{data})" in shown._repr_markdown_()
    assert "![web](https://example.org/x.png) [link](roc.png)" in shown.markdown
    assert shown.markdown.startswith("# Title")
    assert data not in repr(shown)


def test_a_missing_figure_or_report_is_named(report):
    (report.parent / "my figures" / "roc.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"roc\.png"):
        show_report(report)
    with pytest.raises(FileNotFoundError, match=r"none\.md"):
        show_report(report.with_name("none.md"))
