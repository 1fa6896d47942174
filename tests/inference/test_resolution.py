import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.resolution import source_resolution
from chexkeras.dicom.profiles import CLINICAL
from chexkeras.dicom.workers.options import IN_PROCESS
from chexkeras.inference.predictor import Predictor
from chexkeras.results import SourceResolution
from chexkeras.results.resolution import ENOUGH, SHARES, TOLERANCE
from tests.inference.test_predictor import wrap

REFUSING = dataclasses.replace(CLINICAL, name="refusing", overrides=(("unlike_resolution", "reject"),))


def pixels(side, seed=0):
    noise = np.random.default_rng(seed).normal(0, 20, (side, side + 8))
    slope = np.add.outer(np.linspace(0, 128, side), np.linspace(0, 127, side + 8))
    return np.clip(slope + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes")
    sides = [60, 60, 80, 80, 80, 100]
    paths = []
    for number, side in enumerate(sides):
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels(side, number)).save(paths[-1])
    return folder, [str(path) for path in paths]


def test_sizes_come_from_headers_and_spacings_from_dicom_alone(files):
    folder, paths = files
    wrapped = wrap(folder / "a.dcm", pixels(90), PixelSpacing=[0.2, 0.2])
    torn = folder / "torn.png"
    torn.write_bytes(b"no image")
    table = pd.DataFrame({"path": [*paths, str(wrapped), str(torn), "", str(folder / "absent.png")]})
    found = source_resolution(table, 32)
    assert found.n_images == 7 and found.n_spacings == 1
    sides = [60, 60, 80, 80, 80, 90, 100]
    np.testing.assert_allclose(found.short_side_px, np.quantile(sides, SHARES))
    assert set(found.spacing_mm) == {0.2}
    assert source_resolution(table.iloc[7:], 32) is None
    assert source_resolution(pd.DataFrame({"image_id": ["a"]}), 32) is None
    assert SourceResolution.from_dict(found.to_dict()) == found
    assert "98 % of 7 images" in str(found)


def test_outside_by_hand():
    assert str(SourceResolution(32, 10, (80.0,) * len(SHARES))) == "shorter side 80 px (98 % of 10 images)"
    learnt = SourceResolution(32, 10, (80.0,) * len(SHARES), 10, (0.2,) * len(SHARES))
    assert str(learnt).endswith("; pixel spacing 0.2 mm (10 files)")
    assert learnt.sides_px == (80 / TOLERANCE, 80 * TOLERANCE)
    assert not learnt.outside(80, 90) and not learnt.outside(100, 400, 0.24)
    assert "shorter side 101 px" in learnt.outside(101, 200)
    assert "shorter side 63 px" in learnt.outside(200, 63)
    assert "pixel spacing 0.26 mm" in learnt.outside(80, 80, 0.26)
    assert not learnt.outside(80, 80, math.nan)
    # All that is finer is averaged away.
    large = dataclasses.replace(learnt, short_side_px=(32.0 * ENOUGH,) * len(SHARES))
    assert not large.outside(3000, 3000) and large.outside(90, 90)


def test_a_run_records_it_and_predict_tells(toy_run, tmp_path):
    learnt = toy_run.resolution
    assert learnt.image_size == 32 and set(learnt.short_side_px) == {48.0} and not learnt.spacing_mm
    assert Predictor.load(toy_run).resolution == learnt
    # As if it had learnt from larger images, which a larger model reduces less: the gate refuses those of 48 pixels.
    larger = dataclasses.replace(learnt, image_size=128, short_side_px=(300.0,) * len(SHARES))
    Image.fromarray(pixels(300)).save(tmp_path / "same.png")
    Image.fromarray(pixels(600)).save(tmp_path / "larger.png")
    wrap(tmp_path / "larger.dcm", pixels(600))
    paths = [tmp_path / name for name in ("same.png", "larger.png", "larger.dcm")]
    model, points = toy_run.load_model(), toy_run.operating_points
    predictor = Predictor(model, points, resolution=larger)
    found = predictor.predict(paths, read_options=IN_PROCESS)
    assert found["code"].str.contains("unlike_resolution").tolist() == [False, True, True]
    refused = Predictor(model, points, REFUSING, resolution=larger).predict(paths, read_options=IN_PROCESS)
    assert refused["verdict"].tolist() == ["warn", "reject", "reject"]
    assert "shorter side 600 px, of the training images 300" in refused["detail"].iloc[1]
    course = Predictor(model, points, "course", resolution=larger).predict(paths, read_options=IN_PROCESS)
    assert not course["code"].str.contains("unlike_resolution").any()
    # The course's profile refuses the DICOM file, for what its header lacks.
    np.testing.assert_array_equal(found["score"][:2], course["score"][:2])
    assert predictor.fingerprint != Predictor(model, points).fingerprint


def test_a_run_of_before_tells_of_nothing(toy_run, tmp_path):
    import json
    import shutil

    from chexkeras.runs.run import Run

    folder = shutil.copytree(toy_run.folder, tmp_path / "old")
    record = json.loads((folder / "provenance.json").read_text())
    del record["resolution"]
    (folder / "provenance.json").write_text(json.dumps(record))
    run = Run.load(folder)
    assert run.resolution is None
    Image.fromarray(pixels(300)).save(tmp_path / "larger.png")
    told = Predictor.load(run).predict([tmp_path / "larger.png"], read_options=IN_PROCESS)
    assert not told["code"].str.contains("unlike_resolution").any()
    record["resolution"] = {"image_size": 32, "n_images": 5, "short_side_px": [3, 2, 1]}
    (folder / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="short_side_px"):
        Run.load(folder).resolution  # noqa: B018
