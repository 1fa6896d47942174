"""Free text on an image: whether it names the chest, another part of the body, a frontal view or another one.

The vocabulary holds the words of about thirty languages. What usually means something else beside them is taken out
before. Such lists are never complete: they can miss a lateral image, as the tags can.
"""

from chexkeras.dicom.attributes import charsets, vocabulary
from chexkeras.dicom.header import fold

_ALL = (vocabulary.CHEST, vocabulary.OTHER_PART, vocabulary.OTHER_VIEW, vocabulary.SAYS_FRONTAL)
LONGEST = 1024
"""Characters of a text that are read; a description has at most 64 (PS3.5 6.2, VR LO)."""


def words_of(text: str) -> str:
    """Returns a description as plain words, "P.A." written as one; what the functions below are given.

    Example:
        >>> words_of("Thorax p.a./seitl."), words_of("T?rax PA"), words_of("胸部ＰＡ")
        ('THORAX PA SEITL', 'TORAX PA', '胸部 PA')
    """
    words = vocabulary.BETWEEN_SCRIPTS.sub(" ", plain(text))
    for pattern, spelling in vocabulary.SPELLINGS:
        words = pattern.sub(spelling, words)
    return " ".join(words.split())


def plain(text: str) -> str:
    """Returns text folded, without accents; what was read in a wrong character set is read again in the right one.

    Example:
        >>> plain("Tórax_p.a."), plain("胸部".encode("shift_jis").decode("latin-1"))
        ('TORAX P A', '胸部')
    """
    readings = [fold(charsets.letters(reading)) for reading in charsets.readings(text[:LONGEST])]
    return max(readings, key=_count_known) if len(readings) > 1 else readings[0]


def _count_known(words: str) -> int:
    return sum(len(pattern.findall(words)) for pattern in _ALL)


def names_chest(words: str) -> bool:
    """Returns whether the chest is named."""
    return bool(vocabulary.CHEST.search(words))


def without_chest_names(words: str) -> str:
    """Returns the words that are left when names of the chest are taken out."""
    return vocabulary.CHEST_NAME.sub(" ", words)


def names_other_part(words: str) -> bool:
    """Returns whether another part of the body is named, alone or beside the chest.

    Example:
        >>> names_other_part("THORACIC SPINE"), names_other_part("PORT HEAD UP 45")
        (True, False)
    """
    return bool(vocabulary.OTHER_PART.search(vocabulary.IDIOMS.sub(" ", words)))


def names_other_view(words: str) -> bool:
    """Returns whether a view that is not frontal is named, alone or beside a frontal one.

    Example:
        >>> names_other_view("TORAX DECUBITO SUPINO"), names_other_view("LEFT LATERAL DECUBITUS")
        (False, True)
    """
    return bool(vocabulary.OTHER_VIEW.search(words))


def names_frontal_view(words: str) -> bool:
    """Returns whether a frontal view is named, or that there are two views, one of which is frontal."""
    return bool(vocabulary.SAYS_FRONTAL.search(words))


def frontal_views(words: str) -> set[str]:
    """Returns which of "PA" and "AP" are named."""
    return set(vocabulary.PA_AP.findall(words))
