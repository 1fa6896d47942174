"""Progress that a person can watch, on standard error, and silence when nobody watches."""

from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")


def bar() -> "Progress":
    """Returns a progress bar on standard error that shows only on a terminal or in a notebook."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            """Returns the rate, or nothing until it is known."""
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f}/s" if speed else "", style="progress.data.speed")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_interactive)


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yields `items` behind a progress bar with the rate and the time left.

    The bar goes to standard error and shows only on a terminal or in a notebook, so logs and pipes stay clean.

    Args:
        items: What to go through.
        description: What is being done, a few words.
        total: How many there are, where `len` cannot tell.

    Yields:
        The items, in order.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    with bar() as progress:
        yield from progress.track(items, total=total, description=description)


def say(line: str) -> None:
    """Shows one line to a person, on standard error or in the notebook's cell."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)
