"""Progress that a person can watch, on standard error, and silence or a line now and then when nobody watches."""

import os
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sized
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")

# Kinds of characters (Unicode) that a person does not see, or that do something to what stands around them: control
# characters, marks of direction, breaks of lines, and the bytes of a name that are no text. Persian and Hindi are
# written with the two joiners.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"

# Where nobody sees a bar, lines are shown after so long a silence; for work of hours after every tenth of it too, so
# many items apart at least.
_FEWEST_APART = 10
_SILENCE_SECONDS = 10.0
_COLUMNS = 80


def bar() -> "Progress":
    """Returns a progress bar on standard error that shows only on a terminal or in a notebook."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            """Returns the rate, or nothing until it is known.

            Args:
                task: What the bar follows.
            """
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f}/s" if speed else "", style="progress.data.speed")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_interactive)


def track(items: Iterable[Item], description: str, total: int | None = None, *, lines: bool = False) -> Iterator[Item]:
    """Yields `items` behind a progress bar with the rate and the time left.

    The bar goes to standard error and shows only on a terminal or in a notebook. Elsewhere, in a log or a pipe, a line
    says how far the work is wherever nothing else was told for ten seconds.

    Args:
        items: What to go through.
        description: What is being done, a few words.
        total: How many there are, where `len` cannot tell.
        lines: Whether a line is shown after every tenth of the work too: for work of hours, whose log should tell how
            far it is.

    Yields:
        The items, in order.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    with bar() as progress:
        if progress.disable:
            items = _told(items, description, total, tenths=lines)
        yield from progress.track(items, total=total, description=description)


def _told(items: Iterable[Item], description: str, total: int | None, *, tenths: bool) -> Iterator[Item]:
    """Yields the items, and says how many are done after ten seconds without a line, and after every tenth of them."""
    apart = max((total or 0) // 10, _FEWEST_APART)
    start = last_line = perf_counter()
    for done, item in enumerate(items, 1):
        yield item
        now = perf_counter()
        at_tenth = tenths and total is not None and done % apart == 0
        # The end is told by whoever asked for the work.
        if done != total and (at_tenth or now - last_line >= _SILENCE_SECONDS):
            rate = done / max(now - start, 1e-9)
            share = f" of {total:,} ({done / total:.0%})" if total else ""
            # The first results tell of the start of the work, not of its rate.
            left = f", {duration((total - done) / rate)} left" if total and done >= _FEWEST_APART else ""
            say(f"{description}: {done:,}{share}, {rate:.1f} a second{left}")
            last_line = now


def duration(seconds: float) -> str:
    """Returns a time in words.

    Args:
        seconds: The time, at least 0.

    Example:
        >>> duration(7.25), duration(600), duration(9000)
        ('7.2 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def printable(text: str, keep: str = "") -> str:
    r"""Returns text with what cannot be seen written by its number, as Python's `repr` does.

    The name of a file, or a word of a table, may hold what moves the cursor, colours the terminal, turns the direction
    of writing round, begins a line of its own, or is no text at all and cannot be printed.

    Args:
        text: From wherever.
        keep: Characters that stay as they are, for example the line breaks of a text of several lines.

    Example:
        >>> printable("fine, gr\xfc\xdfe\u202egnp.exe\x1b[2J\udcff")
        'fine, gr\xfc\xdfe\\u202egnp.exe\\x1b[2J\\udcff'
    """
    if text.isprintable():
        return text
    seen = _JOINERS + keep
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _UNSEEN and each not in seen else each
        for each in text
    )


def say(line: str, indent: int | None = None) -> None:
    """Shows one line to a person, on standard error or in the notebook's cell.

    A terminal breaks it between words; a log keeps it whole.

    Args:
        line: The line, without markup; what cannot be seen is shown as `printable` writes it, but for line breaks.
        indent: Breaks the line between words in any case, at the terminal's width or 80 columns, and indents what
            follows by so many blanks. None keeps it whole in a log.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    text = printable(line, "\n")
    if console.is_jupyter:
        # There rich gives each line a box of its own, with a scroll bar; a cell's text is one block and wraps.
        sys.stdout.write(f"{text}\n")
        return
    if indent is not None:
        width = console.width if console.is_terminal or "COLUMNS" in os.environ else _COLUMNS
        text = textwrap.fill(text, width, subsequent_indent=" " * indent, break_long_words=False,
                             break_on_hyphens=False, drop_whitespace=True)  # fmt: skip
    console.print(text, markup=False, soft_wrap=indent is not None or not console.is_terminal)
