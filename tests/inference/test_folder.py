import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.inference.folder import score_folder
from chexkeras.training.run import Run

pytestmark = pytest.mark.keras


@pytest.fixture
def run(toy_run, tmp_path):
    """A copy of the toy run, since results are written into it."""
    return Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "films"
    (folder / "inner").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (300, 280), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "inner" / "film.png")
    (folder / "broken.dcm").write_bytes(b"")
    return folder


def test_results_name_files_relative_to_the_folder_and_stay_with_the_run(run, folder):
    assert run.dicom_results is None
    results = score_folder(run, folder)
    assert results["file"].tolist() == ["broken.dcm", "inner/film.png"]
    assert results["decision"].isin(["positive", "negative"]).tolist() == [False, True]
    kept = run.dicom_results
    assert kept["file"].tolist() == results["file"].tolist()
    assert pd.to_numeric(kept["score"])[1] == pytest.approx(results["score"][1])


def test_a_run_that_is_not_to_change_does_not(run, folder):
    before = sorted(path.name for path in run.folder.iterdir())
    assert len(score_folder(run, folder, keep=False)) == 2
    assert sorted(path.name for path in run.folder.iterdir()) == before
