"""Who may ask: the password of the page, and patience with those who guess it.

Whoever gave wrong passwords waits before the next one is compared, a right one too: an answer that came sooner would
tell which it is. Others do not wait, and neither does a browser that has known the password since the server started.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

COOKIE = "chexkeras-known"
FREE_TRIES = 3
"""Wrong passwords that a person may mistype before waiting begins."""

LONGEST_STEP_SECONDS = 4.0
LONGEST_WAIT_SECONDS = 20.0
"""Who would wait longer is asked to come again; their password is not compared."""

FORGET_SECONDS = 600.0
_MOST_ADDRESSES = 4096


class ComeAgain(Exception):
    """Too many wrong passwords came from an address to compare another one now.

    Attributes:
        seconds: After which the next one is compared.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"come again in {seconds:.0f} s")
        self.seconds = seconds


@dataclass
class _Guesses:
    wrong: int = 0
    next_at: float = 0.0
    last_at: float = 0.0


class Password:
    """The page's password (HTTP Basic, any user name).

    Args:
        password: What must be given.
        now: A clock, seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        password: str,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._digest = _digest(password)
        self._now, self._sleep = now, sleep
        # It opens nothing by itself: with it a password is compared at once.
        self._known = secrets.token_urlsafe(32)
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()

    async def admits(self, headers: dict[str, str], peer: str) -> bool:
        """Returns whether a request gives the password, after the wait that its address has earned.

        Args:
            headers: The request's, in lower case.
            peer: Address that it came from.

        Raises:
            ComeAgain: If too many from that address are waiting already.
        """
        given = _given(headers.get("authorization", ""))
        # A browser asks without one first; that is no guess.
        if given is None:
            return False
        address = address_of(headers, peer)
        if not self.knows(headers):
            await self._wait(address)
        if not hmac.compare_digest(_digest(given), self._digest):
            self._remember(address)
            return False
        if not self.knows(headers):
            self._guesses.pop(address, None)
        return True

    def knows(self, headers: dict[str, str]) -> bool:
        """Returns whether a request comes from a browser that gave the password before.

        Args:
            headers: The request's, in lower case.
        """
        pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
        return any(
            name == COOKIE and hmac.compare_digest(value.encode(), self._known.encode()) for name, _, value in pairs
        )

    @property
    def cookie(self) -> str:
        """The header's value that makes a browser known."""
        return f"{COOKIE}={self._known}; HttpOnly; SameSite=Strict; Path=/"

    async def _wait(self, address: str) -> None:
        guesses, now = self._guesses.get(address), self._now()
        if guesses is None or guesses.wrong < FREE_TRIES or now - guesses.last_at > FORGET_SECONDS:
            return
        at = max(guesses.next_at, now)
        if at - now > LONGEST_WAIT_SECONDS:
            raise ComeAgain(at - now)
        # Taken before waiting: guesses that come at the same time stand in line.
        guesses.next_at = at + min(0.5 * 2 ** (guesses.wrong - FREE_TRIES), LONGEST_STEP_SECONDS)
        await self._sleep(guesses.next_at - now)

    def _remember(self, address: str) -> None:
        now = self._now()
        guesses = self._guesses.get(address)
        if guesses is None or now - guesses.last_at > FORGET_SECONDS:
            guesses = self._guesses[address] = _Guesses()
        guesses.wrong = min(guesses.wrong + 1, 64)
        guesses.last_at = now
        self._guesses.move_to_end(address)
        while len(self._guesses) > _MOST_ADDRESSES:
            self._guesses.popitem(last=False)


def address_of(headers: dict[str, str], peer: str) -> str:
    """Returns what stands for whoever asks: an address, of IPv6 the network that one customer is given.

    Args:
        headers: The request's, in lower case. A proxy on this machine says in the last entry of X-Forwarded-For whom it
            asks for; from elsewhere that header is anybody's word, and is not read.
        peer: Address that the request came from.
    """
    try:
        address = ip_address(peer)
        if address.is_loopback:
            address = ip_address(headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or peer)
    except ValueError:
        return peer
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ip_network((address, 64), strict=False))
    return str(address)


def _given(authorization: str) -> str | None:
    kind, _, coded = authorization.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(coded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()
