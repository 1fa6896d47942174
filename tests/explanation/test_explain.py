"""Heat maps of a run: the edge of the library, its errors, augmentation, ensembles and files."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import chexkeras as cx
from chexkeras.explanation.heatmaps import Heatmaps, resized
from chexkeras.inference import TestTimeAugmentation
from chexkeras.runs.run import Run

# Toy images are smaller than what is read as a radiograph, and noisier.
SMALL = dataclasses.replace(
    cx.dicom.find_profile("clinical"), minimum_side_px=16, overrides=(("scrambled", "off"), ("low_contrast", "off"))
)


@pytest.fixture(scope="module")
def positives(toy_splits):
    return toy_splits.test[toy_splits.test["Effusion"] == 1].head(6)


def test_maps_find_the_square_that_makes_an_effusion(toy_run, positives):
    maps = cx.explain(toy_run, positives)
    assert (maps.findings, maps.method, maps.unit, len(maps)) == (("Effusion",), "gradcam", "relative", 6)
    # The square fills rows 24-39 and columns 4-19 of 48.
    for image in maps.images:
        heat = maps.of(image, shape=(48, 48))
        assert heat.shape == (48, 48)
        assert heat[24:40, 4:20].mean() > heat.mean()


def test_scores_are_those_of_the_run(toy_run, positives):
    maps = cx.explain(toy_run, positives, finding="Effusion", method="hirescam", batch_size=4)
    saved = toy_run.scores("test").set_index("image_id")["score"]
    for image in maps.images:
        assert maps.score(image) == pytest.approx(saved[image], abs=1e-5)


def test_files_and_the_table_give_the_same_maps(toy_run, positives):
    from_table = cx.explain(toy_run, positives)
    from_files = cx.explain(toy_run, positives["path"].tolist(), profile=SMALL)
    assert from_files.images == tuple(positives["image_id"]), from_files.cautions
    np.testing.assert_allclose(from_files.maps, from_table.maps, atol=1e-6)


def test_a_refused_file_has_no_map_and_is_counted(toy_run, positives, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    maps = cx.explain(toy_run, [positives["path"].iloc[0], tmp_path / "notes.txt"], profile=SMALL)
    assert len(maps) == 1
    assert "1 file(s) were refused and have no heat map: not_dicom 1." in maps.cautions
    with pytest.raises(ValueError, match="no image to explain: not_dicom"):
        cx.explain(toy_run, [tmp_path / "notes.txt"], profile=SMALL)


def test_augmented_maps_are_moved_back(toy_run, positives):
    """The mean of an image's map and of its mirror image's, mirrored, is the same for the mirror image, mirrored."""
    both = cx.explain(toy_run, positives, augmentation=TestTimeAugmentation(flip=True))
    alone = cx.explain(toy_run, positives)
    weights = TestTimeAugmentation(flip=True, weights=(1.0, 1e-9))
    nearly = cx.explain(toy_run, positives, augmentation=weights)
    np.testing.assert_allclose(nearly.maps, alone.maps, atol=1e-5)
    assert np.abs(both.maps - alone.maps).max() > 0
    turned = cx.explain(toy_run, positives, augmentation=TestTimeAugmentation(rotations_degrees=(10,)))
    assert turned.maps.shape[2:] == (32, 32)
    for image in turned.images:
        heat = turned.of(image, shape=(48, 48))
        assert heat[24:40, 4:20].mean() > heat.mean()


def test_an_ensemble_of_a_run_and_itself_gives_the_maps_of_the_run(toy_run, positives, tmp_path):
    import shutil

    shutil.copytree(toy_run.folder, tmp_path / "again")
    maps = cx.explain(cx.Ensemble.of([toy_run, tmp_path / "again"]), positives)
    np.testing.assert_allclose(maps.maps, cx.explain(toy_run, positives).maps, atol=1e-6)


def test_what_cannot_be_explained_is_said_before_anything_is_computed(toy_run, positives, monkeypatch):
    monkeypatch.setattr(Run, "load_model", lambda _: pytest.fail("the model was loaded"))
    for given, words in (
        ({"finding": "Mass"}, "finding='Mass': the run was trained for Effusion"),
        ({"method": "gradcan"}, "unknown method of heat maps; did you mean 'gradcam'"),
        ({"method": "occlusion", "layer": "block4_pool"}, "occlusion looks at no layer"),
        ({"batch_size": 0}, "batch_size=0"),
    ):
        with pytest.raises(ValueError, match="(?i)" + words.replace("?", ".")):
            cx.explain(toy_run, positives, **given)


def test_a_layer_without_rows_and_columns_is_named(toy_run, positives):
    with pytest.raises(ValueError, match="layer='head_pool' has no rows and columns of features"):
        cx.explain(toy_run, positives, layer="head_pool")
    with pytest.raises(ValueError, match=r"layer='blok4_pool' is not in the model; .*block4_pool"):
        cx.explain(toy_run, positives, layer="blok4_pool")
    with pytest.raises(ValueError, match="method='cam' is exact only where the scores are linear"):
        cx.explain(toy_run, positives, method="cam", layer="block3_pool")


def test_a_run_without_its_model_is_named(toy_run, positives, tmp_path):
    import shutil

    shutil.copytree(toy_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("model.keras"))
    with pytest.raises(FileNotFoundError, match=r"model\.keras"):
        cx.explain(tmp_path / "run", positives)


def test_one_path_and_repeated_images_are_refused(toy_run, positives):
    with pytest.raises(TypeError, match=r"images=.* must be a table .* or a list"):
        cx.explain(toy_run, positives["path"].iloc[0])
    with pytest.raises(ValueError, match="is there twice"):
        cx.explain(toy_run, [positives["path"].iloc[0]] * 2, profile=SMALL)


def _maps(values, scores=(0.8,)):
    array = np.asarray(values, np.float32)[:, np.newaxis]
    names = tuple(f"image{number}" for number in range(len(array)))
    scored = np.asarray(scores, np.float32)[:, np.newaxis]
    return Heatmaps(array, scored, names, ("Mass",), "gradcam", "layer", "relative", 40)


def test_peaks_become_marks_rated_by_the_score():
    maps = _maps([[[0, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0.5]], np.zeros((4, 4))], (0.8, 0.3))
    marks = maps.marks(image_px=400)
    assert marks[["image_id", "x_px", "y_px"]].head(2).to_numpy().tolist() == [
        ["image0", 150.0, 150.0], ["image0", 350.0, 250.0],
    ]  # fmt: skip
    np.testing.assert_allclose(marks["rating"], [0.8, 0.4, np.nan], rtol=1e-6)


def test_a_map_is_scaled_to_the_rows_and_columns_of_its_image():
    heat = np.array([[0, 4]], np.float32)
    assert resized(heat, (2, 4)).tolist() == [[0, 1, 3, 4], [0, 1, 3, 4]]
    maps = _maps([heat])
    assert maps.of("image0", shape=(20, 80)).shape == (20, 80)
    with pytest.raises(ValueError, match="image='image1' has no heat map"):
        maps.of("image1")
    with pytest.raises(ValueError, match="name one of them"):
        dataclasses.replace(maps, findings=("Mass", "Nodule"), maps=np.zeros((1, 2, 1, 2), np.float32),
                            scores=np.zeros((1, 2), np.float32)).of("image0")  # fmt: skip


def test_only_some_images(toy_run, positives):
    maps = cx.explain(toy_run, positives)
    some = maps.only(maps.images[3:1:-1])
    assert some.images == (maps.images[3], maps.images[2])
    np.testing.assert_array_equal(some.of(maps.images[2]), maps.of(maps.images[2]))
    assert isinstance(some, Heatmaps) and isinstance(positives, pd.DataFrame)
