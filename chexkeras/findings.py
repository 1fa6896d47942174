"""Label vocabularies in their fixed order, and the one way a finding's name is recognised.

The order of a vocabulary is the order of label columns, of model outputs and of report tables; nothing else in the
package may assume another one.
"""

from collections.abc import Iterable

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
"""NIH's name for a film on which the label miner found none of the 14; not a finding itself."""

# The box list abbreviates one name; every other spelling differs only in case, blanks, hyphens and underscores.
_SYNONYMS = {"infiltrate": "infiltration"}


def _fold(name: str) -> str:
    folded = "".join(character for character in name.casefold() if character not in " _-")
    return _SYNONYMS.get(folded, folded)


def canonical(name: str, vocabulary: Iterable[str] = NIH14) -> str:
    """Returns the vocabulary's own spelling of a finding.

    Case, blanks, hyphens and underscores do not matter; anything else does: "Pneumo" is refused rather than guessed,
    because Pneumonia and Pneumothorax are different diseases.

    Args:
        name: A finding as a user or a file spells it.
        vocabulary: The names to choose from.

    Returns:
        The name as `vocabulary` spells it.

    Raises:
        ValueError: If no name of the vocabulary matches; the message gives the nearest ones.

    Example:
        >>> canonical("pleural thickening")
        'Pleural_Thickening'
    """
    names = tuple(vocabulary)
    for candidate in names:
        if _fold(candidate) == _fold(name):
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
    names = (findings,) if isinstance(findings, str) else tuple(findings)
    if not names:
        raise ValueError("no finding given; name at least one, for example 'Pneumonia'.")
    resolved = tuple(canonical(name, vocabulary) for name in names)
    repeated = sorted({name for name in resolved if resolved.count(name) > 1})
    if repeated:
        raise ValueError(f"findings given more than once: {', '.join(repeated)}; name each once.")
    return resolved
