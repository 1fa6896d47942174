"""Which findings of published data sets mean the same as those known here, and which do not and why.

Declared once: loaders, boxes, readings and `chexkeras datasets` read it. Findings are known here by the names of
`findings.ALL`; a name that is not the same thing keeps its reason, so that nobody maps it by its sound.
"""

from typing import NamedTuple

from chexkeras import findings

_LESION = ("Nodule", "Mass")
_NO_LABEL = "NIH has no such label"
_SEVERAL = "it may be any of several labels"


class Meaning(NamedTuple):
    """What a data set's name of a finding means here.

    Attributes:
        here: The name of `findings.ALL` that means the same; "" where none does.
        nih: NIH's labels any of which is meant; none where no label, nor several together, means the same.
        why: Why NIH's labels do not mean the same, a clause; "" where they do.
        also: Names of `findings.ALL` that it means besides `here`, all at once.
    """

    here: str
    nih: tuple[str, ...]
    why: str = ""
    also: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The findings known here that an image with it shows, all of them."""
        return (self.here, *self.also) if self.here else self.also


def same(name: str) -> Meaning:
    """Returns the meaning of a name that is the same as one known here.

    Args:
        name: The name of `findings.ALL`.
    """
    if name == findings.NO_FINDING:
        return Meaning(name, (), "none of the data set's own findings, which are others than NIH's")
    if name == "Pleural Effusion":
        return Meaning(name, ("Effusion",))
    if name == "Lung Lesion":
        return Meaning(name, _LESION)
    if name == "Lung Opacity":
        return Meaning(name, (), _SEVERAL)
    if name == "Pleural Other":
        return Meaning(name, (), "wider than Pleural_Thickening")
    if name in findings.NIH14:
        return Meaning(name, (name,))
    return Meaning(name, (), _NO_LABEL)


def _not_the_same(why: str = _NO_LABEL) -> Meaning:
    return Meaning("", (), why)


MEANINGS: dict[str, dict[str, Meaning]] = {
    "rsna": {
        # The challenge's boxes are of lung opacities that its radiologists took for pneumonia.
        "Lung Opacity": same("Pneumonia"),
        "Possible pneumonia": same("Pneumonia"),
    },
    "siim": {"Pneumothorax": same("Pneumothorax")},
    "vindr": {
        "Aortic enlargement": _not_the_same(),
        "Atelectasis": same("Atelectasis"),
        "Calcification": _not_the_same(),
        "Cardiomegaly": same("Cardiomegaly"),
        "Clavicle fracture": _not_the_same(),
        "Consolidation": same("Consolidation"),
        "Edema": same("Edema"),
        "Emphysema": same("Emphysema"),
        "Enlarged PA": _not_the_same(),
        "ILD": _not_the_same("interstitial lung disease is wider than Fibrosis"),
        "Infiltration": same("Infiltration"),
        "Lung Opacity": Meaning("Lung Opacity", (), _SEVERAL),
        "Lung cavity": _not_the_same(),
        "Lung cyst": _not_the_same(),
        "Mediastinal shift": _not_the_same(),
        # Mass and nodule together, which is what CheXpert calls a lung lesion; no box says which of the two.
        "Nodule/Mass": Meaning("Lung Lesion", _LESION),
        "Pleural effusion": same("Effusion"),
        "Pleural thickening": same("Pleural_Thickening"),
        "Pneumothorax": same("Pneumothorax"),
        "Pulmonary fibrosis": same("Fibrosis"),
        "Rib fracture": _not_the_same(),
        "Other lesion": _not_the_same(),
        # The last five are said of whole images and never boxed.
        "COPD": _not_the_same("Emphysema is one form of it"),
        "Lung tumor": _not_the_same("a diagnosis: not every Mass is a tumour, and small tumours are nodules"),
        "Pneumonia": same("Pneumonia"),
        "Tuberculosis": _not_the_same(),
        "Other diseases": _not_the_same(),
        "No finding": Meaning("", (), "none of VinDr-CXR's findings, which are others than NIH's"),
    },
    "chexlocalize": {
        "Airspace Opacity": Meaning("Lung Opacity", (), _SEVERAL),
        "Atelectasis": same("Atelectasis"),
        "Cardiomegaly": same("Cardiomegaly"),
        "Consolidation": same("Consolidation"),
        "Edema": same("Edema"),
        "Lung Lesion": Meaning("Lung Lesion", _LESION),
        "Lung Opacity": Meaning("Lung Opacity", (), _SEVERAL),
        "Enlarged Cardiomediastinum": same("Enlarged Cardiomediastinum"),
        "Pleural Effusion": same("Effusion"),
        "Pneumothorax": same("Pneumothorax"),
        "Support Devices": same("Support Devices"),
    },
    "padchest": {
        # A finding with the kinds of it that PadChest's own tree of terms puts below it.
        "atelectasis": same("Atelectasis"),
        "laminar atelectasis": same("Atelectasis"),
        "lobar atelectasis": same("Atelectasis"),
        "segmental atelectasis": same("Atelectasis"),
        "total atelectasis": same("Atelectasis"),
        "round atelectasis": same("Atelectasis"),
        "atelectasis basal": same("Atelectasis"),
        "cardiomegaly": same("Cardiomegaly"),
        "pleural effusion": same("Effusion"),
        "loculated pleural effusion": same("Effusion"),
        "loculated fissural effusion": same("Effusion"),
        "infiltrates": same("Infiltration"),
        "pulmonary mass": same("Mass"),
        "nodule": same("Nodule"),
        "multiple nodules": same("Nodule"),
        "pneumonia": same("Pneumonia"),
        "atypical pneumonia": same("Pneumonia"),
        "pneumothorax": same("Pneumothorax"),
        "consolidation": same("Consolidation"),
        "pulmonary edema": same("Edema"),
        "emphysema": same("Emphysema"),
        "pulmonary fibrosis": same("Fibrosis"),
        "pleural thickening": same("Pleural_Thickening"),
        "apical pleural thickening": same("Pleural_Thickening"),
        "calcified pleural thickening": same("Pleural_Thickening"),
        "hiatal hernia": same("Hernia"),
        "rib fracture": same("Fracture"),
        "callus rib fracture": same("Fracture"),
        "clavicle fracture": same("Fracture"),
        "humeral fracture": same("Fracture"),
        "vertebral fracture": same("Fracture"),
        "fracture": same("Fracture"),
        "NSG tube": same("Support Devices"),
        "endotracheal tube": same("Support Devices"),
        "tracheostomy tube": same("Support Devices"),
        "chest drain tube": same("Support Devices"),
        "central venous catheter": same("Support Devices"),
        "central venous catheter via jugular vein": same("Support Devices"),
        "central venous catheter via subclavian vein": same("Support Devices"),
        "central venous catheter via umbilical vein": same("Support Devices"),
        "reservoir central venous catheter": same("Support Devices"),
        "catheter": same("Support Devices"),
        "pacemaker": same("Support Devices"),
        "dual chamber device": same("Support Devices"),
        "single chamber device": same("Support Devices"),
        # An effusion and a pneumothorax at once.
        "hydropneumothorax": Meaning("Pneumothorax", ("Pneumothorax",), also=("Effusion",)),
        "alveolar pattern": _not_the_same("it may be Consolidation, Edema or Pneumonia"),
        "interstitial pattern": _not_the_same("it may be Edema, Fibrosis or Infiltration"),
        "ground glass pattern": _not_the_same(_SEVERAL),
        "increased density": _not_the_same(_SEVERAL),
        "volume loss": _not_the_same("Atelectasis is one cause of it"),
        "costophrenic angle blunting": _not_the_same("a small Effusion or Pleural_Thickening, which is not said"),
        "COPD signs": _not_the_same("Emphysema is one form of it"),
        "air trapping": _not_the_same("a sign of COPD, of which Emphysema is one form"),
        "fibrotic band": _not_the_same("a scar; Fibrosis is of the lung at large"),
        "chronic changes": _not_the_same(_SEVERAL),
        "pseudonodule": _not_the_same("it looks like a Nodule and is none"),
        "granuloma": _not_the_same("NIH's reports may call it Nodule or not"),
        "calcified granuloma": _not_the_same("NIH's reports may call it Nodule or not"),
        "mass": _not_the_same("a mass anywhere in the chest; Mass is of the lung"),
        "mediastinal mass": _not_the_same("it is not of the lung, as Mass is"),
        "pleural mass": _not_the_same("it is not of the lung, as Mass is"),
        "subcutaneous emphysema": _not_the_same("air below the skin, not Emphysema of the lung"),
        "heart insufficiency": _not_the_same("a diagnosis, with or without Edema"),
        "diaphragmatic eventration": _not_the_same("the diaphragm bulges and is whole, as it is not in Hernia"),
        "pulmonary artery enlargement": _not_the_same(),
        "mediastinal enlargement": Meaning("Enlarged Cardiomediastinum", (), _NO_LABEL),
    },
    "openi": {
        # Headings, or a heading with one of its qualifiers.
        "Pulmonary Atelectasis": same("Atelectasis"),
        "Cardiomegaly": same("Cardiomegaly"),
        "Cardiac Shadow/enlarged": same("Cardiomegaly"),
        "Pleural Effusion": same("Effusion"),
        "Infiltrate": same("Infiltration"),
        "Mass": same("Mass"),
        "Nodule": same("Nodule"),
        "Pneumonia": same("Pneumonia"),
        "Pneumothorax": same("Pneumothorax"),
        "Hydropneumothorax": Meaning("Pneumothorax", ("Pneumothorax",), also=("Effusion",)),
        "Hemopneumothorax": Meaning("Pneumothorax", ("Pneumothorax",), also=("Effusion",)),
        "Consolidation": same("Consolidation"),
        "Pulmonary Edema": same("Edema"),
        "Emphysema": same("Emphysema"),
        "Pulmonary Emphysema": same("Emphysema"),
        "Bullous Emphysema": same("Emphysema"),
        "Pulmonary Fibrosis": same("Fibrosis"),
        "Thickening/pleura": same("Pleural_Thickening"),
        "Hernia, Hiatal": same("Hernia"),
        "Hernia, Diaphragmatic": same("Hernia"),
        "Fractures, Bone": same("Fracture"),
        "Catheters, Indwelling": same("Support Devices"),
        "Tube, Inserted": same("Support Devices"),
        "Implanted Medical Device": same("Support Devices"),
        "Medical Device": same("Support Devices"),
        "Airspace Disease": _not_the_same("it may be Consolidation, Infiltration, Pneumonia or Edema"),
        "Opacity": _not_the_same(_SEVERAL),
        "Density": _not_the_same(_SEVERAL),
        "Pulmonary Congestion": _not_the_same("it may be without Edema"),
        "Heart Failure": _not_the_same("a diagnosis, with or without Edema"),
        "Calcified Granuloma": _not_the_same("NIH's reports may call it Nodule or not"),
        "Granuloma": _not_the_same("NIH's reports may call it Nodule or not"),
        "Pulmonary Disease, Chronic Obstructive": _not_the_same("Emphysema is one form of it"),
        "Lung Diseases, Interstitial": _not_the_same("interstitial lung disease is wider than Fibrosis"),
        "Cystic Fibrosis": _not_the_same("a disease of its own, not Fibrosis of the lung"),
        "Cicatrix": _not_the_same("a scar; Fibrosis is of the lung at large"),
        "Volume Loss": _not_the_same("Atelectasis is one cause of it"),
        "Diaphragmatic Eventration": _not_the_same("the diaphragm bulges and is whole, as it is not in Hernia"),
        "Bronchiectasis": _not_the_same(),
        "Subcutaneous Emphysema": _not_the_same("air below the skin, not Emphysema of the lung"),
        "Mediastinal Emphysema": _not_the_same("air around the heart, not Emphysema of the lung"),
    },
}
"""What the names of each data set mean here, in the spelling of its files; a name that is not there is unknown."""


def here(data_set: str) -> dict[str, str | None]:
    """Returns what each name of a data set means here, without capitals; None where nothing here means the same.

    Args:
        data_set: A key of `MEANINGS`.

    Example:
        >>> here("vindr")["nodule/mass"], here("vindr")["ild"]
        ('Lung Lesion', None)
    """
    return {name.casefold(): meaning.here or None for name, meaning in MEANINGS[data_set].items()}


def corresponding(data_set: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Returns the names of a data set that mean one of NIH's labels, or any of several, with these.

    Args:
        data_set: A key of `MEANINGS`.

    Example:
        >>> corresponding("rsna")[0]
        ('Lung Opacity', ('Pneumonia',))
    """
    return tuple((name, meaning.nih) for name, meaning in MEANINGS[data_set].items() if meaning.nih)


def differing(data_set: str) -> tuple[tuple[str, str], ...]:
    """Returns the names of a data set that no label of NIH's means, each with the reason.

    Args:
        data_set: A key of `MEANINGS`.

    Example:
        >>> dict(differing("vindr"))["ILD"]
        'interstitial lung disease is wider than Fibrosis'
    """
    return tuple((name, meaning.why) for name, meaning in MEANINGS[data_set].items() if not meaning.nih)


def columns_of(data_set: str) -> tuple[str, ...]:
    """Returns the findings known here that a data set labels, in the order of `findings.ALL`.

    Args:
        data_set: A key of `MEANINGS`.

    Example:
        >>> columns_of("siim")
        ('Pneumothorax',)
    """
    meant = {name for meaning in MEANINGS[data_set].values() for name in meaning.columns}
    return tuple(name for name in findings.ALL if name in meant)
