"""Processes of one machine that are started and ended together; here they are small programs."""

import sys

import pytest

from chexkeras.training.distributed.connection import WorkerGone
from chexkeras.training.distributed.launch import command_of, launch


def run(code, count=2):
    return launch(
        [sys.executable, "-S", "-c", f"import os, sys, time, signal\nnumber = int(os.environ['RANK'])\n{code}"], count
    )


def test_each_is_told_who_it_is_and_all_know_the_same_word(tmp_path):
    code = f"""
names = ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "CHEXKERAS_WORKERS_KEY", "CHEXKERAS_LAUNCHER")
open(r"{tmp_path}/" + str(number), "w").write(" ".join(os.environ[name] for name in names))
"""
    # The first would end before the others have written.
    code += f"while number == 0 and len(os.listdir(r'{tmp_path}')) < 3: time.sleep(0.01)"
    assert run(code, 3) == 0
    told = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(told) == {"0", "1", "2"}
    assert len(set(told.values())) == 1
    assert told["0"].startswith("3 127.0.0.1 ")


def test_the_exit_status_is_that_of_the_first_and_the_others_end_with_it():
    assert run("sys.exit(3) if number == 0 else time.sleep(600)") == 3


def test_the_loss_of_the_first_is_told():
    with pytest.raises(WorkerGone, match=r"worker 0 of 2 has ended \(signal SIGKILL\)"):
        run("os.kill(os.getpid(), signal.SIGKILL) if number == 0 else time.sleep(600)")


def test_the_first_may_say_itself_that_another_is_lost():
    assert run("sys.exit(2 if number == 0 else 7)") == 2


def test_what_another_said_last_is_told_where_the_first_does_not_end(monkeypatch):
    monkeypatch.setattr("chexkeras.training.distributed.launch._SAYING_SECONDS", 0.1)
    with pytest.raises(WorkerGone, match=r"(?s)worker 1 of 2 has ended \(exit status 7\).*last:\nno such image"):
        run("time.sleep(600) if number == 0 else (sys.stderr.write('no such image'), sys.exit(7))")


def test_a_command_is_run_by_this_python():
    assert command_of(["chexkeras", "train", "--data", "a b"]) == [
        sys.executable, "-m", "chexkeras", "train", "--data", "a b",
    ]  # fmt: skip
