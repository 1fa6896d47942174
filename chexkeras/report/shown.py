"""A finished report as a notebook shows it: its Markdown, with the figures inside."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from chexkeras.checks import existing_file

_IMAGE = re.compile(r"(!\[(?:\\.|[^\]\\])*\]\()([^)\s]+\.png)(\))")


@dataclass(frozen=True)
class ShownReport:
    """A report that displays itself in a notebook.

    Attributes:
        path: Its file.
        markdown: Its text; every local figure is part of it, so that no link depends on where the notebook lies.
    """

    path: Path
    markdown: str = field(repr=False)

    def _repr_markdown_(self) -> str:
        return self.markdown


def show_report(path: str | Path) -> ShownReport:
    """Reads a report for display as the last line of a notebook's cell.

    Args:
        path: A Markdown file, as `write_report` wrote it.

    Returns:
        The report with its PNG figures embedded.

    Raises:
        FileNotFoundError: If the report, or a figure it shows, is missing.
    """
    report = existing_file(path, "report")

    def embed(match: re.Match[str]) -> str:
        if match[2].startswith(("http:", "https:", "data:")):
            return match[0]
        figure = existing_file(report.parent / unquote(match[2]), "figure", "write the report again.")
        data = base64.b64encode(figure.read_bytes()).decode("ascii")
        return f"{match[1]}data:image/png;base64,{data}{match[3]}"

    return ShownReport(report, _IMAGE.sub(embed, report.read_text(encoding="utf-8")))
