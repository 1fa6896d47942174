import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import chexkeras
from chexkeras.cli import app
from chexkeras.cli.app import tell

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
    code = "from chexkeras.cli.app import tell; tell('gr\\xfcn \\u80f8')"
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
