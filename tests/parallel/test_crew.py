"""Workers that are lost: what they had in hand goes to others, once, and results come in the order of the items."""

import itertools
from collections import deque

import pytest

from chexkeras.parallel.crew import Crew, MemberGone
from chexkeras.parallel.task import Chunk, Task, WorkersUnavailable


class Machines:
    """Workers that are called one after the other in this process; some end at a piece of work that a test names.

    Args:
        fatal: Called with the number of the worker and its items: whether the worker ends there.
        room: How many workers have room at a time; others wait until one ends.
        order: Whose answer comes first: 0 for the one that was asked first, -1 for the last.
    """

    def __init__(self, fatal=lambda worker, items: False, room=99, order=0):
        self.fatal, self.room, self.order = fatal, room, order
        self.numbers = itertools.count()
        self.events = itertools.count()
        self.alive, self.waiting, self.answers = [], deque(), {}
        self.done, self.ended, self.idled = [], [], 0
        self.task = Task(lambda number: number * number, None)

    def start(self):
        worker, greeting = next(self.numbers), f"greeting {next(self.events)}"
        self.waiting.append((worker, greeting))
        return worker, greeting

    def hand(self, worker, items):
        event = f"answer {next(self.events)}"
        self.answers[event] = (worker, items)
        return event

    def wait(self, waiting, seconds):
        while self.waiting and len(self.alive) < self.room:
            worker, greeting = self.waiting.popleft()
            self.alive.append(worker)
            self.answers[greeting] = (worker, None)
        come = [event for event in waiting if event in self.answers]
        return [come[self.order]] if come else []

    def answer(self, come):
        worker, items = self.answers.pop(come)
        if worker not in self.alive:
            raise MemberGone("its host is gone")
        if items is None:
            return f"host {worker}"
        if self.fatal(worker, items):
            self.alive.remove(worker)
            raise MemberGone("its host is gone")
        self.done += items
        return self.task(items)

    def end(self, worker):
        self.ended.append(worker)
        if worker in self.alive:
            self.alive.remove(worker)

    def idle(self):
        self.idled += 1
        if self.idled > 3:
            raise TimeoutError("nobody works")


def results_of(crew, pieces):
    waiting = [crew.submit(items) for items in pieces]
    return [each() for each in waiting]


@pytest.mark.parametrize("order", [0, -1])
def test_pieces_come_back_in_order_whoever_answers_first(order):
    machines = Machines(order=order)
    crew = Crew(machines, 3)
    assert results_of(crew, [[1, 2], [3], [4, 5], [6], [7]]) == [
        Chunk([1, 4], None), Chunk([9], None), Chunk([16, 25], None), Chunk([36], None), Chunk([49], None),
    ]  # fmt: skip
    assert sorted(machines.done) == [1, 2, 3, 4, 5, 6, 7]
    crew.close()
    assert sorted(machines.ended) == [0, 1, 2] and not machines.alive


@pytest.mark.parametrize("room", [1, 2, 99])
@pytest.mark.parametrize("order", [0, -1])
def test_what_a_lost_worker_had_in_hand_is_done_once_by_others(room, order):
    machines = Machines(fatal=lambda worker, items: worker == 0 and 3 in items, room=room, order=order)
    crew = Crew(machines, 2)
    found = results_of(crew, [[number] for number in range(12)])
    assert [chunk.results for chunk in found] == [[number * number] for number in range(12)]
    assert sorted(machines.done) == list(range(12))


def test_no_more_workers_are_started_than_there_are_pieces():
    machines = Machines()
    crew = Crew(machines, 50)
    assert [chunk.results for chunk in results_of(crew, [[2], [3]])] == [[4], [9]]
    assert next(machines.numbers) == 2


def test_a_piece_that_ends_every_worker_is_told_behind_what_was_done_before():
    machines = Machines(fatal=lambda worker, items: 3 in items)
    crew = Crew(machines, 2)
    waiting = [crew.submit([number]) for number in range(6)]
    assert [each().results for each in waiting[:3]] == [[0], [1], [4]]
    with pytest.raises(WorkersUnavailable, match=r"4 workers ended in the middle of the same images \(its host is"):
        waiting[3]()


def test_workers_that_end_before_they_do_anything_end_the_work():
    machines = Machines(fatal=lambda worker, items: True)
    crew = Crew(machines, 1)
    first = crew.submit([1])
    with pytest.raises(WorkersUnavailable, match="ended"):
        first()


def test_a_worker_that_must_not_be_used_ends_the_work():
    class Others(Machines):
        def answer(self, come):
            raise WorkersUnavailable("another version")

    crew = Crew(Others(), 1)
    with pytest.raises(WorkersUnavailable, match="another version"):
        crew.submit([1])()


def test_an_error_of_the_work_is_a_result_and_no_reason_to_try_again():
    machines = Machines()
    machines.task = Task(lambda number: 1 // number, None)
    crew = Crew(machines, 2)
    results, error = crew.submit([1, 0, 2])()
    assert results == [1] and isinstance(error, ZeroDivisionError)
    assert machines.done == [1, 0, 2]
