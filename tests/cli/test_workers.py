"""``chexkeras train --workers``: what is refused before anything begins."""

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.cli.training import workers


def refused(tmp_path, *words, backend="jax"):
    given = ["train", "--data", str(tmp_path), "--run", str(tmp_path / "run"), *words]
    found = CliRunner().invoke(app, given, env={"KERAS_BACKEND": backend})
    assert found.exit_code == 2
    assert list(tmp_path.iterdir()) == []
    return found.stderr.replace("\n", " ")


@pytest.fixture
def with_jax(monkeypatch):
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda _: object())


def test_another_backend_is_refused_with_the_way_out(tmp_path, with_jax):
    assert "put KERAS_BACKEND=jax before the command" in refused(tmp_path, "--workers", "2", backend="tensorflow")


def test_without_jax_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda _: None)
    assert "pip install 'chexkeras[jax]'" in refused(tmp_path, "--workers", "2")


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_what_is_no_number_of_workers_is_refused(tmp_path, with_jax, number):
    assert "a number of at least 1 was expected" in refused(tmp_path, f"--workers={number}")


@pytest.mark.parametrize("words", [("--folds", "5"), ("--seeds", "3"), ("--draws", "4"), ("--features", "float16")])
def test_what_takes_one_process_is_refused(tmp_path, words):
    assert f"--workers cannot be had with {' '.join(words)}" in refused(tmp_path, "--workers", "2", *words)


def test_variables_of_a_launcher_that_are_missing_are_named(tmp_path, with_jax, monkeypatch):
    for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    assert "SLURM_PROCID, SLURM_NTASKS, SLURM_JOB_NODELIST are not set" in refused(tmp_path, "--workers", "slurm")


def test_more_workers_than_gpus_are_refused_and_processors_make_processes(tmp_path, with_jax, monkeypatch):
    monkeypatch.setattr(workers, "_ASK", "print('gpu', 4)")
    assert "--workers 8, and JAX sees 4 GPU device(s)" in refused(tmp_path, "--workers", "8")
    assert workers._devices_here(4)
    monkeypatch.setattr(workers, "_ASK", "print('cpu', 1)")
    assert not workers._devices_here(4)
    monkeypatch.setattr(workers, "_ASK", "raise SystemExit('no driver')")
    assert "JAX does not start here (no driver)" in refused(tmp_path, "--workers", "2")


def test_fewer_images_in_a_batch_than_workers_are_refused(tmp_path, with_jax, monkeypatch):
    monkeypatch.setattr(workers, "_ASK", "print('gpu', 8)")
    said = refused(tmp_path, "--workers", "8", "--set", "batch_size=4")
    assert "8 workers cannot share batches of 4 image(s)" in said
