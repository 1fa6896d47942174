"""The public names: the same for Python, editors and type checkers, whatever was imported before."""

import importlib.util
import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import chexkeras as cx
from chexkeras import _lazy

ROOT = Path(cx.__file__).parent.parent


def run(code, *arguments):
    done = subprocess.run([sys.executable, *arguments, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestNames:
    def test_the_main_job_stands_at_the_top(self):
        assert {"load_nih", "audit", "split_by_patient", "train", "evaluate", "compare", "Predictor"} <= set(dir(cx))
        assert len(set(cx.__all__) - set(_lazy.ROOMS)) <= 55

    @pytest.mark.parametrize("room", _lazy.ROOMS)
    def test_a_stub_and_its_package_list_the_same(self, room):
        assert tuple(sorted(getattr(cx, room).__all__)) == _lazy.stub_names(room)

    def test_a_name_of_another_room_is_pointed_to(self):
        with pytest.raises(AttributeError, match=r"it is chexkeras\.evaluation\.fleiss_kappa"):
            cx.fleiss_kappa  # noqa: B018
        with pytest.raises(AttributeError, match=r"it is chexkeras\.train\."):
            cx.evaluation.train  # noqa: B018

    def test_an_unknown_name_gets_the_nearest(self):
        with pytest.raises(AttributeError, match="did you mean 'split_by_patient'"):
            cx.split_by_patiant  # noqa: B018

    @pytest.mark.parametrize("name", sorted(_lazy.RENAMED))
    def test_a_renamed_name_is_pointed_to_where_it_is_now(self, name):
        with pytest.raises(AttributeError, match=r"it is chexkeras\."):
            getattr(cx, name)
        found = cx
        for part in _lazy.RENAMED[name].split("."):
            found = getattr(found, part)


class TestImportOrder:
    """Importing a module sets an attribute of its name on its package, which must not hide a function."""

    SAME_NAME = (
        ("data", "audit", "chexkeras.data.audit.audit"),
        ("evaluation", "evaluate", "chexkeras.evaluation.evaluate"),
        ("inference", "score_folder", "chexkeras.inference.score_folder"),
        ("plots", "shortcuts", "chexkeras.plots.shortcuts"),
    )

    def test_a_public_name_is_the_function_in_every_order(self):
        steps = ["import {module}", "import chexkeras; chexkeras.{room}.{name}", "from chexkeras.{room} import {name}"]
        code = ["import sys"]
        for order in itertools.permutations(steps):
            code += [
                "for name in [name for name in sys.modules if name.startswith('chexkeras')]: del sys.modules[name]"
            ]
            for room, name, module in self.SAME_NAME:
                code += [step.format(room=room, name=name, module=module) for step in order]
                code += [f"assert callable({name}) and callable(chexkeras.{room}.{name}), {order!r}"]
        run("\n".join(code))

    def test_every_public_name_is_what_its_stub_says_after_all_modules_were_imported(self):
        names = run("""
            import importlib, pkgutil, sys
            import chexkeras
            from chexkeras import _lazy
            for module in pkgutil.walk_packages(chexkeras.__path__, "chexkeras."):
                if not module.name.endswith("__main__"):
                    importlib.import_module(module.name)
            for room in _lazy.ROOMS:
                for name in _lazy.stub_names(room):
                    if type(getattr(getattr(chexkeras, room), name)) is type(sys):
                        print(room, name)
        """)
        assert names == "recipes presets"

    def test_statistics_start_without_tensorflow(self):
        code = "import sys, chexkeras as cx; cx.evaluation.fleiss_kappa, cx.compare, cx.plots.roc, cx.read_dicom"
        assert run(f"{code}; print('keras' in sys.modules or 'tensorflow' in sys.modules)") == "False"


SCRIPT = """
import chexkeras as cx

table = cx.audit(cx.load_nih("images")).table
splits = cx.split_by_patient(table, "Pneumonia", seed=0)
run = cx.train(cx.preset("two-stage"), splits, "runs/pneumonia")
cx.plots.roc(run.scores("test"), run.evaluation)
point = cx.choose_threshold(run.scores("validation"), rule="youden")
low: float = cx.evaluate(run.scores("test"), [point])["Pneumonia"].auroc.low
results = cx.Predictor.load(run).predict(["chest.dcm"])
cx.evaluation.fleiss_kappa
cx.write_report(run, "report.md")
"""
WRONG = {
    "cx.split_by_patiant(table, 'Pneumonia')\n": "split_by_patiant",
    "cx.train(cx.preset('two-stage'), splits, 'runs/x', wrong=1)\n": "wrong",
    "cx.evaluation.fleis_kappa\n": "fleis_kappa",
}


class TestTypeCheckers:
    @pytest.fixture(scope="class")
    def script(self, tmp_path_factory):
        script = tmp_path_factory.mktemp("typed") / "script.py"
        script.write_text(SCRIPT + "".join(WRONG))
        return script

    def reported(self, output):
        return {
            int(line.split(":")[1]): line for line in output.splitlines() if "script.py:" in line and "error" in line
        }

    def check(self, reported):
        first = len(SCRIPT.splitlines()) + 1
        assert sorted(reported) == list(range(first, first + len(WRONG))), reported
        for line, word in zip(sorted(reported), WRONG.values(), strict=True):
            assert word in reported[line]

    def test_mypy_reports_what_is_wrong_and_nothing_else(self, script, monkeypatch):
        from mypy import api

        monkeypatch.setenv("MYPYPATH", str(ROOT))
        output, _, _ = api.run(
            ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent",
             f"--cache-dir={ROOT / '.mypy_cache'}", str(script)]
        )  # fmt: skip
        self.check(self.reported(output))

    @pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
    def test_pyright_reports_what_is_wrong_and_nothing_else(self, script):
        command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(script)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.check(self.reported(done.stdout))


@pytest.mark.skipif(importlib.util.find_spec("jedi") is None, reason="jedi is not installed")
def test_an_editor_shows_the_signature_of_train():
    import jedi

    script = jedi.Script("import chexkeras as cx\ncx.train(", project=jedi.Project(ROOT))
    (signature,) = script.get_signatures()
    assert signature.to_string().startswith("train(recipe")
