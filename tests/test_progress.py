"""Lines where nobody watches, silence otherwise."""

import re

import pytest

from chexkeras import progress


def told(capsys):
    return capsys.readouterr().err.splitlines()


def test_lines_are_told_at_every_tenth_but_not_at_the_end(capsys):
    assert list(progress.track(range(200), "working", lines=True)) == list(range(200))
    lines = told(capsys)
    assert [line.rsplit(", ", 2)[0] for line in lines] == [
        f"working: {done} of 200 ({done // 2}%)" for done in range(20, 200, 20)
    ]
    assert all(re.search(r", \d+\.\d a second, \d\.\d s left$", line) for line in lines)


@pytest.mark.parametrize(("count", "lines"), [(3, 0), (10, 0), (11, 1), (95, 9), (1234, 10)])
def test_lines_are_ten_items_apart_at_least(capsys, count, lines):
    assert len(list(progress.track(iter(range(count)), "working", count, lines=True))) == count
    assert len(told(capsys)) == lines


@pytest.mark.parametrize("lines", [True, False])
def test_a_line_is_told_after_ten_seconds_without_one(capsys, monkeypatch, lines):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress, "perf_counter", lambda: next(clock))
    assert len(list(progress.track(iter("abcdefg"), "working", lines=lines))) == 7
    # 4 s an item, and how many there are is not known: after 12 and 24 s.
    assert told(capsys) == ["working: 3, 0.2 a second", "working: 6, 0.2 a second"]


def test_a_line_tells_what_is_left_where_that_is_known(capsys, monkeypatch):
    clock = iter(range(0, 4000, 10))
    monkeypatch.setattr(progress, "perf_counter", lambda: next(clock))
    list(progress.track(range(30), "working"))
    lines = told(capsys)
    assert lines[0] == "working: 1 of 30 (3%), 0.1 a second"
    assert lines[9] == "working: 10 of 30 (33%), 0.1 a second, 3 min left"
    assert lines[-1] == "working: 29 of 30 (97%), 0.1 a second, 10 s left"


def test_short_work_is_done_in_silence(capsys, monkeypatch):
    monkeypatch.setattr(progress, "perf_counter", lambda: 0.0)
    assert list(progress.track(range(200), "working")) == list(range(200))
    assert told(capsys) == []


def test_a_line_may_be_broken_between_words_at_the_width_of_the_terminal(capsys, monkeypatch):
    line = "  one epoch 1/3: loss 0.2500, validation 0.6931, AUROC 0.600, 60 s; at most 2 min left of one"
    progress.say(line, indent=6)
    assert told(capsys) == [line[:80].rpartition(" ")[0], "      min left of one"]
    monkeypatch.setenv("COLUMNS", "200")
    progress.say(line, indent=6)
    assert told(capsys) == [line]


def test_a_line_is_told_when_its_items_are_done(capsys):
    items = progress.track(range(20), "working", lines=True)
    for _ in range(10):
        next(items)
    assert told(capsys) == []
    next(items)
    assert len(told(capsys)) == 1


def test_a_line_shows_no_character_that_cannot_be_seen(capsys):
    progress.say("folder [bold]x[/bold] a\u202eb\x1b[31m\udcff\nnext")
    assert told(capsys) == [r"folder [bold]x[/bold] a\u202eb\x1b[31m\udcff", "next"]


def test_a_name_shows_where_it_ends():
    assert progress.printable("a\nb\u2028c\td\u200b") == r"a\nb\u2028c\td\u200b"
    assert progress.printable("a\nb", "\n") == "a\nb"
    for text in ("plain", "Grüße", "胸部", "a\u0301", "a b\u00a0c", "\u0645\u06cc\u200c\u0631\u0648\u0645"):
        assert progress.printable(text) == text


def test_a_notebook_gets_its_lines_as_one_block_of_text(capsys, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    for line in ("epoch 1", "epoch\u202e 2"):
        progress.say(line)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("epoch 1\nepoch\\u202e 2\n", "")
