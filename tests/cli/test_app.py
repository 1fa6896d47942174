import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import chexkeras
from chexkeras.cli import app

TRACES = """
import sys
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
