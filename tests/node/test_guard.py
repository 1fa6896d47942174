import struct

import pytest

from chexkeras.node.guard import Budget, ConnectionGuard, LimitExceeded
from chexkeras.node.settings import NodeLimits
from tests.node import hostile


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def guarding(clock):
    def make(budget=None, **limits):
        return ConnectionGuard(NodeLimits(**{"pdu_bytes": 20_000, **limits}), budget or Budget(10**6), clock)

    return make


def answer(field=0x8001):
    content = hostile.command(sop_class=b"1.2", field=field, message=1, data=0x0101)
    return hostile.pdu(4, hostile.fragment(3, 3, content))


STORE = b"".join(hostile.store(b"1.2.3", bytes(50_000)))


@pytest.mark.parametrize("step", [1, 5, 6, 7, 4_096, 10**6])
def test_right_messages_pass_however_they_are_cut(guarding, step):
    budget = Budget(10**6)
    guard = guarding(budget)
    content = hostile.associate("A", "B") + STORE + hostile.echo()
    for start in range(0, len(content), step):
        guard.seconds_left()
        guard.received(content[start : start + step])
    assert 50_000 < budget.used < 51_000


def test_what_is_held_is_freed_by_the_answers(guarding):
    budget = Budget(10**6)
    guard = guarding(budget)
    guard.received(STORE + STORE)
    guard.sent(answer())
    assert budget.used > 100_000
    guard.sent(answer())
    assert budget.used == 0


def test_what_is_held_is_freed_by_the_end(guarding):
    budget = Budget(10**6)
    guard = guarding(budget)
    guard.received(STORE[:30_000])
    assert budget.used
    guard.close()
    guard.close()
    assert budget.used == 0


@pytest.mark.parametrize(
    "content, reason",
    [
        (struct.pack(">BBI", 4, 0, 20_001), "PDU too long"),
        (struct.pack(">BBI", 1, 0, 2**32 - 1), "PDU too long"),
        (struct.pack(">BBI", 7, 0, 65), "PDU too long"),
        (struct.pack(">BBI", 99, 0, 2**31), "PDU too long"),
        (hostile.pdu(4, struct.pack(">IBB", 1, 3, 3)), "fragment longer"),
        (hostile.pdu(4, struct.pack(">IBB", 100, 3, 3) + bytes(20)), "fragment longer"),
        (b"".join(hostile.echo(number) for number in range(5)), "unanswered"),
        (hostile.pdu(4, hostile.fragment(3, 1, bytes(16_000))) * 5, "command too long"),
    ],
)
def test_what_goes_beyond_a_limit_is_cut_off(guarding, content, reason):
    with pytest.raises(LimitExceeded, match=reason):
        guarding().received(content)


def test_object_of_exactly_the_largest_size_passes(guarding):
    guarding(object_bytes=50_000).received(STORE)
    with pytest.raises(LimitExceeded, match="object too large"):
        guarding(object_bytes=49_999).received(STORE)


def test_connections_share_what_may_be_held(guarding):
    budget = Budget(80_000)
    guarding(budget).received(STORE)
    with pytest.raises(LimitExceeded, match="too much at once"):
        guarding(budget).received(STORE)


def test_time_of_a_pdu_does_not_begin_anew_with_each_byte(guarding, clock):
    guard = guarding(pdu_seconds=10.0)
    for byte in hostile.associate("A", "B")[:9]:
        assert guard.seconds_left() == pytest.approx(10.0 - clock.now)
        guard.received(bytes([byte]))
        clock.now += 1.0
    clock.now += 1.1
    with pytest.raises(LimitExceeded, match="too slow"):
        guard.seconds_left()


def test_time_of_an_object_runs_over_its_pdus(guarding, clock):
    guard = guarding(pdu_seconds=10.0, object_seconds=25.0)
    pieces = hostile.store(b"1.2.3", bytes(50_000))
    with pytest.raises(LimitExceeded, match="too slow"):
        for piece in pieces:
            guard.seconds_left()
            guard.received(piece)
            clock.now += 9.0


def test_pause_between_two_objects_is_no_slowness(guarding, clock):
    guard = guarding()
    for _ in range(3):
        guard.seconds_left()
        guard.received(STORE)
        guard.sent(answer())
        clock.now += 10_000.0


def test_answers_to_the_nodes_own_requests_are_no_requests(guarding):
    guard = guarding()
    for _ in range(20):
        guard.sent(answer(field=0x0100))
        guard.received(answer(field=0x8100))
    guard.received(hostile.echo() * 4)


@pytest.mark.parametrize("seed", range(200))
def test_no_bytes_end_in_another_error(guarding, seed):
    import random

    rng, guard = random.Random(seed), guarding()
    content = hostile.mutated(rng, hostile.associate("A", "B") + STORE[:40_000], most=30)
    try:
        for start in range(0, len(content), 997):
            guard.received(content[start : start + 997])
    except LimitExceeded as error:
        assert error.reason
