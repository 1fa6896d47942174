import subprocess
import sys

import pytest

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
