"""Label vocabularies in their fixed order, and the one way a finding's name is recognised.

The order of a vocabulary is the order of label columns, of model outputs and of report tables; nothing else in the
package may assume another one.
"""

import difflib
import unicodedata
from collections.abc import Callable, Iterable

from chexkeras.checks import nearest

NIH14: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The 14 findings of NIH ChestX-ray14, in the order of Wang et al., CVPR 2017."""

NO_FINDING = "No Finding"
"""An image without any of the findings: NIH's name for the complement of its 14, one of CheXpert's 14 columns."""

CHEXPERT14: tuple[str, ...] = (
    NO_FINDING,
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The 14 observations of CheXpert, in the order of its label columns (Irvin et al., AAAI 2019)."""

CHEXPERT5: tuple[str, ...] = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five findings of CheXpert's competition, by which models on it are compared."""

SUPPORT_DEVICES = "Support Devices"
"""Tubes, lines and pacemakers: labelled in CheXpert, but nothing that makes an image abnormal."""

ABNORMAL = "Abnormal"
"""The derived label of `data.datasets.labels.add_abnormal`: any finding present."""

ALL: tuple[str, ...] = tuple(dict.fromkeys((*NIH14, *CHEXPERT14, ABNORMAL)))
"""Every name known, each vocabulary in its own spelling: both "Effusion" and "Pleural Effusion" are in it."""

# Different names of one finding, as letters alone. Only what means the same in every vocabulary belongs here:
# CheXpert's Pleural Other is more than NIH's Pleural_Thickening, and its Lung Lesion is mass and nodule together.
_SAME = {"infiltrate": "infiltration", "pleuraleffusion": "effusion", "oedema": "edema"}


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in " _-")


def _meaning(name: str) -> str:
    return _SAME.get(_letters(name), _letters(name))


def canonical(name: str, vocabulary: Iterable[str] = NIH14) -> str:
    """Returns the vocabulary's own spelling of a finding.

    Case, blanks, hyphens and underscores do not matter, and neither does which data set's name of the same finding is
    given (NIH's Effusion is CheXpert's Pleural Effusion). Anything else does: "Pneumo" is refused rather than guessed,
    because Pneumonia and Pneumothorax are different diseases.

    Args:
        name: A finding as a user or a file spells it.
        vocabulary: The names to choose from.

    Returns:
        The name as `vocabulary` spells it.

    Raises:
        ValueError: If no name of the vocabulary matches; the message gives the nearest ones.

    Example:
        >>> canonical("pleural thickening"), canonical("Pleural Effusion"), canonical("effusion", CHEXPERT14)
        ('Pleural_Thickening', 'Effusion', 'Pleural Effusion')
    """
    names = tuple(vocabulary)
    keys: tuple[Callable[[str], str], ...] = (_letters, _meaning)
    for key in keys:
        for candidate in names:
            if key(candidate) == key(name):
                return candidate
    raise ValueError(f"unknown finding {name!r}; {nearest(name, names)} Known findings: {', '.join(names)}.")


def resolve(findings: str | Iterable[str], vocabulary: Iterable[str] = NIH14) -> tuple[str, ...]:
    """Returns one or several findings in canonical spelling, in the order given.

    Args:
        findings: One name or an iterable of names.
        vocabulary: The names to choose from.

    Returns:
        The names as `vocabulary` spells them.

    Raises:
        ValueError: If a name is unknown, is given twice, or none is given.

    Example:
        >>> resolve("pneumonia")
        ('Pneumonia',)
    """
    names = tuple(vocabulary)
    return _each_once(findings, lambda name: canonical(name, names))


def label_names(labels: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the names of labels where there is no table to look them up in: known findings, and labels of one's own.

    A name of `ALL` gets its canonical spelling; any other stays as it is, unless it looks like a known finding
    misspelt or cut short. Where there is a table, `data.image_table.resolve_targets` is the stricter choice.

    Args:
        labels: One name or an iterable of names.

    Returns:
        The names, in the order given.

    Raises:
        ValueError: If a name is blank, looks like a misspelt finding, holds a character that separates names or
            folders or one that `plain_name` refuses, is given twice, or none is given.

    Example:
        >>> label_names(["pleural_effusion", "Tuberculosis"])
        ('Pleural Effusion', 'Tuberculosis')
    """
    return _each_once(labels, _label_name)


LONGEST_NAME = 100
"""The longest name of a finding, characters."""

_BESIDE_LETTERS = frozenset(" -_/()'’&,.:+%°≥≤")


def plain_name(name: str) -> str:
    """Returns the name of a finding if it is one that can be shown wherever findings are shown.

    Names come from files that others wrote and go to terminals, tables, spreadsheets, figures and reports. Letters and
    digits of any script, blanks and a few signs are enough for every name of a finding, and mean nothing else there.

    Args:
        name: The name.

    Raises:
        ValueError: If it is no text, blank, longer than `LONGEST_NAME`, or holds another character, or begins with a
            sign, as a formula of a spreadsheet does.

    Example:
        >>> plain_name("Nodule (≥ 3 cm)"), plain_name("肺結節")
        ('Nodule (≥ 3 cm)', '肺結節')
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a finding is called {name!a:.40}; give it a name of letters, such as 'Pneumonia'.")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"the name of a finding has {len(name):,} characters; at most {LONGEST_NAME} were expected.")
    signs = (each for each in name if unicodedata.category(each)[0] not in "LMN")
    other = next((each for each in signs if each not in _BESIDE_LETTERS), "")
    if other:
        raise ValueError(
            f"the finding {name!a} holds {other!a}; give it a name of letters, digits, blanks and the signs "
            f"{''.join(sorted(_BESIDE_LETTERS - {' '}))}."
        )
    if unicodedata.category(name[0])[0] not in "LN" and name[0] != "(":
        raise ValueError(f"the finding {name!a} begins with {name[0]!a}; let its name begin with a letter.")
    return name


def _each_once(names: str | Iterable[str], clean: Callable[[str], str]) -> tuple[str, ...]:
    given = (names,) if isinstance(names, str) else tuple(names)
    if not given:
        raise ValueError("no finding given; name at least one, for example 'Pneumonia'.")
    cleaned = tuple(clean(name) for name in given)
    repeated = sorted({name for name in cleaned if cleaned.count(name) > 1})
    if repeated:
        raise ValueError(f"findings given more than once: {', '.join(repeated)}; name each once.")
    return cleaned


def _label_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{name!r} is no name of a finding; give a word such as 'Pneumonia'.")
    if set(name) & set("|/\\\n"):
        raise ValueError(f"the label {name!r} holds one of | / \\ or a line break; rename it.")
    plain_name(name.strip())
    try:
        return canonical(name, ALL)
    except ValueError:
        mistaken = _mistaken_for(name)
    if mistaken:
        raise ValueError(
            f"unknown finding {name!r}; did you mean {' or '.join(map(repr, mistaken))}? "
            "If it is a label of your own, give it a name that cannot be taken for a misspelt finding."
        )
    return name.strip()


def _mistaken_for(name: str) -> list[str]:
    """Returns the known findings that a name seems to misspell, cut short or put in the plural."""
    letters = _letters(name)
    known = {_letters(finding): finding for finding in ALL}
    singular = _meaning(letters.removesuffix("s"))
    if singular in known:
        return [known[singular]]
    cut_short = [finding for folded, finding in known.items() if len(letters) >= 4 and folded.startswith(letters)]
    # One name within the other is a name of its own: Normal is not Abnormal, Rib Fracture not Fracture. At 0.82,
    # Pnuemonia and Hernai are caught and Pneumonitis, another disease, is not.
    close = difflib.get_close_matches(letters, known, n=2, cutoff=0.82)
    return cut_short or [known[folded] for folded in close if folded not in letters and letters not in folded]
