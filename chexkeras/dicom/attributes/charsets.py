"""Letters that compare equal, and text whose character set is missing, wrong or damaged."""

import contextlib
import re
import unicodedata

# PS3.3 C.12.1.1.2 and what older systems write without saying so. The one with most known words is believed.
_ENCODINGS = (
    *("iso2022_jp", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "cp1251", "iso8859_5", "koi8_r"),
    *("cp1250", "iso8859_2", "iso8859_9", "cp1253", "cp1256", "cp1255", "cp874"),
)
# Of these, Unicode knows no parts.
_UNDIVIDED = str.maketrans({"Ł": "L", "Ø": "O", "Đ": "D", "Ð": "D", "Æ": "AE", "Œ": "OE"})
# Words of several such letters in a row are no words of Western Europe, whose letters these encodings share mostly.
_FOREIGN = re.compile(r"[^\x00-\x7F]{2}|\x1b")
_CENTRAL = ("cp1250", "iso8859_2")
# Of ISO 2022 with a Korean or Chinese set; what it announces is read without it.
_ANNOUNCEMENTS = re.compile(r"\x1b\$\)[AC]")


def letters(text: str) -> str:
    """Returns text in upper case without accents, with wide letters as the usual ones.

    Example:
        >>> letters("Płuca, göğüs, ＣＲ")
        'PLUCA, GOGUS, CR'
    """
    parts = unicodedata.normalize("NFKD", text.upper().translate(_UNDIVIDED))
    return unicodedata.normalize("NFC", "".join(part for part in parts if not unicodedata.combining(part)))


def readings(text: str) -> list[str]:
    """Returns what a text can have been that was read as Latin-1: UTF-8 alone, or else itself and other readings.

    Source:
        PS3.5 6.1.2: code strings such as Body Part Examined are to be plain ASCII, so that nothing says what else is
        in them; consoles write what they show.
    """
    if text.isascii() and "\x1b" not in text:
        return [text]
    found, stored = [text], _stored(_ANNOUNCEMENTS.sub("", text))
    if not stored:
        return found
    for encoding in ("utf-8", *(_ENCODINGS if _FOREIGN.search(text) else _CENTRAL)):
        with contextlib.suppress(UnicodeError):
            found.append(stored.decode(encoding))
            if encoding == "utf-8" and not found[-1].isascii():
                return found[-1:]
    return found


def _stored(text: str) -> bytes:
    """Returns the bytes that were read as Latin-1, or as what Windows makes of it; none where it was neither."""
    for encoding in ("latin-1", "cp1252"):
        with contextlib.suppress(UnicodeError):
            return text.encode(encoding)
    return b""
