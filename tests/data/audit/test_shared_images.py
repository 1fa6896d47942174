"""Images that two tables share: told by names, by a published mapping, by the patient, by pixels."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data import shared_images, shared_with_training
from chexkeras.data.audit.duplicates import TooAlike, near_duplicates, near_duplicates_between
from chexkeras.data.audit.shared_images import HOW, identities
from chexkeras.data.image_table import NIH_IMAGE, PHANTOM_FILE, ImageTable, TableSource


def table(images, patients=None, dataset="own table", **more):
    frame = pd.DataFrame({"image_id": images, "patient_id": patients or [f"p{image}" for image in images]})
    facts = {name: more.pop(name) for name in ("files", "synthetic") if name in more}
    made = ImageTable.of(frame.assign(**more))
    return made.with_source(TableSource(dataset, **facts))


def how(shared):
    return dict(zip(shared.rows["image_id"], shared.rows["how"], strict=True))


def written(folder, count, seed, names=None):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        grey = rng.integers(0, 255, (16, 16), dtype=np.uint8)
        path = folder / (names[number] if names else f"{number}.png")
        Image.fromarray(grey).resize((96, 96), Image.Resampling.BICUBIC).save(path)
        paths.append(str(path))
    return paths


def test_pairs_between_two_sets_are_those_of_one_set_put_together():
    rng = np.random.default_rng(0)
    one, two = rng.random((40, 16, 16)), rng.random((30, 16, 16))
    two[3], two[7], two[8] = one[5] * 0.8 + 0.1, one[0], one[0]
    found = near_duplicates_between(one, two)
    together = near_duplicates(np.concatenate([one, two]))
    across = together[(together["first"] < 40) & (together["second"] >= 40)]
    assert sorted(zip(found["first"], found["second"] + 40, strict=True)) == sorted(
        zip(across["first"], across["second"], strict=True)
    )
    assert found[["first", "second"]].values.tolist() == [[5, 3], [0, 7], [0, 8]]
    # Slowly: every pair's correlation.
    slow = [[i, j] for j in range(30) for i in range(40) if np.corrcoef(one[i].ravel(), two[j].ravel())[0, 1] >= 0.997]
    assert found[["first", "second"]].values.tolist() == slow


def test_two_sets_of_other_shapes_none_and_all_alike():
    rng = np.random.default_rng(1)
    one = rng.random((5, 16, 16))
    assert near_duplicates_between(one, np.zeros((0, 16, 16))).empty
    assert near_duplicates_between(np.zeros((0, 16, 16)), one).empty
    assert near_duplicates_between(one, np.ones((4, 16, 16))).empty
    with pytest.raises(ValueError, match="with one height and width"):
        near_duplicates_between(one, np.zeros((2, 8, 8)))
    with pytest.raises(TooAlike, match="of 3,000 and 3,000 images"):
        near_duplicates_between(np.repeat(one[:1], 3000, 0), np.repeat(one[:1], 3000, 0))


def test_nihs_images_are_known_in_a_table_of_ones_own():
    nih = table(["00000013_008.png", "00000014_000.png"], ["13", "14"], "NIH ChestX-ray14")
    own = table(["x/00000013_008.jpg", "00000013_026.png", "00000099_000.png", "1.png"])
    shared = shared_images(nih, own)
    assert how(shared) == {"x/00000013_008.jpg": "same image", "00000013_026.png": "same patient"}
    assert shared.rows["other_image_id"].tolist() == ["00000013_008.png", "00000013_008.png"]
    assert shared.counts == dict(zip(HOW, (1, 0, 0, 1), strict=True))
    assert "2 of 4 images of own table are shared with the 2 of NIH ChestX-ray14" in shared.sentence
    assert "1 the same image by its name, 1 other images of the same patients" in shared.sentence
    assert "Pixels were not compared: 2 of 2 files of the first table are not there." in shared.sentence
    with pytest.raises(ValueError, match="not tested by them"):
        shared.refuse()
    kept = shared.without(own)
    assert kept["image_id"].tolist() == ["00000099_000.png", "1.png"]
    assert kept.source.left_out[0] == ("x/00000013_008.jpg", "shared with NIH ChestX-ray14: same image")


def test_names_of_anybodys_are_no_evidence_unless_one_file_was_read():
    one, two = table(["1.png"], ["a"]), table(["1.png"], ["a"])
    assert shared_images(one, two).image_ids == ()
    same = {"files": (("own.csv", "f" * 64),)}
    assert how(shared_images(table(["1.png"], ["a"], **same), table(["1.png", "2.png"], ["a", "a"], **same))) == {
        "1.png": "same image", "2.png": "same patient"
    }  # fmt: skip


def test_phantoms_are_shared_only_within_one_folder():
    def phantoms(mark):
        return table(["00000001_000.png"], ["1"], "chexkeras phantoms", synthetic=True, files=((PHANTOM_FILE, mark),))

    nih = table(["00000001_000.png"], ["1"], "NIH ChestX-ray14")
    assert shared_images(nih, phantoms("a")).image_ids == shared_images(phantoms("a"), phantoms("b")).image_ids == ()
    assert how(shared_images(phantoms("a"), phantoms("a"))) == {"00000001_000.png": "same image"}


def test_a_mapping_to_nih_tells_images_and_patients():
    nih = table(["00000013_008.png", "00000014_000.png"], ["13", "14"], "NIH ChestX-ray14")
    mapped = table(
        ["uuid-a", "uuid-b", "uuid-c"], ["13", "14", "77"],
        **{NIH_IMAGE: ["00000013_008.png", "00000014_003.png", "00000077_000.png"]},
    )  # fmt: skip
    shared = shared_images(nih, mapped)
    assert how(shared) == {"uuid-a": "same image", "uuid-b": "same patient"}
    assert not shared.undecided and shared.why_not == "names tell every image"


def test_chexperts_images_are_known_in_any_folder():
    one = table(["train/patient00001/study1/view1_frontal.jpg"], ["patient00001"], "CheXpert")
    two = table(["CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.png",
                 "patient00001/study2/view1_frontal.jpg", "patient00002/study1/view1_frontal.jpg"])  # fmt: skip
    assert list(how(shared_images(one, two)).values()) == ["same image", "same patient"]


def test_a_name_within_a_longer_one_is_none():
    given = table(["a00000013_008.png", "00000013_0081.png", "00000013_008_mask.png"])
    assert (identities(given) == "").all().all()


def test_pixels_tell_where_names_do_not(tmp_path):
    training = written(tmp_path / "one", 6, 0)
    copies = written(tmp_path / "two", 3, 1)
    Image.open(training[2]).save(tmp_path / "two" / "same.png")
    Image.open(training[4]).resize((64, 64), Image.Resampling.BOX).save(tmp_path / "two" / "near.jpg", quality=90)
    paths = [*copies, str(tmp_path / "two" / "same.png"), str(tmp_path / "two" / "near.jpg")]
    one = table([f"t{n}" for n in range(6)], path=training)
    two = table(["n0", "n1", "n2", "same", "near"], path=paths)
    shared = shared_images(one, two)
    assert how(shared) == {"same": "same pixels", "near": "near duplicate"}
    assert shared.rows["other_image_id"].tolist() == ["t2", "t4"]
    assert shared.pixels_compared and "Pixels were not" not in shared.sentence
    assert shared.rows["similarity"].iloc[0] == 1.0 and 0.997 <= shared.rows["similarity"].iloc[1] < 1.0
    assert shared_images(one, two, pixels="never").image_ids == ()


def test_files_that_are_not_there_are_told(tmp_path):
    one, two = table(["a"], path=["/nowhere/a.png"]), table(["b"], path=written(tmp_path, 1, 0))
    assert shared_images(one, two).why_not == "1 of 1 files of the first table are not there"
    with pytest.raises(ValueError, match="1 of 1 images of the first table have no file"):
        shared_images(one, two, pixels="always")


def test_the_test_part_of_a_run_was_not_seen():
    run = table(["00000001_000.png", "00000002_000.png"], ["1", "2"], "NIH ChestX-ray14", part=["train", "test"])
    again = table(["00000001_000.png", "00000002_000.png"], ["1", "2"], "NIH ChestX-ray14")
    assert how(shared_with_training(run, again)) == {"00000001_000.png": "same image"}
    assert how(shared_with_training(run, again, part="validation")) == dict.fromkeys(again["image_id"], "same image")


def test_nothing_left_is_said():
    nih = table(["00000013_008.png"], ["13"], "NIH ChestX-ray14")
    with pytest.raises(ValueError, match="No image is left"):
        shared_images(nih, nih).without(nih)
    shared_images(nih, table(["1.png"])).refuse()
    none = shared_images(nih, table(["1.png"])).sentence
    assert none.startswith("None of the 1 images of own table is shared with the 1 of NIH ChestX-ray14")
