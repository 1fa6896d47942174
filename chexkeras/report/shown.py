"""A finished report as a notebook shows it: its page, in a frame that runs nothing and touches nothing around it."""

import html
from dataclasses import dataclass, field
from pathlib import Path

from chexkeras.checks import existing_file
from chexkeras.report.html import page_text

HEIGHT_PX = 800


@dataclass(frozen=True)
class ShownReport:
    """A report that displays itself in a notebook.

    Attributes:
        path: Its Markdown file.
        page: The report as one HTML page, as `write_html` writes it.
    """

    path: Path
    page: str = field(repr=False)

    def _repr_html_(self) -> str:
        """Returns the page in a frame of its own: its style stays inside, and the sandbox allows no script."""
        return (
            f'<iframe sandbox title="{html.escape(self.path.name)}" srcdoc="{html.escape(self.page)}" '
            f'style="width: 100%; height: {HEIGHT_PX}px; border: 1px solid #c9ced3"></iframe>'
        )


def show_report(path: str | Path) -> ShownReport:
    """Reads a report for display as the last line of a notebook's cell.

    Args:
        path: A Markdown file, as `write_report` or `write_model_card` wrote it.

    Returns:
        The report with its figures inside.

    Raises:
        FileNotFoundError: If the report, or a figure it shows, is missing.
        ValueError: If a figure is not one that `write_report` drew.
    """
    report = existing_file(path, "report")
    return ShownReport(report, page_text(report))
