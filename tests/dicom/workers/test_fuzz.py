import pytest

from chexkeras.dicom.rules import RULE_BY_CODE
from chexkeras.dicom.workers.pool import ReaderPool
from tests.dicom.workers.fuzz import EVERYTHING, LIMITS, read_all
from tests.dicom.workers.mutations import MUTATIONS, fixtures, mutated

FILES, SEED = 500, 2026


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


def test_every_damaged_file_has_an_outcome_and_none_goes_over_the_limits(contents, pool, tmp_path):
    tally = read_all(mutated(contents, FILES, SEED), pool, tmp_path)
    assert tally.files == FILES
    assert set(tally.codes) <= {"read", *RULE_BY_CODE}
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
    assert done == {mutation.__name__.strip("_") for mutation in MUTATIONS}
