import numpy as np
import pytest

from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.rules import RULE_BY_CODE
from chexkeras.dicom.workers.pool import ReaderPool
from tests.dicom.dicom_images import CANARY, leaks
from tests.dicom.workers.fuzz import EVERYTHING, LIMITS, good_pixels, read_all
from tests.dicom.workers.mutations import MUTATIONS, fixtures, mutated
from tests.dicom.workers.structure_mutations import STRUCTURE_MUTATIONS
from tests.dicom.workers.tree import parse, write

FILES, SEED = 600, 2026


@pytest.fixture(scope="module")
def contents():
    return fixtures()


@pytest.fixture(scope="module")
def pool():
    with ReaderPool(EVERYTHING, LIMITS) as pool:
        yield pool


def test_the_fixtures_are_read_where_they_should_be(contents, pool, tmp_path):
    tally = read_all(iter(sorted(contents.items())), pool, tmp_path)
    # Good files that are refused would leave the decoders behind them untried.
    assert tally.codes["read"] >= 25
    assert tally.restarts == 0
    assert tally.leaking == []


def test_a_file_is_its_tree_and_holds_canaries(contents):
    trees = {name: parse(content) for name, content in contents.items()}
    parsed = {name: tree for name, tree in trees.items() if tree is not None}
    # What cannot be taken apart is damaged in its bytes alone.
    assert len(parsed) >= 0.8 * len(contents)
    for name, tree in parsed.items():
        assert tree.deflated or write(tree) == contents[name]
        assert leaks(b"".join(element.value for element in tree.body).decode("latin-1")), name


def test_every_damaged_file_has_an_outcome_and_none_goes_over_the_limits(contents, pool, tmp_path):
    tally = read_all(mutated(contents, FILES, SEED), pool, tmp_path, good_pixels(contents, pool, tmp_path))
    assert tally.files == FILES
    assert set(tally.codes) <= {"read", *RULE_BY_CODE}
    assert tally.leaking == []
    assert tally.changed == []
    # Whoever reads hangs nowhere; a minute is for a new worker's start on a busy machine.
    assert tally.slowest[0] < LIMITS.seconds + 60
    assert tally.peak_bytes < LIMITS.memory_bytes + 2**29
    # The damage is neither too small to be noticed nor so large that nothing gets as far as a decoder.
    assert tally.codes["read"] > 50 and tally.codes["decode"] > 20 and len(tally.codes) > 10


def test_the_same_seed_makes_the_same_files_and_all_kinds_of_damage(contents):
    first, again = list(mutated(contents, 300, 1)), list(mutated(contents, 300, 1))
    assert first == again
    assert [content for _, content in first] != [content for _, content in mutated(contents, 300, 2)]
    done = {word for name, _ in first for word in name.split()[2:]}
    assert done == {mutation.__name__.strip("_") for mutation in MUTATIONS} | set(STRUCTURE_MUTATIONS)


def test_a_file_can_be_made_again_by_its_number(contents):
    assert list(mutated(contents, 20, 1))[15:] == list(mutated(contents, 5, 1, first=15))


@pytest.mark.parametrize("kind", STRUCTURE_MUTATIONS)
def test_every_kind_of_damage_is_done_to_a_file_that_has_the_part(contents, kind):
    changed = set()
    for seed in range(20):
        tree = parse(contents["jpeg_2000"])
        STRUCTURE_MUTATIONS[kind](tree, np.random.default_rng(seed))
        changed.add(write(tree))
    # A change that leaves the file as it was is a chance of few.
    assert len(changed - {contents["jpeg_2000"]}) > 1


def test_an_answer_that_repeats_text_of_a_file_is_found(tmp_path):
    class Telltale:
        restarts = peak_bytes = 0

        def read(self, path):
            raise DicomRejected.because("decode", "", f"a codestream, not {CANARY}")

    tally = read_all(iter([("0 image tag", b"")]), Telltale(), tmp_path)
    assert tally.leaking == ["0 image tag"]
    assert tally.damage == {"tag": [1, 0]}
