"""Which images weights have seen, and what is said of a run that measures on them."""

import json

import pytest

from chexkeras.models.weights.seen import Seen, collections, overlap, overlap_of_record
from chexkeras.models.weights.sources import NOT_PUBLISHED, WEIGHTS, read_source


def said(name, dataset, **options):
    source = WEIGHTS[name]
    return overlap(source.title, source.seen, dataset, **options)


@pytest.mark.parametrize(
    ("name", "dataset", "split", "part"),
    [
        ("xrv-nih", "NIH ChestX-ray14", "patient", "test"),
        # The authors split at random: the official test list is no way out.
        ("xrv-nih", "NIH ChestX-ray14", "official", "test"),
        ("xrv-all", "NIH ChestX-ray14", "official", "test"),
        # RSNA's challenge is of NIH's images, either way round.
        ("xrv-rsna", "NIH ChestX-ray14", "patient", "test"),
        ("xrv-nih", "RSNA Pneumonia Detection Challenge", "patient", "test"),
        ("xrv-nih", "SIIM-ACR Pneumothorax", "patient", "test"),
        ("xrv-nih", "CheXpert", "patient", None),
        ("xrv-chex", "CheXpert", "patient", "test"),
        # CheXpert's valid.csv was not read: its images are others, the training part is known to the weights.
        ("xrv-chex", "CheXpert", "official", "validation"),
        ("xrv-all", "CheXpert", "official", "validation"),
        ("xrv-all", "NIH ChestX-ray14 and CheXpert", "official", "test"),
        ("xrv-pc", "NIH ChestX-ray14", "patient", None),
        ("xrv-mimic-ch", "MIMIC-CXR-JPG", "patient", "test"),
        ("xrv-pc", "labels.csv", "patient", "unknown"),
        ("torchvision", "labels.csv", "patient", None),
        ("imagenet", "NIH ChestX-ray14", "patient", None),
        ("radimagenet", "NIH ChestX-ray14", "patient", None),
    ],
)
def test_what_the_weights_have_seen_is_held_against_what_is_measured(name, dataset, split, part):
    found = said(name, dataset, split=split)
    assert (found and found.part) == part
    assert said(name, dataset, split=split, synthetic=True) is None
    if part in ("test", "validation"):
        assert found.caution.startswith("LEAKY weights")
        assert WEIGHTS[name].title in found.caution
        assert len(found.caution) < 2000
    assert found is None or found.caution.endswith(".")


def test_the_authors_are_quoted():
    caution = said("xrv-nih", "NIH ChestX-ray14").caution
    assert '"it was trained on a random split of the dataset" (github.com/mlmed/torchxrayvision, issue 47)' in caution


def test_weights_of_which_nobody_says_anything():
    found = overlap("the weights of the file a.pt", None, "NIH ChestX-ray14")
    assert found.part == "unknown"
    assert "may be among them" in found.caution


def test_a_record_says_the_same_for_other_images():
    record = {"title": "these", "seen": [Seen("CheXpert").to_dict()]}
    assert overlap_of_record(record, "CheXpert").part == "test"
    assert overlap_of_record(record, "PadChest") is None
    assert overlap_of_record({"origin": "ImageNet"}, "CheXpert") is None
    assert overlap_of_record({"title": "these", "seen": None}, "CheXpert").part == "unknown"


def test_names_that_say_nothing_belong_to_no_collection():
    assert collections("chest clinic, 2024.csv") == frozenset()
    assert collections("NIH ChestX-ray14") == {"NIH ChestX-ray14"}


def test_nothing_is_invented_of_a_source():
    for source in WEIGHTS.values():
        assert source.seen, source.name
        assert all(entry.statement for entry in source.seen)
        assert source.licence and source.where
        # A checksum only where the publisher states one.
        assert source.checksum == NOT_PUBLISHED or source.name in ("imagenet", "torchvision")


def test_a_description_of_ones_own(tmp_path):
    path = tmp_path / "mine.json"
    seen = ["CheXpert", {"dataset": "PadChest", "statement": "all of it"}]
    path.write_text(json.dumps({"name": "mine", "seen": seen, "keys": {}}))
    source = read_source(path)
    assert (source.title, source.normalisation) == ("the weights mine", "imagenet")
    assert source.seen_words == "CheXpert, PadChest"
    path.write_text(json.dumps({"name": "mine", "seen": None}))
    assert read_source(path).seen is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": "mine"}, "needs the fields name and seen"),
        ([1], "needs the fields name and seen"),
        ({"name": "mine", "seen": [], "normalization": "unit"}, "did you mean 'normalisation'"),
        ({"name": "mine", "seen": [], "normalisation": "units"}, "normalisation='units'"),
        ({"name": "mine", "seen": [{"data": "a"}]}, "no weights that can be used"),
        ({"name": "mine", "seen": [{"dataset": "a", "untouched": "some"}]}, "must be 'official test'"),
        ({"name": "mine", "seen": 3}, "no weights that can be used"),
        ({"name": "mine", "seen": [], "keys": ["a"]}, "no weights that can be used"),
    ],
)
def test_descriptions_that_are_none(tmp_path, content, words):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        read_source(path)
