"""The password: compared at once for whoever gives it, slowly for whoever guesses, and nobody else waits."""

import asyncio
import base64

import pytest

from chexkeras.page.access import (
    FREE_TRIES,
    LONGEST_STEP_SECONDS,
    LONGEST_WAIT_SECONDS,
    ComeAgain,
    Password,
    address_of,
)

SECRET = "correct horse battery"


class Clock:
    """A clock that only waiting moves."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def password(clock):
    return Password(SECRET, now=lambda: clock.now, sleep=clock.sleep)


def given(word, cookie=""):
    coded = base64.b64encode(f"anyone:{word}".encode()).decode()
    return {"authorization": f"Basic {coded}"} | ({"cookie": cookie} if cookie else {})


def admits(password, headers, peer="192.0.2.1"):
    return asyncio.run(password.admits(headers, peer))


def test_right_password_is_admitted_at_once(password, clock):
    assert admits(password, given(SECRET))
    assert not admits(password, {}) and not admits(password, {"authorization": "Basic ???"})
    assert not admits(password, {"authorization": f"Bearer {SECRET}"})
    assert clock.waits == []


def test_a_few_may_be_mistyped_then_each_costs_more_up_to_a_bound(password, clock):
    for _ in range(FREE_TRIES):
        assert not admits(password, given("wrong"))
    assert clock.waits == []
    for _ in range(8):
        assert not admits(password, given("wrong"))
    assert clock.waits == sorted(clock.waits) and clock.waits[0] > 0
    assert clock.waits[-1] == clock.waits[-2] == LONGEST_STEP_SECONDS


def test_asking_without_a_password_is_no_guess(password, clock):
    for _ in range(20):
        assert not admits(password, {})
    assert admits(password, given(SECRET)) and clock.waits == []


def test_others_do_not_wait_for_one_who_guesses(password, clock):
    for _ in range(10):
        admits(password, given("wrong"))
    before = len(clock.waits)
    assert admits(password, given(SECRET), peer="192.0.2.2")
    assert len(clock.waits) == before


def test_the_right_one_waits_like_a_wrong_one_so_that_time_tells_nothing(clock):
    waits = []
    for last in ("wrong", SECRET):
        clock = Clock()
        password = Password(SECRET, now=lambda clock=clock: clock.now, sleep=clock.sleep)
        for _ in range(6):
            admits(password, given("wrong"))
        assert admits(password, given(last)) == (last == SECRET)
        waits.append(clock.waits)
    assert waits[0] == waits[1]


def test_a_browser_that_knew_it_before_does_not_wait_behind_the_same_address(password, clock):
    cookie = password.cookie.partition(";")[0]
    assert "HttpOnly" in password.cookie and "SameSite=Strict" in password.cookie and SECRET not in cookie
    for _ in range(10):
        admits(password, given("wrong"))
    before = len(clock.waits)
    assert admits(password, given(SECRET, f"other=1; {cookie}"))
    assert len(clock.waits) == before
    # The cookie alone opens nothing, and a made-up one nothing at all.
    assert not admits(password, {"cookie": cookie})
    assert admits(password, given(SECRET, "chexkeras-known=made-up"))
    assert len(clock.waits) == before + 1


def test_after_the_right_one_the_next_does_not_wait(password, clock):
    for _ in range(6):
        admits(password, given("wrong"))
    assert admits(password, given(SECRET))
    before = len(clock.waits)
    assert admits(password, given(SECRET)) and len(clock.waits) == before


def test_wrong_ones_are_forgotten_after_a_while(password, clock):
    for _ in range(6):
        admits(password, given("wrong"))
    clock.now += 3600
    before = len(clock.waits)
    assert not admits(password, given("wrong")) and len(clock.waits) == before


def test_many_guesses_at_once_stand_in_line_and_the_line_is_short():
    """Time stands still while they come: each waits longer than the one before, and those at the end are sent away."""

    async def all_of_them():
        waits, gate = [], asyncio.Event()

        async def sleep(seconds):
            waits.append(seconds)
            await gate.wait()

        password = Password(SECRET, now=lambda: 0.0, sleep=sleep)
        for _ in range(FREE_TRIES + 4):
            task = asyncio.create_task(password.admits(given("wrong"), "192.0.2.1"))
            await asyncio.sleep(0)
            gate.set()
            await task
        gate.clear()
        waits.clear()
        tasks = [asyncio.create_task(password.admits(given("wrong"), "192.0.2.1")) for _ in range(50)]
        await asyncio.sleep(0)
        gate.set()
        return waits, await asyncio.gather(*tasks, return_exceptions=True)

    waits, results = asyncio.run(all_of_them())
    sent_away = [each for each in results if isinstance(each, ComeAgain)]
    assert len(waits) + len(sent_away) == 50 and len(waits) < 15
    assert waits == sorted(set(waits)) and waits[-1] <= LONGEST_WAIT_SECONDS + LONGEST_STEP_SECONDS
    assert all(each.seconds > LONGEST_WAIT_SECONDS for each in sent_away)


def test_only_so_many_addresses_are_remembered(password):
    for number in range(5000):
        admits(password, given("wrong"), peer=f"198.18.{number // 256}.{number % 256}")
    assert len(password._guesses) <= 4096


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "made-up, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "made-up", "127.0.0.1"),
        ("::1", "", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "", "2001:db8:1:2::/64"),
        ("", "", ""),
    ],
)
def test_addresses_are_those_of_whoever_asks(peer, forwarded, expected):
    assert address_of({"x-forwarded-for": forwarded} if forwarded else {}, peer) == expected
