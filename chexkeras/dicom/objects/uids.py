"""Unique identifiers that follow from what an object tells: the same result has the same one when it comes again."""

import hashlib
import uuid

from chexkeras.arguments import checked


@checked
def derived_uid(*parts: str) -> str:
    """Returns the UID of what the parts name: the same parts give the same UID, others another one.

    Args:
        *parts: What the object is of and made with, in order.

    Returns:
        "2.25." and the decimal number of a UUID of version 8, made of the SHA-256 of the parts.

    Source:
        PS3.5 B.2 (UUID derived UID); RFC 9562 5.8 (UUID version 8).

    Example:
        >>> derived_uid("run", "film") == derived_uid("run", "film") != derived_uid("runf", "ilm")
        True
    """
    digest = hashlib.sha256(b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62
    return f"2.25.{uuid.UUID(int=number).int}"
