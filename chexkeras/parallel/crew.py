"""Workers that may be lost, with their hosts, while they work: what they had in hand goes to others.

No work is lost and none is counted twice: a piece of work is handed out again only if its worker is gone, and the one
answer that comes is kept. What starts workers and talks to them is a `Hands`; Ray is one, and tests have another.
"""

import functools
import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

from chexkeras.parallel.task import Chunk, WorkersUnavailable
from chexkeras.progress import say

# One in work and one that waits, so that no worker waits for what travels.
_IN_HAND = 2
# How often a piece of work may lose its worker; more is no accident of the machines.
_MOST_TRIES = 4
# Losses of workers in a row, for each of them, without anything done in between.
_MOST_LOSSES = 3
_PATIENCE_SECONDS = 30.0


class MemberGone(Exception):
    """A worker ended, or its host did, before it answered."""


class Hands(Protocol):
    """Starts workers and talks to them."""

    def start(self) -> tuple[Any, Hashable]:
        """Starts a worker.

        Returns:
            The worker, and what stands for its greeting until it comes.
        """
        ...

    def hand(self, worker: Any, items: list[Any]) -> Hashable:
        """Gives a worker something to do.

        Args:
            worker: From `start`.
            items: What to work on.

        Returns:
            What stands for its answer until it comes.
        """
        ...

    def wait(self, waiting: list[Hashable], seconds: float) -> list[Hashable]:
        """Waits until something comes.

        Args:
            waiting: Greetings and answers that are waited for.
            seconds: How long at most.

        Returns:
            Those that came.
        """
        ...

    def answer(self, come: Hashable) -> Any:
        """Returns what came: a `Chunk` for something to do, the name of the worker's host as its greeting.

        Args:
            come: From `wait`.

        Raises:
            MemberGone: If the worker is gone.
            WorkersUnavailable: If the worker must not be used.
        """
        ...

    def end(self, worker: Any) -> None:
        """Ends a worker; what it has in hand comes back as `MemberGone`.

        Args:
            worker: From `start`.
        """
        ...

    def idle(self) -> None:
        """Called where nothing has come for a while."""
        ...


@dataclass(order=True)
class _Piece:
    """Some items, on their way to a result; those that were submitted first come first."""

    number: int
    items: list[Any] = field(compare=False)
    tries: int = field(default=0, compare=False)
    chunk: Chunk | None = field(default=None, compare=False)
    failure: WorkersUnavailable | None = field(default=None, compare=False)


@dataclass(eq=False)
class _Member:
    worker: Any
    host: str = ""
    ready: bool = False
    in_hand: int = 0


class Crew:
    """Hands pieces of work to workers, and again to others where a worker is lost.

    Args:
        hands: Starts workers and talks to them.
        most: How many workers there may be; one is started with each piece of work until there are so many.
    """

    def __init__(self, hands: Hands, most: int) -> None:
        self._hands, self._most = hands, most
        self._members: list[_Member] = []
        self._queue: list[_Piece] = []
        self._greetings: dict[Hashable, _Member] = {}
        self._working: dict[Hashable, tuple[_Piece, _Member]] = {}
        self._count = self._losses = 0

    def submit(self, items: list[Any]) -> Callable[[], Chunk]:
        """Takes some items on.

        Args:
            items: What one worker works on.

        Returns:
            A function without arguments that waits for their results and returns them.
        """
        piece = _Piece(self._count, items)
        self._count += 1
        heapq.heappush(self._queue, piece)
        if len(self._members) < self._most:
            self._start()
        self._hand_out()
        return functools.partial(self._result, piece)

    def close(self) -> None:
        """Ends the workers, whatever they do."""
        while self._members:
            self._hands.end(self._members.pop().worker)

    def _result(self, piece: _Piece) -> Chunk:
        while piece.chunk is None:
            if piece.failure is not None:
                raise piece.failure
            self._step()
        # Handed on once, so that results are not kept for longer than they are needed.
        chunk, piece.chunk = piece.chunk, None
        return chunk

    def _step(self) -> None:
        self._hand_out()
        come = self._hands.wait([*self._working, *self._greetings], _PATIENCE_SECONDS)
        if not come:
            self._hands.idle()
        for each in come:
            if each in self._greetings:
                self._greeted(each)
            else:
                self._answered(each)

    def _start(self) -> None:
        worker, greeting = self._hands.start()
        member = _Member(worker)
        self._members.append(member)
        self._greetings[greeting] = member

    def _hand_out(self) -> None:
        while self._queue:
            free = [member for member in self._members if member.ready and member.in_hand < _IN_HAND]
            if not free:
                return
            member, piece = min(free, key=lambda each: each.in_hand), heapq.heappop(self._queue)
            member.in_hand += 1
            self._working[self._hands.hand(member.worker, piece.items)] = piece, member

    def _greeted(self, greeting: Hashable) -> None:
        member = self._greetings.pop(greeting)
        try:
            member.host = self._hands.answer(greeting)
        except MemberGone as gone:
            self._lost(member, gone)
        else:
            member.ready = True

    def _answered(self, answer: Hashable) -> None:
        piece, member = self._working.pop(answer)
        member.in_hand -= 1
        try:
            piece.chunk = self._hands.answer(answer)
        except MemberGone as gone:
            piece.tries += 1
            if piece.tries == _MOST_TRIES:
                piece.failure = WorkersUnavailable(
                    f"{_MOST_TRIES} workers ended in the middle of the same images ({gone}); if memory ran out there, "
                    "use fewer workers on each host."
                )
            else:
                heapq.heappush(self._queue, piece)
            self._lost(member, gone)
        else:
            self._losses = 0

    def _lost(self, member: _Member, gone: MemberGone) -> None:
        """Replaces a worker by a new one, which starts where there is room for it."""
        if member not in self._members:
            return
        self._members.remove(member)
        # It may be out of reach only, and must not hold on to what is done elsewhere.
        self._hands.end(member.worker)
        self._losses += 1
        if self._losses > _MOST_LOSSES * self._most:
            raise WorkersUnavailable(f"{self._losses} workers ended one after the other with nothing done ({gone}).")
        on = f" on the host {member.host!r}" if member.host else ""
        say(f"a worker{on} was lost; another one does what it had in hand")
        self._start()
