"""TensorFlow starts without its notices, and what is no notice is shown, whatever becomes of the start."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import chexkeras
from chexkeras import _quiet
from chexkeras.phantoms import make_phantoms

ROOT = Path(chexkeras.__file__).parent.parent
# What TensorFlow 2.21, 2.18 and 2.16 printed on a machine without a GPU, and 2.18 on one with a GPU.
NOTICES = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1796040886.660541    6619 port.cc:153] oneDNN custom operations are on. You may see slightly different
I0000 00:00:1796040886.661203    6619 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.
I0000 00:00:1796040886.736543    6619 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available CPU
To enable the following instructions: AVX2 AVX512F FMA, in other operations, rebuild TensorFlow with the appropriate flags.
E0000 00:00:1796040891.661169    6619 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: UNKNOWN ERROR (303)
E0000 00:00:1733139421.119341      31 cuda_driver.cc:1228] failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device
2026-11-30 12:14:52.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.
2026-11-30 12:14:52.123456: E external/local_xla/xla/stream_executor/cuda/cuda_driver.cc:266] failed call to cuInit: UNKNOWN ERROR (303)
2026-11-30 12:14:52.123456: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning: Could not find TensorRT
E0000 00:00:1733139421.119341      31 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting to register factory
W0000 00:00:1733139421.119341      31 computation_placer.cc:177] computation placer already registered. Please check linkage
""".splitlines()  # fmt: skip # noqa: E501
SHOWN = """\
E0000 00:00:1796040891.661169    6619 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA_ERROR_UNKNOWN: unknown error
E0000 00:00:1796040891.661169    6619 cuda_dnn.cc:463] Loaded runtime CuDNN library: 8.9.4 but source was compiled with 9.3.0
W0000 00:00:1733139421.119341      31 gpu_device.cc:2433] Cannot dlopen some GPU libraries.
F0000 00:00:1796040891.661169    6619 cpu_feature_guard.cc:160] The TensorFlow library was compiled to use AVX instructions
2026-11-30 12:14:52.123456: F tensorflow/core/platform/cpu_feature_guard.cc:161] The TensorFlow library was compiled
I think that this is a line of somebody else.
RuntimeError: To enable the following instructions: none
""".splitlines()  # noqa: E501


def python(code, *, folder=None, **settings):
    """Runs code in a new process, a folder before all others on its path; no setting of TensorFlow is inherited."""
    environment = {name: value for name, value in os.environ.items() if name != _quiet.LEVEL} | settings
    environment["PYTHONPATH"] = os.pathsep.join([*([str(folder)] if folder else []), str(ROOT)])
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def pretended(tmp_path):
    """A function that writes a package named tensorflow, whose import prints lines and then runs a statement."""

    def make(lines, then="", devices=""):
        folder = tmp_path / "packages"
        (folder / "tensorflow").mkdir(parents=True)
        code = f"""\
import contextlib, os, sys
with contextlib.suppress(OSError):
    os.write(2, {chr(10).join([*lines, ""]).encode()!r})
class config:
    @staticmethod
    def list_physical_devices():
        with contextlib.suppress(OSError):
            os.write(2, {chr(10).join([*NOTICES, ""]).encode()!r})
        {devices}
{then}
"""
        (folder / "tensorflow" / "__init__.py").write_text(code)
        return folder

    return make


@pytest.mark.parametrize("line", NOTICES)
def test_a_notice_is_known_by_its_form(line):
    assert _quiet.is_notice(line.encode())


@pytest.mark.parametrize("line", SHOWN)
def test_an_error_and_what_others_say_is_no_notice(line):
    assert not _quiet.is_notice(line.encode())


@pytest.mark.parametrize("first", ["import chexkeras, tensorflow", "import chexkeras; from tensorflow import config"])
def test_notices_are_dropped_and_all_else_is_shown_in_its_order(first, pretended):
    mixed = [line for pair in zip(NOTICES, SHOWN, strict=False) for line in pair]
    code = f"{first}\nimport sys\nprint('behind', file=sys.stderr)"
    done = python(code, folder=pretended(mixed, "print('Gr\\xfc\\xdfe', file=sys.stderr)"), PYTHONIOENCODING="utf-8")
    assert done.stderr.splitlines() == [*SHOWN, "Gr\xfc\xdfe", "behind"]
    assert done.returncode == 0


def test_an_import_that_fails_says_why(pretended):
    folder = pretended([NOTICES[0], SHOWN[1]], "raise ImportError('libnothing.so: cannot open shared object file')")
    done = python("import chexkeras, tensorflow", folder=folder)
    assert done.returncode == 1
    assert done.stderr.startswith(SHOWN[1])
    assert done.stderr.endswith("ImportError: libnothing.so: cannot open shared object file\n")
    assert NOTICES[0] not in done.stderr


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(9)", "os.kill(os.getpid(), 9)"])
def test_the_last_words_of_a_start_that_ends_the_program_are_shown(end, pretended):
    done = python("import chexkeras, tensorflow", folder=pretended([NOTICES[0], SHOWN[3]], end))
    assert done.returncode != 0
    assert SHOWN[3] in done.stderr.splitlines()


def test_a_device_that_fails_does_so_when_it_is_used_and_not_in_the_import(pretended):
    folder = pretended([], devices="os.write(2, b'no kernel module\\n'); raise RuntimeError('the device is lost')")
    done = python("import chexkeras, tensorflow as tf\nprint(tf.__name__)\ntf.config.list_physical_devices()",
                  folder=folder)  # fmt: skip
    assert done.stdout == "tensorflow\n"
    assert done.stderr.startswith("no kernel module\n")
    assert done.stderr.endswith("RuntimeError: the device is lost\n")


@pytest.mark.parametrize("level", ["0", "1"])
def test_a_user_who_asks_for_everything_gets_everything(level, pretended):
    done = python("import chexkeras, tensorflow", folder=pretended(NOTICES), **{_quiet.LEVEL: level})
    assert done.stderr.splitlines() == NOTICES


def test_the_users_own_level_stays(pretended):
    code = "import chexkeras, tensorflow, os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    folder = pretended(NOTICES)
    assert python(code, folder=folder).stdout == "2\n"
    done = python(code, folder=folder, **{_quiet.LEVEL: "3"})
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_the_module_looks_as_if_its_own_loader_had_imported_it(pretended):
    code = """
        import chexkeras, importlib.util, tensorflow
        print(type(importlib.util.find_spec("tensorflow").loader).__name__, tensorflow.__loader__.get_filename())
        importlib.reload(tensorflow)
        """
    folder = pretended([])
    found = python(code, folder=folder).stdout.split()
    assert found == ["SourceFileLoader", str(folder / "tensorflow" / "__init__.py")]


@pytest.mark.skipif(os.name != "posix", reason="descriptors of Unix")
def test_a_program_without_standard_error_or_without_room_for_a_process_starts_as_well(pretended):
    folder = pretended(NOTICES)
    closed = python("import os\nos.close(2)\nimport chexkeras, tensorflow\nprint('up')", folder=folder)
    assert closed.stdout == "up\n"
    no_program = python("import sys\nsys.executable = ''\nimport chexkeras, tensorflow\nprint('up')", folder=folder)
    assert no_program.stdout == "up\n"
    assert no_program.stderr.splitlines()[: len(NOTICES)] == NOTICES


def test_importing_chexkeras_does_not_import_tensorflow_or_set_anything():
    code = """
        import os, sys
        before = dict(os.environ)
        import chexkeras
        print("tensorflow" in sys.modules, os.environ == before)
        """
    assert python(code).stdout.split() == ["False", "True"]


@pytest.mark.keras
def test_a_model_is_made_and_used_without_a_word_on_standard_error():
    code = """
        import chexkeras as cx, numpy as np
        model = cx.models.build_classifier("Mass", backbone="SmallCNN", weights=None, image_size=32)
        print(model.predict(np.zeros((1, 32, 32, 1), "uint8"), verbose=0).shape)
        """
    done = python(code)
    assert (done.stdout, done.stderr) == ("(1, 1)\n", "")


@pytest.mark.keras
@pytest.mark.slow
def test_a_training_prints_its_own_lines_only(tmp_path):
    root = make_phantoms(tmp_path / "nih", images=40, size=64, dicom=False, prevalence={"Cardiomegaly": 0.5})
    small = ("backbone=SmallCNN", "image_size=32", "stage1.epochs=1", "stage2.epochs=1")
    asked = ["train", "--data", str(root), "--preset", "quick", "--run", str(tmp_path / "run"), "--overwrite"]
    asked += ["--validation", "0.25", "--test", "0.25", *(word for each in small for word in ("--set", each))]
    done = python(f"from chexkeras.cli import main\nimport sys\nsys.argv[1:] = {asked!r}\nmain()")
    assert done.returncode == 0, done.stderr
    assert "stage1" in done.stderr
    lines = [line for line in done.stderr.splitlines() if line != "starting TensorFlow ..."]
    assert not [line for line in lines if re.search(r"\.cc:\d+\]|absl|TensorFlow|retracing", line)]
