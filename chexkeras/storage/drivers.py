"""What talks to object stores: fsspec's drivers, asked again where that may help, and their errors in our words.

Credentials, region and server are what the drivers find in the environment (``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``,
``AWS_ENDPOINT_URL``). They are in no message, since no word of a driver is.
"""

import errno
import os
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")

SCHEMES = ("s3", "gs", "memory")
"""The object stores that are read, by how their addresses begin."""

MOST_SECONDS = 120.0
"""Time that reading one file may take, all tries together; a list of files is bounded by request."""

PAUSES_SECONDS = (0.3, 1.5)
"""How long to wait before a request that failed on the way is tried again: as often as there are pauses."""

_PACKAGE = {"s3": "s3fs", "gs": "gcsfs"}
# Two tries for each of our own: where a list has a thousand pages, one that fails need not begin it anew.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "config_kwargs": {
            "connect_timeout": 10,
            "read_timeout": 30,
            "retries": {"mode": "standard", "total_max_attempts": 2},
        }
    },
    "gs": {"requests_timeout": 30},
}

FROM_ENVIRONMENT = "credentials, region and server are read from the environment, as AWS_PROFILE or AWS_ENDPOINT_URL"
"""Where secrets come from, for messages."""


class DriverMissing(ValueError):
    """What talks to an object store is not installed."""


def forget() -> None:
    """Forgets connections and lists, for example once other credentials are in the environment."""
    for driver in list(_OPEN.values()):
        driver.invalidate_cache()
        # fsspec keeps them, too.
        type(driver).clear_instance_cache()
    _OPEN.clear()


_OPEN: dict[tuple[str, int], Any] = {}


def _driver(scheme: str) -> Any:
    """Returns what talks to a store; one for all threads of a process, which share its lists."""
    known = _OPEN.get((scheme, os.getpid()))
    if known is not None:
        return known
    try:
        import fsspec

        made = fsspec.filesystem(scheme, **_OPTIONS.get(scheme, {}))
    except ImportError:
        extra = "gcsfs" if scheme == "gs" else "'chexkeras[remote]'"
        raise DriverMissing(
            f"{scheme}:// needs {_PACKAGE.get(scheme, 'fsspec')}, which is not installed; install it with: pip install "
            f"{extra}"
        ) from None
    if scheme == "s3":
        # Its own tries would come on top of ours.
        made.retries = 1
    return _OPEN.setdefault((scheme, os.getpid()), made)


def asked(
    path: str, ask: Callable[[Any, dict[str, Any]], Answer], *, is_list: bool = False, more_seconds: float = 0.0
) -> Answer:
    """Asks a store, again where that may help.

    Args:
        path: An address.
        ask: What is asked of the driver; the keyword arguments that it is given bound the time of one request.
        is_list: Whether a list is asked for, whose time grows with its length; all else is bounded by `MOST_SECONDS`.
        more_seconds: Time that it may take besides.

    Raises:
        DriverMissing: If nothing can talk to the store.
        OSError: What it says, in our words; a `ConnectionError` or `TimeoutError` where another time it may not; and
            where a text, as a table of one's own may hold it, is no address of a store.
    """
    scheme, _, rest = path.partition("://")
    bucket = rest.partition("/")[0]
    if scheme not in SCHEMES or not bucket.strip("/") or {"@", ":"} & set(bucket):
        # It may hold a secret.
        raise OSError("an address that is not read; s3://BUCKET/NAME was expected.")
    end = None if is_list else time.monotonic() + MOST_SECONDS + more_seconds
    for pause in (*PAUSES_SECONDS, None):
        left = None if end is None else max(1.0, end - time.monotonic())
        try:
            driver = _driver(scheme)
            return ask(driver, {"timeout": left} if left is not None and getattr(driver, "async_impl", False) else {})
        except DriverMissing:
            raise
        # The boundary to the drivers, each of which has errors of its own; some of them repeat a key or an address.
        except Exception as error:  # noqa: BLE001
            told, may_help = _told(error, path)
        if pause is None or not may_help or (end is not None and time.monotonic() + pause >= end):
            raise told
        time.sleep(pause)
    raise told


_LATE = frozenset({"FSTimeoutError", "TimeoutError", "ReadTimeoutError", "ConnectTimeoutError", "ServerTimeoutError"})
_NO_CREDENTIALS = re.compile(r"Credential|Token|Profile|SSO|DefaultCredentials|Unauthorized")
_NOT_VALID = frozenset({"ParamValidationError", "InvalidRegionError", "InvalidEndpoint"})


def _told(error: Exception, path: str) -> tuple[OSError, bool]:
    """Returns what a driver's error means, in words that hold nothing of it, and whether another try may help."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"nothing at {path!r}; check bucket and name"), False
    if isinstance(error, PermissionError) or number == errno.EPERM:
        return PermissionError(f"the store gives no access to {path!r}; {FROM_ENVIRONMENT}"), False
    if kinds & _LATE:
        return TimeoutError(f"the store does not answer in time for {path!r}; try again"), True
    # A driver that is sent back and forth ends at Python's depth.
    if number == getattr(errno, "EREMCHG", -1) or isinstance(error, RecursionError) or "TooManyRedirects" in kinds:
        why = f"the store sends on to another server for {path!r}; name its region in AWS_DEFAULT_REGION, or the server"
        return ConnectionError(f"{why} in AWS_ENDPOINT_URL"), False
    if any(_NO_CREDENTIALS.search(kind) for kind in kinds):
        return PermissionError(f"no credentials for {path!r}; {FROM_ENVIRONMENT}"), False
    if kinds & _NOT_VALID or isinstance(error, (ValueError, TypeError)) or number in (errno.EINVAL, errno.ENOSYS):
        return OSError(f"the store or its driver refuses {path!r}; check the name of the bucket"), False
    if isinstance(error, IsADirectoryError):
        return IsADirectoryError("a folder of an object store, where a file was expected"), False
    what = "the store cannot be reached, or the connection was lost, for"
    return ConnectionError(f"{what} {path!r}; try again, or check AWS_ENDPOINT_URL"), True
