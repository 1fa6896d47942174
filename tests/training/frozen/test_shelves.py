"""Shelves of stored features: shared by processes, limited in size, sound after a kill."""

import multiprocessing
import os
import sys
import time

import numpy as np
import pytest

from chexkeras.training.frozen.shelves import Shelves, _bytes_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


def key(number):
    return (number + 1).to_bytes(32, "big")


def values(*numbers):
    return np.stack([np.full((2, 3), number, np.float32) for number in numbers])


def added(shelves, name, *numbers):
    shelf = shelves.shelf(name * 32, (2, 3), "float32")
    with shelves.filling([shelf]):
        shelf.append([key(number) for number in numbers], values(*numbers))
    return shelf


def names(folder):
    return sorted(path.name[0] for path in folder.iterdir())


def test_what_was_added_is_found_by_its_key_by_another_reader(tmp_path):
    added(Shelves(tmp_path), "a", 1, 2)
    shelf = added(Shelves(tmp_path), "a", 3)
    assert shelf.rows([key(3), key(9), key(1)]).tolist() == [2, -1, 0]
    np.testing.assert_array_equal(shelf.values, values(1, 2, 3))


def test_a_kill_between_values_and_index_leaves_the_entries_before_it(tmp_path):
    shelf = added(Shelves(tmp_path), "a", 1, 2)
    with (shelf.folder / "values.bin").open("ab") as file:
        file.write(b"x" * 24)
    with (shelf.folder / "index.bin").open("ab") as file:
        file.write(b"y" * 10)
    shelf = added(Shelves(tmp_path), "a", 3)
    np.testing.assert_array_equal(shelf.values, values(1, 2, 3))
    assert shelf.drop_damaged(shelf.rows([key(1), key(2), key(3)])) == 0


def test_a_changed_value_is_noticed_once_and_the_others_stay(tmp_path, capsys):
    folder = added(Shelves(tmp_path), "a", 1, 2, 3).folder
    content = bytearray((folder / "values.bin").read_bytes())
    content[30] ^= 4
    (folder / "values.bin").write_bytes(content)
    shelf = Shelves(tmp_path).shelf("a" * 32, (2, 3), "float32")
    assert shelf.drop_damaged(shelf.rows([key(1), key(2), key(3)])) == 1
    assert shelf.rows([key(1), key(2), key(3)]).tolist() == [0, -1, 2]
    assert "1 stored features in" in capsys.readouterr().err
    assert shelf.drop_damaged(shelf.rows([key(1), key(3)])) == 0


def test_the_limit_removes_what_was_not_used_for_the_longest_time_and_nothing_in_use(tmp_path, capsys):
    for age, name in enumerate("cab"):
        shelves = Shelves(tmp_path)
        shelf = added(shelves, name, 1, 2)
        shelves.close()
        os.utime(shelf.folder / "in_use", (1000 + age, 1000 + age))
    each = _bytes_of(shelf.folder)
    held = 3 * each
    shelves = Shelves(tmp_path, limit=held)
    shelves.make_room(0)
    assert names(tmp_path) == ["a", "b", "c"]
    used = Shelves(tmp_path).shelf("c" * 32, (2, 3), "float32")
    Shelves(tmp_path, limit=held).make_room(each // 2)
    assert names(tmp_path) == ["b", "c"]
    assert "not used for the longest time, give way" in capsys.readouterr().err
    Shelves(tmp_path, limit=1).make_room(1)
    assert names(tmp_path) == ["c"]
    assert Shelves(tmp_path, limit=1).room() == 0
    used.close()
    Shelves(tmp_path, limit=1).make_room(1)
    assert names(tmp_path) == []


def _add_all(folder, first, started):
    shelves = Shelves(folder)
    shelf = shelves.shelf("a" * 32, (2, 3), "float32")
    started.wait()
    for number in range(40):
        with shelves.filling([shelf]):
            if shelf.rows([key(number)])[0] < 0:
                shelf.append([key(number)], values(number))
        time.sleep(0.001 * first)


def test_two_processes_add_to_one_shelf_each_entry_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    both = [context.Process(target=_add_all, args=(tmp_path, first, started)) for first in (0, 1)]
    for process in both:
        process.start()
    started.set()
    for process in both:
        process.join()
        assert process.exitcode == 0
    shelf = Shelves(tmp_path).shelf("a" * 32, (2, 3), "float32")
    assert len(shelf.values) == 40
    np.testing.assert_array_equal(shelf.values[shelf.rows(map(key, range(40)))], values(*range(40)))
