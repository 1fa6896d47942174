"""Keeping patient text out of everything the DICOM room says: hashed identifiers, silenced warnings, clean errors.

pydicom quotes the offending value in its warnings, log records and exception texts. A value can be a name, so none
of the three may leave this room.
"""

import contextlib
import functools
import hashlib
import hmac
import logging
import os
import secrets
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator

HASH_KEY_VARIABLE = "CHEXKERAS_HASH_KEY"

_FALLBACK_KEY = secrets.token_hex(32)


def process_key() -> str:
    """Returns the secret of this process: the variable CHEXKERAS_HASH_KEY or else a random one, for its workers."""
    return os.environ.get(HASH_KEY_VARIABLE) or _FALLBACK_KEY


def keyed_hash(text: str, key: str | bytes | None = None) -> str:
    """Returns a short pseudonym for an identifier, so that a row can be found again by who holds the key.

    A plain hash would not do: UIDs and patient numbers can be guessed and hashed by anyone.

    Args:
        text: The identifier.
        key: The secret. By default the environment variable CHEXKERAS_HASH_KEY, or, where that is not set, a random
            key of this process, so that two runs cannot be linked.

    Returns:
        16 hexadecimal digits of HMAC-SHA256.

    Source:
        RFC 2104 (HMAC).

    Example:
        >>> keyed_hash("1.2.3", key="secret") == keyed_hash("1.2.3", key="secret")
        True
        >>> keyed_hash("1.2.3", key="secret") == keyed_hash("1.2.3", key="other")
        False
    """
    key = process_key() if key is None else key
    secret = key.encode() if isinstance(key, str) else key
    return hmac.new(secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


@functools.cache
def tag_errors() -> tuple[type[Exception], ...]:
    """Returns what touching a tag of a damaged file can raise.

    pydicom converts a value when it is first asked for, and a bad one then raises whatever the conversion met: int()
    and float() (ValueError, OverflowError), struct, a missing index or code (LookupError), an empty value (TypeError,
    AttributeError), sequences nested too deep (RecursionError, a RuntimeError), an end of file inside a length, or one
    of pydicom's own two exceptions, which derive from none of these.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    python = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError, AssertionError)
    return (*python, EOFError, OSError, struct.error, zlib.error, BytesLengthException, InvalidDicomError)


@functools.cache
def decode_errors() -> tuple[type[Exception], ...]:
    """Returns what decoding a damaged image can raise.

    Added to `tag_errors`: Pillow answers a broken stream with SyntaxError, or with its own class for one that is too
    large, a plugin may lack its library, and a header that promises too much ends in MemoryError.
    """
    from PIL.Image import DecompressionBombError

    return (*tag_errors(), SyntaxError, ImportError, MemoryError, DecompressionBombError)


def scrub(error: BaseException) -> str:
    """Returns what may be said of an exception: the name of its class, and nothing of its text."""
    return type(error).__name__


class _Silence:
    """The process-wide switches that keep pydicom quiet, held while at least one thread is inside `quiet`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._restore = contextlib.ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._switch_off()
            self._depth += 1

    def leave(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._restore.close()

    def _switch_off(self) -> None:
        from pydicom import config

        self._restore.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in ("pydicom", "PIL"):
            library = logging.getLogger(name)
            self._restore.callback(library.setLevel, library.level)
            library.setLevel(logging.CRITICAL + 1)
        # Validation only warns, and quotes the value when it does; the gate's own rules judge the values.
        mode = config.settings.reading_validation_mode
        self._restore.callback(setattr, config.settings, "reading_validation_mode", mode)
        config.settings.reading_validation_mode = config.IGNORE


_SILENCE = _Silence()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the warnings and log records of pydicom and Pillow inside the block, and restores them after it.

    Both libraries quote values. The switches are process-wide, so nested and concurrent blocks share them: the first
    one in switches off, the last one out restores.
    """
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()
