"""One executor for all work on many images: order, look-ahead, errors and the end of workers."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest

import chexkeras
from chexkeras.parallel import EXECUTORS, WorkersUnavailable, cores, map_ordered
from chexkeras.parallel.task import Task

LOCAL = ["serial", "threads"]
ROOT = Path(chexkeras.__file__).parent.parent
V1 = "cpu/cpu.cfs_"


def square(number):
    return number * number


def square_unless_seven(number):
    if number == 7:
        raise ValueError("seven is not wanted")
    return number * number


def process_and_state(number, state):
    return number, os.getpid(), state


def begin(prefix):
    return f"{prefix}-{os.getpid()}"


def no_state():
    raise OSError("the model is not there")


def end_process(number):
    if number == 2:
        os._exit(3)
    return number


def sleep_in_process(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def collected(results):
    """Returns what an iterator yields until it ends or raises an error, and the error."""
    found = []
    try:
        found.extend(results)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        return found, error
    return found, None


@pytest.mark.parametrize("executor", LOCAL)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("chunk", [1, 4])
def test_results_come_in_the_order_of_the_items(executor, workers, chunk):
    found = map_ordered(square, iter(range(11)), executor=executor, workers=workers, chunk=chunk, ahead=5)
    assert list(found) == [number * number for number in range(11)]


def test_slow_items_do_not_change_the_order():
    gates = [threading.Event() for _ in range(4)]

    def work(number):
        # Each waits for the one behind it, so they finish backwards.
        if number < 3:
            assert gates[number + 1].wait(60)
        gates[number].set()
        return number

    assert list(map_ordered(work, range(4), executor="threads", workers=4)) == [0, 1, 2, 3]


@pytest.mark.parametrize("executor", LOCAL)
@pytest.mark.parametrize("chunk", [1, 3, 20])
def test_an_error_comes_where_its_result_would_be(executor, chunk):
    found, error = collected(map_ordered(square_unless_seven, range(20), executor=executor, workers=4, chunk=chunk))
    assert found == [0, 1, 4, 9, 16, 25, 36]
    assert isinstance(error, ValueError) and str(error) == "seven is not wanted"


@pytest.mark.parametrize("executor", LOCAL)
@pytest.mark.parametrize("chunk", [1, 3])
def test_an_error_of_the_items_comes_behind_the_results_before_it(executor, chunk):
    def items():
        yield from range(5)
        raise LookupError("no further item")

    found, error = collected(map_ordered(square, items(), executor=executor, workers=4, chunk=chunk))
    assert found == [0, 1, 4, 9, 16] and isinstance(error, LookupError)


@pytest.mark.parametrize(("executor", "ahead", "chunk", "most"), [
    ("threads", 4, 1, 4), ("threads", 1, 1, 2), ("threads", 8, 3, 9), ("threads", None, 1, 4), ("serial", 50, 9, 0),
])  # fmt: skip
def test_so_many_items_are_worked_on_before_they_are_asked_for(executor, ahead, chunk, most):
    called = []

    def work(number):
        called.append(number)
        return number

    with contextlib.closing(
        map_ordered(work, count(), executor=executor, workers=2, ahead=ahead, chunk=chunk)
    ) as results:
        assert not called, "work began before anything was asked for"
        for _, result in zip(range(40), results, strict=False):
            # What is being handed on, with the rest of its chunk, and what is ahead.
            assert len(called) <= result + chunk + most
        if executor == "serial":
            assert called == list(range(max(called) + 1)) and len(called) <= 40 + chunk


def test_closing_ends_the_work_and_the_threads():
    ended = []
    release = threading.Event()

    def work(number):
        # All but the first wait for what `on_end` closes.
        if number and not release.wait(60):
            raise TimeoutError
        return number

    def on_end():
        ended.append(True)
        release.set()

    before = threading.active_count()
    results = map_ordered(work, count(), executor="threads", workers=3, on_end=on_end)
    assert next(results) == 0
    results.close()
    assert ended == [True]
    assert threading.active_count() == before


@pytest.mark.parametrize("executor", LOCAL)
def test_an_interrupt_ends_the_work(executor):
    def interrupt(done):
        if done == 3:
            raise KeyboardInterrupt

    before, ended = threading.active_count(), []
    with pytest.raises(KeyboardInterrupt):
        list(
            map_ordered(
                square, count(), executor=executor, workers=2, progress=interrupt, on_end=partial(ended.append, 1)
            )
        )
    assert ended == [1] and threading.active_count() == before


@pytest.mark.parametrize("executor", LOCAL)
def test_progress_is_told_before_each_result(executor):
    told = []
    for result in map_ordered(square, range(1, 6), executor=executor, workers=2, chunk=2, progress=told.append):
        told.append(-result)
    assert told == [1, -1, 2, -4, 3, -9, 4, -16, 5, -25]


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 3)])
def test_a_worker_is_set_up_once(executor, workers):
    made = []
    barrier = threading.Barrier(workers)

    def setup():
        made.append(threading.get_ident())
        return threading.get_ident()

    def work(number, state):
        if number < workers:
            # Holds every worker at its first item, so that all of them get one.
            barrier.wait(60)
        return state == threading.get_ident()

    assert all(map_ordered(work, range(20), setup=setup, executor=executor, workers=workers))
    assert len(made) == len(set(made)) == workers


@pytest.mark.parametrize("executor", LOCAL)
def test_a_worker_that_cannot_be_set_up_says_why(executor):
    with pytest.raises(OSError, match="the model is not there"):
        list(map_ordered(process_and_state, range(3), setup=no_state, executor=executor, workers=2))


def test_a_thread_that_does_not_start_is_told_behind_the_results_before_it(monkeypatch):
    start, started, refused = threading.Thread.start, [], threading.Event()

    def refuse_the_third(thread):
        started.append(thread)
        if len(started) > 2:
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    def work(number):
        # The first two are busy until the third has been refused.
        assert refused.wait(60)
        return number

    monkeypatch.setattr(threading.Thread, "start", refuse_the_third)
    found, error = collected(map_ordered(work, count(), executor="threads", workers=3))
    assert found == [0, 1]
    assert isinstance(error, WorkersUnavailable) and "thread" in str(error) and "fewer workers" in str(error)


@pytest.mark.parametrize(("given", "message"), [
    ({"executor": "thread"}, r"executor='thread'; did you mean 'threads'"),
    ({"workers": 0}, "workers=0 must be a whole number of at least 1"),
    ({"chunk": 0}, "chunk=0"),
    ({"ahead": 0}, "ahead=0"),
])  # fmt: skip
def test_arguments_are_checked_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        map_ordered(square, [1], **given)


def test_work_of_one_worker_is_done_in_this_process():
    state = [os.getpid()]
    local = map_ordered(lambda number, state: (number, state), [7, 8], setup=lambda: state, workers=1)
    assert list(local) == [(7, state), (8, state)]
    # One chunk is enough for one worker only.
    assert list(map_ordered(lambda number: number, [7, 8], workers=5, chunk=2)) == [7, 8]


def test_a_new_place_to_work_is_one_entry(monkeypatch):
    class Backwards:
        """Works on what was submitted last first."""

        closed = 0

        def __init__(self, work, setup, workers):
            self.task, self.waiting, self.done, self.workers = Task(work, setup), {}, {}, workers

        def submit(self, items):
            key = len(self.waiting) + len(self.done)
            self.waiting[key] = items
            return partial(self.result, key)

        def result(self, key):
            for each in sorted(self.waiting, reverse=True):
                self.done[each] = self.task(self.waiting.pop(each))
            return self.done[key]

        def close(self):
            Backwards.closed += 1

    monkeypatch.setitem(EXECUTORS, "backwards", Backwards)
    assert list(map_ordered(square, range(9), executor="backwards", workers=3, chunk=2)) == [n * n for n in range(9)]
    assert Backwards.closed == 1


def test_processes_work_in_order_each_with_its_own_state():
    results = list(map_ordered(process_and_state, range(8), setup=partial(begin, "s"), executor="processes", workers=2))
    assert [number for number, _, _ in results] == list(range(8))
    assert all(state == f"s-{process}" and process != os.getpid() for _, process, state in results)


def test_an_error_in_a_process_keeps_its_traceback_as_text():
    found, error = collected(map_ordered(square_unless_seven, range(20), executor="processes", workers=2, chunk=5))
    assert found == [0, 1, 4, 9, 16, 25, 36]
    assert str(error) == "seven is not wanted" and "in square_unless_seven" in "".join(error.__notes__)


def test_a_process_that_dies_is_told():
    found, error = collected(map_ordered(end_process, count(), executor="processes", workers=1, ahead=1))
    assert found == [0, 1]
    assert isinstance(error, WorkersUnavailable) and "ended in the middle" in str(error)


def test_what_no_other_process_can_be_given_is_refused_at_once():
    with pytest.raises(TypeError, match=r"cannot be handed to another process .* executor='threads'"):
        map_ordered(lambda number: number, range(9), executor="processes", workers=2)
    assert pickle.loads(pickle.dumps(WorkersUnavailable("why"))).args == ("why",)


_STARTS = "print(list(map_ordered(abs, range(4), executor='processes', workers=2)))"


@pytest.mark.parametrize(
    ("lines", "guarded"),
    [
        ([_STARTS], False),
        (["def work():", f"    {_STARTS}", "work()"], False),
        (['if __name__ == "__main__":', f"    {_STARTS}"], True),
        (["def work():", f"    {_STARTS}", 'if "__main__" == __name__:', "    work()"], True),
    ],
)
def test_a_script_without_a_guard_is_told_what_to_write(tmp_path, lines, guarded):
    script = tmp_path / "script.py"
    script.write_text("\n".join(["from chexkeras.parallel import map_ordered", *lines, ""]))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    if guarded:
        assert done.returncode == 0 and done.stdout.strip() == "[0, 1, 2, 3]", done.stderr
        return
    assert done.returncode == 1 and not done.stdout
    # One traceback, of the script itself, which ends with one sentence.
    assert done.stderr.count("Traceback") == 1 and "multiprocessing" not in done.stderr
    (told,) = [
        line for line in done.stderr.splitlines() if line.startswith("chexkeras.parallel.task.WorkersUnavailable")
    ]
    assert f"script.py, line {len(lines) + 1}, starts processes" in told and 'if __name__ == "__main__":' in told


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes under /proc")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    script, mark = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(
        "from chexkeras.parallel import map_ordered\nfrom tests.parallel.test_ordered import sleep_in_process\n"
        "if __name__ == '__main__':\n"
        f"    list(map_ordered(sleep_in_process, [{str(mark)!r}], executor='processes', workers=1))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: mark.exists() and mark.read_text())
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    worker = Path("/proc", mark.read_text(), "stat")

    def has_ended():
        try:
            return worker.read_text().split()[2] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(has_ended)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes under /proc")
def test_processes_end_with_the_command_when_a_batch_system_ends_all_of_them(tmp_path):
    script, mark = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(
        "import sys\nimport typer\nfrom chexkeras.cli.app import errors_for_people\n"
        "from chexkeras.parallel import map_ordered\nfrom tests.parallel.test_ordered import sleep_in_process\n"
        "@errors_for_people\ndef command():\n"
        f"    list(map_ordered(sleep_in_process, [{str(mark)!r}], executor='processes', workers=1))\n"
        "if __name__ == '__main__':\n"
        "    try:\n        command()\n    except typer.Exit as ended:\n        sys.exit(ended.exit_code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: mark.exists() and mark.read_text())
    os.killpg(parent.pid, signal.SIGTERM)
    said = parent.communicate(timeout=300)[1]
    # Not the end of a worker, which would be told as an error, whoever hears of it first.
    assert (parent.returncode, said) == (143, "ended by SIGTERM: what was under way is not kept.\n")
    assert not Path("/proc", mark.read_text()).exists()


def wait_until(condition):
    for _ in range(15000):
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError("it did not happen within five minutes")


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5}, raising=False)
    for granted, expected in [([], 6), ([2.0], 2), ([1.5, 8.0], 2), ([0.1], 1), ([64.0], 6)]:
        monkeypatch.setattr(cores, "_granted_cores", partial(iter, granted))
        assert cores.available_cores() == expected


@pytest.mark.parametrize(("group", "limits", "granted"), [
    ("0::/user/job", {"user/job/cpu.max": "max 100000", "user/cpu.max": "250000 100000"}, [2.5]),
    ("0::/user/job", {"user/job/cpu.max": "50000 100000", "user/cpu.max": "max 100000"}, [0.5]),
    ("0::/", {"cpu.max": "400000 100000"}, [4.0]),
    # Inside a container the path that the machine knows the group by does not exist.
    ("4:memory:/a\n3:cpu,cpuacct:/docker/0123", {f"{V1}quota_us": "300000", f"{V1}period_us": "100000"}, [3.0]),
    ("3:cpu:/", {f"{V1}quota_us": "-1", f"{V1}period_us": "100000"}, []),
    ("3:memory:/a", {"cpu.max": "400000 100000"}, []),
])  # fmt: skip
def test_control_groups_grant_processor_time(tmp_path, group, limits, granted):
    (tmp_path / "groups").write_text(group + "\n")
    for name, text in limits.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert list(cores._granted_cores(tmp_path / "groups", tmp_path / "root")) == granted
    assert list(cores._granted_cores(tmp_path / "absent", tmp_path / "root")) == []
