import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import chexkeras
from chexkeras.cli import app
from chexkeras.cli.app import errors_for_people, tell

TRACES = """
import sys
from pathlib import Path
import chexkeras.cli
assert "tensorflow" not in sys.modules, "the command line must start without TensorFlow"
import keras, tensorflow as tf
from absl import logging

changing = tf.function(lambda number: number + 1)
for number in range(8):
    changing(number)
tf.get_logger().error("an error of TensorFlow's")
logging.warning("a warning of Keras'")
logging.error("an error of Keras'")
"""


@pytest.mark.keras
def test_warnings_of_tensorflow_and_keras_are_not_shown_on_the_command_line_but_errors_are():
    done = subprocess.run([sys.executable, "-c", TRACES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "retracing" not in done.stderr
    assert "warning of Keras" not in done.stderr
    assert "an error of TensorFlow's" in done.stderr
    assert "an error of Keras'" in done.stderr


def test_the_version_is_shown():
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"chexkeras {chexkeras.__version__}\n")


@pytest.mark.parametrize("module", ["chexkeras", "chexkeras.cli"])
def test_the_package_runs_as_a_module_under_its_own_name(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: chexkeras [OPTIONS] COMMAND" in done.stdout
    assert "--install-completion" in done.stdout and "--show-completion" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("chexkeras rep", ["report", "report-check", "report-init"]),
        ("chexkeras report-check --wi", ["--without-model"]),
    ],
)
def test_the_shell_gets_its_completions(words, expected):
    asked = {"_CHEXKERAS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    command = [sys.executable, "-m", "chexkeras"]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == expected, done.stderr


def test_what_cannot_be_seen_is_printed_by_its_number(capsys):
    tell("two\nlines, fine gr\u00fc\u00dfe \u80f8\u90e8 \u202egnp.exe\x1b[2J\udcff")
    assert capsys.readouterr().out == "two\nlines, fine gr\u00fc\u00dfe \u80f8\u90e8 \\u202egnp.exe\\x1b[2J\\udcff\n"


def test_text_that_the_terminal_cannot_encode_is_printed_by_its_numbers():
    code = "from chexkeras.cli.app import errors_for_people, tell; tell('gr\\xfcn \\u80f8')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=True
    )
    assert done.stdout.rstrip() == b"gr\xfcn \\u80f8"


def test_an_error_repeats_no_character_that_cannot_be_seen():
    shown = CliRunner().invoke(app, ["evaluate", "no\u202erun\x1b[2J"])
    assert shown.exit_code == 2
    assert "error: " in shown.output and "\u202e" not in shown.output and "\x1b" not in shown.output


def test_commands_print_through_one_function():
    # What it leaves out is written in one place: typer's own would print a stranger's file name as it is.
    for path in Path(chexkeras.cli.__file__).parent.glob("*.py"):
        assert path.name == "app.py" or "typer.echo" not in path.read_text(), path.name


@errors_for_people
def wait_to_be_ended(numbers, clearing_away):
    try:
        for number in numbers:
            os.kill(os.getpid(), number)
        time.sleep(60)
    finally:
        # Batch systems send it twice; what is being cleared away is not disturbed.
        os.kill(os.getpid(), numbers[0])
        clearing_away.append(True)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_command_that_the_system_ends_clears_away_and_says_so(name, capsys):
    number, done = getattr(signal, name), []
    # Whoever started the tests may have told them to ignore it, as nohup does.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(typer.Exit) as ended:
            wait_to_be_ended([number], done)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert (ended.value.exit_code, done) == (128 + number, [True])
    assert capsys.readouterr().err == f"ended by {name}: what was under way is not kept.\n"


def test_a_command_that_is_interrupted_says_so(capsys):
    @errors_for_people
    def interrupted():
        raise KeyboardInterrupt

    @errors_for_people
    def kept(resume=False):
        raise KeyboardInterrupt

    for command, told in ((interrupted, "interrupted: what was under way is not kept.\n"), (kept, "interrupted.\n")):
        with pytest.raises(typer.Exit) as ended:
            command()
        assert (ended.value.exit_code, capsys.readouterr().err) == (130, told)


def test_a_signal_that_is_ignored_or_taken_stays_so():
    seen = []

    @errors_for_people
    def command():
        for number in (signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        time.sleep(0.01)

    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(True)), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command()
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGHUP, before[1])
    assert seen == [True]


def test_a_command_in_another_thread_takes_no_signal():
    done = []
    thread = threading.Thread(target=errors_for_people(lambda: done.append(signal.getsignal(signal.SIGTERM))))
    thread.start()
    thread.join()
    assert done == [signal.SIG_DFL]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_what_to_do_and_names_the_file_alone(number, capsys):
    @errors_for_people
    def writing():
        raise OSError(number, os.strerror(number), "/data/people/results.csv")

    with pytest.raises(typer.Exit) as ended:
        writing()
    said = capsys.readouterr().err
    assert ended.value.exit_code == 2
    assert said.startswith(f"error: there is no room for 'results.csv' ({os.strerror(number)}); free some space")
    assert "Nothing is left half-written; run the command again." in said and "people" not in said


@pytest.mark.skipif(os.name != "posix", reason="pipes of Unix")
def test_a_reader_that_has_read_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "chexkeras", "presets", "two-stage"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
