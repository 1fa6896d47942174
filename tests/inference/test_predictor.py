import contextlib
import dataclasses
import io
import itertools
import os
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras import files
from chexkeras.data.pixels import to_model_pixels
from chexkeras.dicom.read import read_image
from chexkeras.dicom.workers.options import IN_PROCESS, ReadOptions
from chexkeras.inference.engines import Engine
from chexkeras.inference.predictor import Predictor
from chexkeras.inference.read_files import find_files, read_file, read_files
from chexkeras.inference.results_file import COLUMNS
from chexkeras.parallel import WorkersUnavailable
from chexkeras.runs.run import Run
from chexkeras.runs.writer import REPLACED, accept_model
from tests.dicom.workers.worker_faults import FAULTY, SECONDS, end_what_hangs

pytestmark = pytest.mark.keras


def wrap(path, pixels, **tags):
    """Writes gray pixels as a digital radiograph."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    dataset.PatientName, dataset.PatientID, dataset.StudyDescription = "CANARY^NAME", "CANARYID", "CANARY TEXT"
    dataset.PresentationIntentType, dataset.Modality = "FOR PRESENTATION", "DX"
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.PatientAge = "CHEST", "PA", "050Y"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).normal(0, 20, (300, 280))
    return np.clip(np.add.outer(np.linspace(0, 128, 300), np.linspace(0, 127, 280)) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def predictor(toy_run):
    loaded = Predictor.load(toy_run)
    # The toy run learnt from far smaller images, which every file here would be told for.
    loaded.resolution = None
    return loaded


@pytest.fixture
def folder(tmp_path, image):
    wrap(tmp_path / "a_good.dcm", image)
    Image.fromarray(image).save(tmp_path / "b_same.png")
    wrap(tmp_path / "c_ct.dcm", image, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    (tmp_path / "d_page.dcm").write_text("<html>not found</html>")
    buffer = io.BytesIO()
    wrap(buffer, image)
    (tmp_path / "e_cut.dcm").write_bytes(buffer.getvalue()[:-4000])
    (tmp_path / "f_empty.dcm").write_bytes(b"")
    return tmp_path


def test_one_row_per_file_and_no_file_stops_the_folder(predictor, folder):
    results = predictor.predict(find_files(folder))
    assert list(results.columns) == list(COLUMNS)
    assert results["verdict"].tolist() == ["accept", "warn", "reject", "reject", "reject", "reject"]
    assert results.loc[2:, "detail"].str.len().min() > 10
    assert (results.loc[2:, "decision"] == "").all()
    assert results.loc[2:, "score"].isna().all()


def test_a_image_wrapped_as_dicom_gets_the_pixels_of_its_png_bit_for_bit_and_its_score(predictor, folder):
    wrapped, plain = (predictor.model_pixels(read_image(path).pixels) for path in find_files(folder)[:2])
    np.testing.assert_array_equal(wrapped, plain)
    results = predictor.predict(find_files(folder), read_options=IN_PROCESS)
    # Rows of one batch: their sums may be taken in another order.
    assert results.loc[0, "score"] == pytest.approx(results.loc[1, "score"], abs=1e-6)


@pytest.mark.realdata
def test_real_images_wrapped_as_dicom_give_the_pixels_that_training_reads_bit_for_bit(predictor, tmp_path):
    from chexkeras.data.pixels import read_image as read_for_training

    root = os.environ.get("CHEXKERAS_TEST_DATA")
    if not root or not (Path(root) / "nih" / "images_1024").is_dir():
        pytest.skip("set CHEXKERAS_TEST_DATA to a folder with nih/images_1024")
    for png in sorted((Path(root) / "nih" / "images_1024").rglob("*.png"))[:12]:
        # As the course's images are: 8 bits, the view in PatientPosition.
        gray = np.asarray(Image.open(png).convert("L"))
        tags = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "PatientPosition": "PA"}
        wrapped = wrap(tmp_path / "image.dcm", gray, **tags)
        trained_on = read_for_training(str(png), 224).numpy()
        for path, profile in ((wrapped, "clinical"), (wrapped, "course"), (png, "clinical")):
            image = read_image(path, profile)
            np.testing.assert_array_equal(image.pixels, gray)
            found = to_model_pixels(image.pixels[..., np.newaxis], 224).numpy()
            np.testing.assert_array_equal(found, trained_on)
        np.testing.assert_array_equal(predictor.model_pixels(gray), read_for_training(str(png), 32).numpy())


def test_decision_follows_the_frozen_threshold(predictor, folder, toy_run):
    (point,) = toy_run.operating_points
    row = predictor.predict(find_files(folder), read_options=IN_PROCESS).iloc[0]
    assert row["threshold"] == point.threshold
    assert row["decision"] == ("positive" if row["score"] >= point.threshold else "negative")


def test_scores_do_not_depend_on_the_batch_nor_on_who_reads(predictor, folder):
    files = find_files(folder)
    many = predictor.predict(files, batch_size=16)
    one = predictor.predict(files, batch_size=1, read_options=IN_PROCESS)
    np.testing.assert_allclose(one["score"], many["score"], atol=1e-6)
    columns = ["file", "verdict", "code", "detail", "view", "age_years", "decision", "decoder", "profile", "key"]
    pd.testing.assert_frame_equal(one[columns], many[columns])


def test_a_image_that_takes_its_worker_down_is_one_row_of_many(toy_run, folder, monkeypatch):
    end_what_hangs(monkeypatch)
    for fault in ("segfault", "sleep"):
        shutil.copy(folder / "a_good.dcm", folder / fault)
    read_options = ReadOptions(workers=1, seconds=SECONDS)
    predictor = Predictor(toy_run.load_model(), toy_run.operating_points, FAULTY)
    results = predictor.predict(find_files(folder), read_options=read_options)
    assert results["verdict"].tolist() == ["accept", "warn", *["reject"] * 6]
    assert results["code"].tolist()[-2:] == ["decoder_crash", "decoder_limit"]


def test_results_come_out_where_most_files_are_refused(predictor, tmp_path):
    (tmp_path / "page").write_text("<html>")
    # Endless: a batch that waited for accepted images would never come.
    records = predictor.records(itertools.repeat(tmp_path / "page"), batch_size=2, read_options=IN_PROCESS)
    assert [next(records)["code"] for _ in range(20)] == ["not_dicom"] * 20
    records.close()


def test_the_fingerprint_changes_with_whatever_a_result_depends_on(toy_run):
    (point,) = toy_run.operating_points
    first = Predictor.load(toy_run)
    assert first.fingerprint == Predictor.load(toy_run).fingerprint
    assert len(first.fingerprint) == 16, "as in every results file written before"
    # Less than what an operating point shows of its threshold.
    moved = dataclasses.replace(point, threshold=point.threshold * (1 + 1e-9))
    other_threshold = Predictor(first.model, [moved], novelty=first.novelty)
    other_weights = toy_run.load_model()
    other_weights.set_weights([weight * 1.01 for weight in other_weights.get_weights()])
    others = [
        Predictor.load(toy_run, "course"),
        other_threshold,
        Predictor(other_weights, [point], novelty=first.novelty),
    ]
    assert len({predictor.fingerprint for predictor in (first, *others)}) == 4


def test_results_repeat_no_patient_text(predictor, folder):
    assert "CANARY" not in predictor.predict(find_files(folder), read_options=IN_PROCESS).to_csv()


def test_whatever_a_decoder_raises_becomes_a_refusal(folder, caplog):
    def broken(_):
        raise RuntimeError("CANARY in a decoder's message")

    outcome = read_file(folder / "a_good.dcm", broken)
    assert (outcome.verdict, outcome.code) == ("reject", "unreadable")
    assert "CANARY" not in outcome.detail + caplog.text


def test_images_are_converted_as_they_are_read_and_what_goes_wrong_then_is_a_refusal(folder):
    def halved(image):
        if image.pixels.shape != (300, 280):
            raise RuntimeError("CANARY")
        return dataclasses.replace(image, pixels=image.pixels[::2, ::2])

    Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).save(folder / "a_other.png")
    paths = [folder / "a_good.dcm", folder / "a_other.png", folder / "d_page.dcm"]
    good, other, page = read_files(paths, read_options=IN_PROCESS, convert=halved)
    assert good.image.pixels.shape == (150, 140)
    assert (other.code, other.detail, page.code) == ("unreadable", "reading failed (RuntimeError)", "not_dicom")


def test_so_many_files_are_read_ahead_and_no_more(folder):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield folder / "a_good.dcm"

    outcomes = read_files(endless(), read_options=IN_PROCESS, ahead=20)
    for number in range(1, 4):
        assert next(outcomes).verdict == "accept"
        assert len(asked) == 20 + number
    outcomes.close()


def test_folder_walk_takes_every_file_follows_no_link_and_says_so(tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "noextension").write_text("x")
    (tmp_path / "in" / ".hidden").write_text("x")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "in" / "link.dcm").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "in" / "pipe")
    (tmp_path / "in" / ".hidden.dcm").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / ".folder").mkdir()
    (tmp_path / "in" / ".folder" / "image.dcm").write_text("x")
    assert [path.name for path in find_files(tmp_path / "in")] == ["noextension"]
    left_out = "left out 3 entries that are no files (links, pipes) and 3 hidden files or folders\n"
    assert capsys.readouterr().err == left_out
    assert [path.name for path in find_files(tmp_path / "in" / "deep")] == ["noextension"]
    assert capsys.readouterr().err == ""


def test_a_folder_of_links_alone_says_why_it_has_no_file(tmp_path, capsys):
    (tmp_path / "DOE_JANE.dcm").symlink_to(tmp_path.parent)
    with pytest.raises(ValueError, match="no file in"):
        find_files(tmp_path)
    assert capsys.readouterr().err == "left out 1 entry that is no file (links, pipes)\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_refused_and_not_passed_over(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert find_files(tmp_path) == [closed]
    assert read_file(closed).code == "unreadable"


def test_a_folder_that_goes_wrong_is_refused_and_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "image").write_text("x")
    (tmp_path / "network").mkdir()
    scandir = os.scandir

    def failing(path):
        if os.path.basename(path) == "network":
            raise OSError(5, "Input/output error", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    assert find_files(tmp_path) == [tmp_path / "image", tmp_path / "network"]
    assert read_file(tmp_path / "network").code == "unreadable"


@pytest.fixture
def make_deep(tmp_path):
    """Makes folders in folders, with a file in the deepest: ``make_deep(name, levels)``; returns the outermost."""
    made = []

    def make(name, levels):
        made.append((name, levels))
        with contextlib.chdir(tmp_path):
            for _ in range(levels):
                os.mkdir(name)
                os.chdir(name)
            Path("image").write_text("x")
        return tmp_path / name

    yield make
    # Step by step, since no path leads so deep, and pytest's own removal would call itself too often.
    for name, levels in made:
        with contextlib.chdir(tmp_path):
            for _ in range(levels):
                os.chdir(name)
            for _ in range(levels):
                Path("image").unlink(missing_ok=True)
                os.chdir("..")
                os.rmdir(name)


def test_a_tree_deeper_than_a_path_can_say_is_read_as_far_as_it_goes_and_what_is_below_is_named(make_deep, predictor):
    top = make_deep("d" * 200, 25)
    (top / "image").write_text("x")
    image, below = sorted(find_files(top), key=lambda path: len(str(path)))
    assert image == top / "image"
    # The first folder that cannot be opened; what lies in it has no name.
    longest = os.pathconf(top, "PC_PATH_MAX")
    assert len(str(below.parent)) < longest <= len(str(below)) + 1
    for options in (IN_PROCESS, ReadOptions(workers=1)):
        results = predictor.predict([image, below], read_options=options)
        assert results["code"].tolist() == ["not_dicom", "unreadable"]
        assert "a path that the system takes; this one is too long: move what lies there" in results["detail"][1]
    assert read_file(below.parent / ("x" * 300)).detail == results["detail"][1]


def test_a_tree_deeper_than_python_calls_itself_is_read(make_deep):
    top = make_deep("d", 1200)
    assert [path.name for path in find_files(top)] == ["image"]


def test_a_folder_without_permission_says_so(tmp_path, monkeypatch):
    outcome = read_file(tmp_path, lambda _: pytest.fail("read"))
    assert outcome.detail == "unreadable: file: expected a file, not a folder"

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", closed)
    outcome = read_file(tmp_path, lambda _: pytest.fail("read"))
    assert outcome.detail == "unreadable: file: expected a folder that may be read (PermissionError)"
    with pytest.raises(PermissionError, match=r"folder: .* cannot be read \(Permission denied\); ask for permission"):
        find_files(tmp_path)


def test_threads_that_cannot_be_started_are_told_and_blame_no_file(folder, monkeypatch):
    def full(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("chexkeras.parallel.local.ThreadPoolExecutor.submit", full)
    with pytest.raises(WorkersUnavailable, match="a thread that works on images did not start"):
        list(read_files([folder / "a_good.dcm"], read_options=IN_PROCESS))


def test_empty_and_missing_folders_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no file in"):
        find_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_files(tmp_path / "nowhere")


def test_what_would_refuse_every_file_or_none_is_an_error_at_once(predictor, folder, toy_run):
    with pytest.raises(ValueError, match="did you mean 'course'"):
        Predictor.load(toy_run, "corse")
    with pytest.raises(ValueError, match=r"is a folder; give its files"):
        predictor.predict(folder)
    with pytest.raises(TypeError, match=r"paths=3 must be a path or bytes or an array or a list, each a path"):
        predictor.predict(3)
    with pytest.raises(ValueError, match="batch_size=0"):
        predictor.predict(find_files(folder), batch_size=0)
    with pytest.raises(TypeError, match="but holds None"):
        predictor.predict([folder / "a_good.dcm", None])
    with pytest.raises(TypeError, match="but holds 3, an int"):
        next(predictor.records([3], read_options=IN_PROCESS))
    assert list(predictor.predict([]).columns) == list(COLUMNS)


def test_one_path_is_a_list_of_it(predictor, folder):
    one, listed = (predictor.predict(given) for given in (str(folder / "a_good.dcm"), [folder / "a_good.dcm"]))
    columns = [column for column in COLUMNS if column != "seconds"]
    assert len(one) == 1 and one[columns].equals(listed[columns])


def test_images_are_scored_in_batches_of_the_size_given(predictor, image):
    images = [np.roll(image, 31 * number, axis=1) for number in range(5)]
    alone = np.concatenate([predictor.score([one]) for one in images])
    assert alone.shape == (5, 1) and len(np.unique(alone)) > 1
    for batch_size in (1, 2, 4, 5, 16, None):
        np.testing.assert_allclose(predictor.score(images, batch_size), alone, atol=1e-6)
    assert predictor.score([]).shape == predictor.score([], 16).shape == (0, 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([None], "images must be a list, each an array, but holds None"),
        ([np.zeros((9, 9, 1), np.uint8)], r"given as uint8 array \(9, 9, 1\)"),
        ([np.zeros((9, 9))], r"given as float64 array \(9, 9\)"),
        (np.zeros((9, 9), np.uint8), "images must be a list, each an array, not a ndarray"),
    ],
)
def test_what_is_no_image_is_named(predictor, images, message):
    with pytest.raises(TypeError, match=message):
        predictor.score(images)
    with pytest.raises(ValueError, match="batch_size=0"):
        predictor.score([np.zeros((8, 8), np.uint8)], 0)


def test_a_profile_of_ones_own_is_named_in_the_results(toy_run, folder):
    from chexkeras.dicom.profiles import CLINICAL

    elderly = dataclasses.replace(CLINICAL, name="60 and over", minimum_age_years=60)
    results = Predictor.load(toy_run, elderly).predict([folder / "a_good.dcm"], read_options=IN_PROCESS)
    assert results[["verdict", "code", "profile"]].iloc[0].tolist() == ["reject", "age", "60 and over"]


def test_a_score_at_the_threshold_is_positive(toy_run, folder, monkeypatch):
    (point,) = toy_run.operating_points
    model, score = toy_run.load_model(), float(np.float32(0.3))
    monkeypatch.setattr(Predictor, "_score", lambda _, pixels, batch_size: np.full((len(pixels), 1), score))
    for threshold, decision in ((score, "positive"), (np.nextafter(score, 1.0), "negative")):
        predictor = Predictor(model, [dataclasses.replace(point, threshold=float(threshold))])
        assert predictor.predict([folder / "a_good.dcm"], read_options=IN_PROCESS)["decision"].iloc[0] == decision


def test_a_folder_below_the_home_folder_can_be_scored(toy_run, folder, monkeypatch):
    from chexkeras.inference.score_folder import score_folder

    monkeypatch.setenv("HOME", str(folder.parent))
    results = score_folder(toy_run, f"~/{folder.name}", keep=False, read_options=IN_PROCESS)
    assert results["file"].iloc[0] == "a_good.dcm"


def test_a_model_file_that_holds_code_is_refused_and_none_of_it_runs(toy_run, tmp_path):
    run = Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))
    pixels = keras.Input((32, 32, 1))
    scores = keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.Lambda(lambda values: values * 2)(pixels)))
    keras.Model(pixels, scores).save(run.folder / "model.keras")
    accept_model(run.folder)
    with pytest.raises(ValueError, match=r"'model\.keras' is not opened: it names the class keras\.layers\.Lambda"):
        Predictor.load(run.folder)


def test_another_model_in_the_place_of_the_trained_one_is_noticed(toy_run, tmp_path, capsys):
    run = Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))
    before = run.provenance
    other = toy_run.load_model()
    other.set_weights([weight * 0.5 for weight in other.get_weights()])
    other.save(run.folder / "model.keras")
    with pytest.raises(
        ValueError, match=r"model\.keras of the run 'run' is not the file that was trained: .*accept_model"
    ):
        Predictor.load(run)
    run.accept_model()
    again = Run.load(run.folder)
    assert Predictor.load(again).model.count_params() == other.count_params()
    # What was measured stays that of the model before, and says so.
    assert again.cautions == (*before["cautions"], REPLACED)
    assert again.provenance["model"]["sha256"] == before["model"]["sha256"]
    assert capsys.readouterr().err == ""


def test_a_run_without_a_fingerprint_of_its_model_is_scored_with_a_word(toy_run, tmp_path, capsys):
    run = Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))
    record = {**run.provenance, "model": {"name": "toy"}}
    files.write_json(run.folder / "provenance.json", record)
    assert Predictor.load(run.folder).points == run.operating_points
    assert "no fingerprint was recorded when it was trained" in capsys.readouterr().err


def test_a_damaged_model_file_is_named_as_such(toy_run, tmp_path):
    run = Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))
    model = run.folder / "model.keras"
    whole = model.read_bytes()
    flipped = bytearray(whole)
    with zipfile.ZipFile(model) as archive:
        weights = archive.getinfo("model.weights.h5")
    flipped[weights.header_offset + 100 + weights.compress_size // 2] ^= 0xFF
    for damaged in (whole[: len(whole) // 2], b"", bytes(flipped)):
        model.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"model\.keras .* replaced, changed or damaged, .* Copy the run once more"
        ):
            Predictor.load(run)
    files.write_json(run.folder / "provenance.json", {**run.provenance, "model": {}})
    for damaged in (whole[: len(whole) // 2], b"", bytes(flipped)):
        model.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"it is damaged: it is no whole file of Keras\. Copy it once more"):
            Predictor.load(run.folder)
    model.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.keras"):
        Predictor.load(run)


def test_a_model_without_its_points_is_refused(predictor):
    with pytest.raises(ValueError, match="one per output"):
        Predictor(predictor.model, [])


@pytest.mark.parametrize("score", [np.nan, np.inf, -0.5, 1.5])
def test_a_score_that_is_no_probability_is_an_error_and_no_decision(toy_run, folder, image, score):
    points = toy_run.operating_points
    model = toy_run.load_model()
    broken = Engine(
        "keras", "0", "float32", 0.0, lambda pixels, _: np.full((len(pixels), len(points)), score, np.float32)
    )
    predictor = Predictor(model, points, engine=broken)
    with pytest.raises(ValueError, match=r"score .* probabilities, 0 to 1"):
        predictor.predict([folder / "a_good.dcm"], read_options=IN_PROCESS)
    with pytest.raises(ValueError, match=r"score .* probabilities, 0 to 1"):
        predictor.score([image])


def _network(*, shape=(32, 32, 1), inputs=1, outputs=1, is_map=False):
    taken = [keras.Input(shape) for _ in range(inputs)]
    pooled = taken[0] if is_map else keras.layers.GlobalAveragePooling2D()(taken[-1])
    given = [keras.layers.Dense(1, "sigmoid")(pooled) for _ in range(outputs)]
    return keras.Model(taken if inputs > 1 else taken[0], given if outputs > 1 else given[0])


@pytest.mark.parametrize(
    "odd",
    [{"shape": (None, None, 1)}, {"shape": (32, 48, 1)}, {"shape": (32, 32, 4)}, {"inputs": 2}, {"outputs": 2},
     {"is_map": True}],
)  # fmt: skip
def test_a_model_of_another_shape_than_a_classifier_is_named(toy_run, odd):
    Predictor(_network(), toy_run.operating_points)
    with pytest.raises(ValueError, match=r"the model takes .* was expected"):
        Predictor(_network(**odd), toy_run.operating_points)
