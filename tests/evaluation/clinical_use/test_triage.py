"""The triage queue: known answers, an image-by-image schedule, a Markov chain solved numerically, and simulation."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve

from chexkeras import files
from chexkeras.evaluation.clinical_use.triage import DISCIPLINES, TriageEffect, read_all, simulate_triage, triage_effect
from chexkeras.evaluation.uncertainty.intervals import proportion_interval
from chexkeras.results import Estimate

quick = settings(derandomize=True, deadline=None, max_examples=80)

shares = st.floats(0.01, 0.99)


def test_the_known_answer_for_one_reader():
    # Derived by hand: flagged images see a queue of their own, 1 / (6 - 5 x .18); the others
    # (1/6) / ((1 - .15) (1 - 5/6)).
    effect = triage_effect(0.9, 0.9, 0.1, arrivals_per_hour=5, reads_per_hour=6)
    assert effect.fifo_hours == pytest.approx(1.0)
    assert effect.flagged_hours == pytest.approx(0.19607843, abs=5e-9)
    assert effect.unflagged_hours == pytest.approx(1.17647059, abs=5e-9)
    assert effect.diseased_hours == pytest.approx(0.29411765, abs=5e-9)
    assert effect.saving_hours == pytest.approx(0.70588235, abs=5e-9)
    assert effect.flagged_share == pytest.approx(0.18)
    assert effect.workload == pytest.approx(5 / 6)
    assert "17.6 minutes after arrival with the device, 60.0 without: 42.4 minutes less" in str(effect)


def test_a_finished_image_is_never_interrupted_in_the_other_discipline():
    # Cobham: everyone waits first for the image under way, 1/6 h in 5 of 6 cases; then 1 / (1 - .15) and
    # 1 / ((1 - .15) (1 - 5/6)) times as long.
    effect = triage_effect(0.9, 0.9, 0.1, arrivals_per_hour=5, reads_per_hour=6, discipline="non-pre-emptive")
    under_way = 5 / 6 / 6
    assert effect.flagged_hours == pytest.approx(1 / 6 + under_way / 0.85)
    assert effect.unflagged_hours == pytest.approx(1 / 6 + under_way / 0.85 * 6)


@quick
@given(shares, shares, shares, st.floats(0.05, 0.99))
def test_with_one_reader_the_saving_is_in_proportion_to_youdens_index(sensitivity, specificity, prevalence, workload):
    effect = triage_effect(sensitivity, specificity, prevalence, arrivals_per_hour=6 * workload, reads_per_hour=6)
    arrivals, flagged = 6 * workload, 6 * workload * effect.flagged_share
    expected = arrivals * (1 - prevalence) * (sensitivity + specificity - 1) / ((6 - arrivals) * (6 - flagged))
    assert effect.saving_hours == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_two_readers_agree_with_the_markov_chain_of_both_queues():
    # States: flagged and other images in the room, each up to 70; two readers at 3 per hour, flagged images first.
    top, rate, readers = 70, 3.0, 2
    urgent, other = 1.1, 2.3
    size = top + 1
    rows, columns, rates = [], [], []
    for i in range(size):
        for j in range(size):
            busy = min(i, readers)
            moves = [
                (i + 1, j, urgent),
                (i, j + 1, other),
                (i - 1, j, busy * rate),
                (i, j - 1, min(j, readers - busy) * rate),
            ]
            for to_i, to_j, speed in moves:
                if 0 <= to_i < size and 0 <= to_j < size and speed:
                    rows += [to_i * size + to_j, i * size + j]
                    columns += [i * size + j] * 2
                    rates += [speed, -speed]
    balance = sparse.csr_array((rates, (rows, columns)), shape=(size**2, size**2)).tolil()
    balance[0, :] = 1.0
    chance = spsolve(balance.tocsr(), np.eye(1, size**2)[0]).reshape(size, size)
    assert chance[-1].sum() + chance[:, -1].sum() < 1e-8
    # Little: images in the room are images arriving times hours in it.
    hours_urgent = chance.sum(axis=1) @ np.arange(size) / urgent
    hours_other = chance.sum(axis=0) @ np.arange(size) / other
    share = urgent / (urgent + other)
    effect = triage_effect(share, 1 - share, 0.5, arrivals_per_hour=urgent + other, reads_per_hour=rate, readers=2)
    assert effect.flagged_hours == pytest.approx(hours_urgent, rel=1e-6)
    assert effect.unflagged_hours == pytest.approx(hours_other, rel=1e-6)


settings_of_rooms = st.fixed_dictionaries(
    {"readers": st.integers(1, 12), "discipline": st.sampled_from(DISCIPLINES), "reads_per_hour": st.floats(1, 30)}
)


@quick
@given(shares, shares, shares, st.floats(0.05, 0.98), settings_of_rooms)
def test_nobodys_time_is_created(sensitivity, specificity, prevalence, workload, room):
    arrivals = workload * room["readers"] * room["reads_per_hour"]
    effect = triage_effect(sensitivity, specificity, prevalence, arrivals_per_hour=arrivals, **room)
    mean = prevalence * effect.diseased_hours + (1 - prevalence) * effect.non_diseased_hours
    assert mean == pytest.approx(effect.fifo_hours)
    assert 1 / room["reads_per_hour"] <= effect.flagged_hours * (1 + 1e-9)
    assert effect.flagged_hours <= effect.fifo_hours * (1 + 1e-9) <= effect.unflagged_hours * (1 + 2e-9)


@quick
@given(shares, shares, shares, st.floats(0.05, 0.98), settings_of_rooms, st.floats(0.001, 0.3))
def test_the_saving_rises_with_sensitivity_and_specificity(sensitivity, specificity, prevalence, workload, room, more):
    arrivals = workload * room["readers"] * room["reads_per_hour"]

    def saving(first, second):
        return triage_effect(first, second, prevalence, arrivals_per_hour=arrivals, **room).saving_hours

    plain = saving(sensitivity, specificity)
    assert saving(min(1, sensitivity + more), specificity) >= plain - 1e-9 * abs(plain)
    assert saving(sensitivity, min(1, specificity + more)) >= plain - 1e-9 * abs(plain)


def test_intervals_are_carried_on_to_the_saving():
    room = {"prevalence": 0.1, "arrivals_per_hour": 5, "reads_per_hour": 6}
    sensitivity, specificity = proportion_interval(283, 299), proportion_interval(518, 589)
    effect = triage_effect(sensitivity, specificity, **room)
    plain = triage_effect(sensitivity.value, specificity.value, **room)
    assert effect.saving_hours == effect.saving.value == plain.saving_hours
    assert effect.saving.low == triage_effect(sensitivity.low, specificity.low, **room).saving_hours
    assert effect.saving.high == triage_effect(sensitivity.high, specificity.high, **room).saving_hours
    assert (effect.saving.n, effect.saving.confidence) == (888, 0.95)
    assert "95 % CI" in str(effect)
    assert plain.saving.reason == "sensitivity and specificity were stated without an interval"
    half_stated = triage_effect(sensitivity, 0.9, **room).saving
    assert half_stated.low == triage_effect(sensitivity.low, 0.9, **room).saving_hours


def test_a_device_that_flags_all_or_none_or_at_random_saves_nothing():
    room = {"prevalence": 0.2, "arrivals_per_hour": 5, "reads_per_hour": 6}
    everything = triage_effect(1.0, 0.0, **room)
    assert (everything.saving_hours, everything.diseased_hours) == (pytest.approx(0), pytest.approx(1))
    assert math.isnan(everything.unflagged_hours)
    nothing = triage_effect(0.0, 1.0, **room)
    assert nothing.saving_hours == pytest.approx(0)
    assert triage_effect(0.3, 0.7, **room).saving_hours == pytest.approx(0)
    assert triage_effect(0.2, 0.7, **room).saving_hours < 0
    assert "minutes more" in str(triage_effect(0.2, 0.7, **room))


def test_five_images_by_hand():
    # One reader. Image 0 (2 h of reading) starts at 0; urgent image 1 arrives at 1 with 1 h, image 2 at 1.5 with 1 h,
    # urgent image 3 at 4.5 with 0.5 h, image 4 at 10.
    arrival, work = np.array([0, 1, 1.5, 4.5, 10]), np.array([2, 1, 1, 0.5, 1])
    urgent = np.array([False, True, False, True, False])
    # Interrupting: 1 is read 1-2, 0 resumed 2-3, 2 read 3-4, 3 read 4.5-5, 4 read 10-11.
    assert list(read_all(arrival, work, urgent, readers=1, interrupting=True)) == [3, 2, 4, 5, 11]
    assert list(read_all(arrival, work, urgent, readers=1, interrupting=False)) == [2, 3, 4, 5, 11]
    # Image 2 waits although it arrived before the urgent image.
    moved = np.array([0, 1.6, 1.5, 4.5, 10])
    order = np.argsort(moved)
    done = read_all(moved[order], work[order], urgent[order], readers=1, interrupting=False)
    assert list(done) == [2, 4, 3, 5, 11]
    # Two readers busy with images 0 and 1 when an urgent one arrives: the later of the two gives way.
    last_urgent = np.array([False, False, True])
    done = read_all(np.array([0, 0.5, 1]), np.array([4, 4, 1]), last_urgent, readers=2, interrupting=True)
    assert list(done) == [4, 5.5, 2]
    # Two readers: 0 until 2, 1 from 1 until 2, 2 waits until one is free at 2.
    assert list(read_all(arrival, work, urgent, readers=2, interrupting=True)) == [2, 2, 3, 5, 11]


@quick
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_readers_are_never_idle_while_images_wait(seed, readers, interrupting):
    rng = np.random.default_rng(seed)
    arrival, work = np.cumsum(rng.exponential(1, 40)), rng.exponential(readers * 0.9, 40)
    urgent = rng.random(40) < 0.3
    none = np.zeros(40, bool)
    if readers == 1:
        # Lindley: each image starts when it has arrived and the one before is done.
        done, before = [], 0.0
        for start, hours in zip(arrival, work, strict=True):
            before = max(before, start) + hours
            done.append(before)
        assert list(read_all(arrival, work, none, readers=1, interrupting=False)) == pytest.approx(done)
        ours = read_all(arrival, work, urgent, readers=1, interrupting=interrupting)
        assert max(ours) == pytest.approx(max(done))
    ours = read_all(arrival, work, urgent, readers=readers, interrupting=interrupting)
    assert (ours >= arrival + work - 1e-9).all()
    if interrupting:
        # Urgent images are read as if there were no others.
        alone = read_all(arrival[urgent], work[urgent], none[urgent], readers=readers, interrupting=False)
        assert ours[urgent] == pytest.approx(alone)


@pytest.mark.parametrize("discipline", DISCIPLINES)
@pytest.mark.parametrize("readers", [1, 3])
def test_simulation_and_closed_form_agree(discipline, readers):
    room = {"arrivals_per_hour": 5 * readers, "reads_per_hour": 6, "readers": readers, "discipline": discipline}
    exact = triage_effect(0.85, 0.8, 0.2, **room)
    played = simulate_triage(0.85, 0.8, 0.2, **room, runs=30, images_each_run=4000, confidence=0.999)
    assert played.saving.low < exact.saving_hours < played.saving.high
    assert played.saving.high - played.saving.low < 0.6 * exact.saving_hours
    assert played.flagged_hours == pytest.approx(exact.flagged_hours, rel=0.05)
    assert played.fifo_hours == pytest.approx(exact.fifo_hours, rel=0.15)
    assert played.unflagged_hours / played.fifo_hours == pytest.approx(
        exact.unflagged_hours / exact.fifo_hours, rel=0.02
    )
    assert played.flagged_share == pytest.approx(exact.flagged_share, abs=0.01)
    assert "simulation of 30 runs" in played.method


def test_simulation_with_a_seed_repeats_itself():
    room = {"arrivals_per_hour": 5, "reads_per_hour": 6, "runs": 3, "images_each_run": 200}
    first, same, other = (simulate_triage(0.9, 0.9, 0.2, **room, seed=seed) for seed in (1, 1, 2))
    assert first == same
    assert first.saving_hours != other.saving_hours


def test_json_gives_the_same_effect_back(tmp_path):
    for effect in (
        triage_effect(proportion_interval(9, 10), 0.8, 0.1, arrivals_per_hour=5, reads_per_hour=6),
        triage_effect(1.0, 0.0, 0.1, arrivals_per_hour=5, reads_per_hour=6),
    ):
        path = files.write_json(tmp_path / "triage.json", effect.to_dict())
        assert repr(TriageEffect.from_dict(json.loads(path.read_text()))) == repr(effect)


@pytest.mark.parametrize("call", [triage_effect, simulate_triage])
def test_a_queue_that_would_grow_without_end_is_refused(call):
    with pytest.raises(ValueError, match=r"12 images arrive per hour and 2 reader\(s\) read 6 each, 12 in all"):
        call(0.9, 0.9, 0.1, arrivals_per_hour=12, reads_per_hour=6, readers=2)
    assert triage_effect(0.9, 0.9, 0.1, arrivals_per_hour=12, reads_per_hour=6, readers=3).workload < 1


def test_bad_input_is_refused_with_a_reason():
    room = {"arrivals_per_hour": 5, "reads_per_hour": 6}
    with pytest.raises(ValueError, match=r"sensitivity=1.2 must lie between 0 and 1"):
        triage_effect(1.2, 0.9, 0.1, **room)
    with pytest.raises(ValueError, match="specificity=90 must lie between 0 and 1"):
        simulate_triage(0.9, 90, 0.1, **room)
    with pytest.raises(ValueError, match=r"prevalence=0.0 must lie strictly"):
        triage_effect(0.9, 0.9, 0.0, **room)
    with pytest.raises(ValueError, match="did you mean 'pre-emptive'"):
        triage_effect(0.9, 0.9, 0.1, **room, discipline="preemptive")
    with pytest.raises(ValueError, match="arrivals_per_hour=0 must be a number above 0"):
        triage_effect(0.9, 0.9, 0.1, arrivals_per_hour=0, reads_per_hour=6)
    with pytest.raises(ValueError, match="reads_per_hour=nan must be a number above 0"):
        triage_effect(0.9, 0.9, 0.1, arrivals_per_hour=5, reads_per_hour=math.nan)
    with pytest.raises(ValueError, match=r"readers=1.5 must be a whole number"):
        triage_effect(0.9, 0.9, 0.1, **room, readers=1.5)
    with pytest.raises(ValueError, match=r"sensitivity is not estimable \(no positives\)"):
        triage_effect(Estimate.not_estimable("no positives"), 0.9, 0.1, **room)
    with pytest.raises(ValueError, match=r"confidence \[0.9, 0.95\]"):
        triage_effect(proportion_interval(9, 10, confidence=0.9), proportion_interval(9, 10), 0.1, **room)
    with pytest.raises(ValueError, match="runs=1 is too few"):
        simulate_triage(0.9, 0.9, 0.1, **room, runs=1)
    with pytest.raises(ValueError, match="no image of 16 was diseased"):
        simulate_triage(0.9, 0.9, 1e-9, **room, runs=2, images_each_run=10)
