"""Work on a Ray cluster of two nodes on this machine: what comes out is what comes out without it."""

import contextlib
import importlib.util
import itertools
import os
import shutil
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

import chexkeras as cx
from chexkeras.data import prepare
from chexkeras.parallel import HERE, WorkersUnavailable, Workplace, map_ordered, place_of
from tests.parallel.ray_cluster import ENVIRONMENT, TwoNodes

# Not imported here: Ray reads the variables below when it is.
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="Ray has no clusters on Windows"),
]


@pytest.fixture(scope="module", autouse=True)
def surroundings():
    """What this program and the cluster must agree on."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    os.environ.pop("RAY_ADDRESS", None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def cluster(surroundings):
    nodes = TwoNodes()
    yield Workplace("ray", nodes.address)
    nodes.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A table of PNG and DICOM files with some that cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    phantoms = cx.make_phantoms(folder / "phantoms", images=24, size=256, processes=1)
    paths = sorted((phantoms / "images").glob("*.png")) + sorted((phantoms / "dicom").glob("*.dcm"))
    shutil.copy(paths[0], folder / "same.png")
    (folder / "cut.png").write_bytes(paths[1].read_bytes()[:2000])
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(folder / "black.png")
    paths += [folder / name for name in ("same.png", "cut.png", "black.png", "absent.png")]
    table = folder / "labels.csv"
    table.write_text("file,edema\n" + "".join(f"{path},{row % 2}\n" for row, path in enumerate(paths)))
    return cx.data.load_table(table, image_column="file", label_columns="edema", missing="keep")


def where_it_is_done(number, state):
    if number == 7:
        raise ValueError("seven is not wanted")
    return number * number, state, os.getpid()


def ready(word):
    return f"{word} {os.getpid()}"


def test_results_come_in_order_from_workers_that_were_set_up_once(cluster, capfd):
    found = []
    results = map_ordered(where_it_is_done, range(20), setup=partial(ready, "set up"), executor=cluster)
    with pytest.raises(ValueError, match="seven is not wanted") as raised:
        found.extend(results)
    assert [square for square, _, _ in found] == [0, 1, 4, 9, 16, 25, 36]
    assert all(state == f"set up {process}" and process != os.getpid() for _, state, process in found)
    assert "in where_it_is_done" in "".join(raised.value.__notes__)
    # One line of ours, and none of Ray's.
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1) and "has 2 processors on 2 nodes" in err


@pytest.mark.keras
def test_images_are_looked_over_and_stored_as_without_a_cluster(cluster, images, tmp_path):
    own, other = (cx.data.audit(images, missing="skip", executor=place) for place in ("processes", cluster))
    assert own.to_dict() == other.to_dict() and {"unreadable", "duplicate_pixels"} <= set(own.issues["code"])
    stores = [
        prepare(images, tmp_path / name, size=64, missing="skip", executor=place)
        for name, place in (("own", "processes"), ("other", cluster), ("serial", "serial"))
    ]
    bytes_of = [{path.name: path.read_bytes() for path in store.folder.iterdir()} for store in stores]
    assert bytes_of[0] == bytes_of[1] == bytes_of[2] and len(bytes_of[0]) == 3


@pytest.mark.keras
@pytest.mark.release
def test_what_is_frozen_is_stored_as_without_a_cluster(cluster, tmp_path):
    from chexkeras.models.classifier import build_classifier
    from chexkeras.training.frozen.plan import plan_features
    from chexkeras.training.frozen.shelves import Shelves

    phantoms = cx.make_phantoms(tmp_path / "phantoms", images=30, size=64, processes=1, dicom=False)
    table = cx.load_nih(phantoms)
    store = prepare(table, tmp_path / "store", size=32)
    model = build_classifier("Cardiomegaly", weights=None, image_size=32)
    recipe = cx.preset("quick").replace(image_size=32, augment=cx.data.Augmentation(flip=True))
    found = []
    for name, place, images in (("own", HERE, None), ("files", cluster, None), ("store", cluster, store)):
        with Shelves(tmp_path / name) as shelves:
            # 22 images in batches of 8: the last one is smaller.
            plan = plan_features(model, recipe, table[:22], table[22:], shelves, store=images)
            plan.fill(8, place)
        values = [path for path in sorted((tmp_path / name).rglob("*")) if path.name == "values.bin"]
        found.append({path.relative_to(tmp_path / name): path.read_bytes() for path in values})
    assert found[0] == found[1] == found[2] and all(map(len, found[0].values()))


def test_what_a_cluster_cannot_compute_is_refused_before_anything_else():
    from chexkeras.training.frozen.place import place_of_features

    given = {"features": "auto", "engine": "keras", "shared": False}
    for change in ({"features": "off"}, {"engine": "openvino"}, {"shared": True}):
        with pytest.raises(ValueError, match="computes what is frozen, once and with Keras"):
            place_of_features("ray", **{**given, **change})
    assert place_of_features("ray", **given).on_cluster and not place_of_features("serial", **given).on_cluster


def slowly(number):
    import time

    # Long enough that both nodes have something in hand when one of them is killed.
    time.sleep(0.2)
    return number, os.getpid()


@pytest.mark.release
def test_a_node_that_is_killed_costs_no_result(capfd):
    nodes, found, killed_after = TwoNodes(), [], 0
    results = map_ordered(slowly, itertools.count(), executor=Workplace("ray", nodes.address))
    try:
        with contextlib.closing(results):
            for result in results:
                found.append(result)
                # However long the second worker takes to start, it has something in hand.
                if not killed_after and len({process for _, process in found}) == 2:
                    nodes.kill_one()
                    killed_after = len(found)
                elif killed_after and len(found) == killed_after + 30:
                    break
    finally:
        nodes.close()
    assert [number for number, _ in found] == list(range(killed_after + 30))
    assert len({process for _, process in found}) == 2
    # A line of ours, and nothing of Ray's among the results.
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 2) and "was lost; another one does what it had in hand" in err


@pytest.mark.release
def test_ray_that_was_started_for_the_work_ends_with_it(monkeypatch):
    import ray

    def interrupt(done):
        if done == 3:
            raise KeyboardInterrupt

    assert list(map_ordered(abs, range(-5, 0), executor="ray", workers=1)) == [5, 4, 3, 2, 1]
    assert not ray.is_initialized()
    with pytest.raises(KeyboardInterrupt):
        list(map_ordered(abs, range(100), executor="ray", workers=1, progress=interrupt))
    assert not ray.is_initialized()
    # One that the program has is used, and stays.
    ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=200_000_000)
    try:
        assert list(map_ordered(abs, [-1], executor="ray")) == [1]
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.keras
@pytest.mark.slow
def test_files_are_scored_as_without_a_cluster(cluster, images, tmp_path, monkeypatch):
    from chexkeras.inference import measure_robustness, score_folder

    monkeypatch.setenv("CHEXKERAS_HASH_KEY", "a key of the tests")
    phantoms = cx.make_phantoms(tmp_path / "training", images=120, size=64, processes=1, dicom=False,
                                prevalence={"Cardiomegaly": 0.3})  # fmt: skip
    recipe = cx.preset("quick")
    stages = tuple(cx.Stage(stage.name, epochs=1, learning_rate=1e-3, trainable=stage.trainable)
                   for stage in recipe.stages)  # fmt: skip
    splits = cx.split_by_patient(cx.load_nih(phantoms), "Cardiomegaly", seed=0)
    run = cx.train(recipe.replace(image_size=32, stages=stages), splits, tmp_path / "run")
    folder = os.path.dirname(images["path"][images["image_id"] == "black.png"].item())
    own, other = (
        score_folder(run, folder, keep=False, executor=place).drop(columns="seconds")
        for place in ("processes", cluster)
    )
    assert own.equals(other) and {"warn", "reject"} <= set(own["verdict"]) and own["score"].notna().any()
    changes = cx.data.perturbations_of("exposure")
    own, other = (
        measure_robustness(
            run, splits.table, perturbations=changes, batch_size=16, keep=False, executor=place
        ).to_dict()
        for place in ("processes", cluster)
    )
    # All but when it was measured, as text: what is not estimable is NaN, which equals nothing.
    assert repr({**own, "provenance": None}) == repr({**other, "provenance": None})
    with pytest.raises(WorkersUnavailable, match="would score with another model"):
        from chexkeras.dicom.profiles import find_profile
        from chexkeras.dicom.workers.options import ReadOptions
        from chexkeras.inference.on_cluster import Scoring, records_on

        scoring = Scoring(run.folder, find_profile("clinical"), "keras", "float32", "another")
        list(records_on(place_of(cluster), scoring, [images["path"].iloc[0]], ReadOptions()))
