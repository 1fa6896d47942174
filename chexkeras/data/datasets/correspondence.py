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


def _same(name: str) -> Meaning:
    if name in findings.NIH14:
        return Meaning(name, (name,))
    return Meaning(name, (), _NO_LABEL)


def _not_the_same(why: str = _NO_LABEL) -> Meaning:
    return Meaning("", (), why)


MEANINGS: dict[str, dict[str, Meaning]] = {
    "rsna": {
        # The challenge's boxes are of lung opacities that its radiologists took for pneumonia.
        "Lung Opacity": _same("Pneumonia"),
        "Possible pneumonia": _same("Pneumonia"),
    },
    "siim": {"Pneumothorax": _same("Pneumothorax")},
    "vindr": {
        "Aortic enlargement": _not_the_same(),
        "Atelectasis": _same("Atelectasis"),
        "Calcification": _not_the_same(),
        "Cardiomegaly": _same("Cardiomegaly"),
        "Clavicle fracture": _not_the_same(),
        "Consolidation": _same("Consolidation"),
        "Edema": _same("Edema"),
        "Emphysema": _same("Emphysema"),
        "Enlarged PA": _not_the_same(),
        "ILD": _not_the_same("interstitial lung disease is wider than Fibrosis"),
        "Infiltration": _same("Infiltration"),
        "Lung Opacity": Meaning("Lung Opacity", (), _SEVERAL),
        "Lung cavity": _not_the_same(),
        "Lung cyst": _not_the_same(),
        "Mediastinal shift": _not_the_same(),
        # Mass and nodule together, which is what CheXpert calls a lung lesion; no box says which of the two.
        "Nodule/Mass": Meaning("Lung Lesion", _LESION),
        "Pleural effusion": _same("Effusion"),
        "Pleural thickening": _same("Pleural_Thickening"),
        "Pneumothorax": _same("Pneumothorax"),
        "Pulmonary fibrosis": _same("Fibrosis"),
        "Rib fracture": _not_the_same(),
        "Other lesion": _not_the_same(),
        # The last five are said of whole images and never boxed.
        "COPD": _not_the_same("Emphysema is one form of it"),
        "Lung tumor": _not_the_same("a diagnosis: not every Mass is a tumour, and small tumours are nodules"),
        "Pneumonia": _same("Pneumonia"),
        "Tuberculosis": _not_the_same(),
        "Other diseases": _not_the_same(),
        "No finding": Meaning("", (), "none of VinDr-CXR's findings, which are others than NIH's"),
    },
    "chexlocalize": {
        "Airspace Opacity": Meaning("Lung Opacity", (), _SEVERAL),
        "Atelectasis": _same("Atelectasis"),
        "Cardiomegaly": _same("Cardiomegaly"),
        "Consolidation": _same("Consolidation"),
        "Edema": _same("Edema"),
        "Lung Lesion": Meaning("Lung Lesion", _LESION),
        "Lung Opacity": Meaning("Lung Opacity", (), _SEVERAL),
        "Enlarged Cardiomediastinum": _same("Enlarged Cardiomediastinum"),
        "Pleural Effusion": _same("Effusion"),
        "Pneumothorax": _same("Pneumothorax"),
        "Support Devices": _same("Support Devices"),
    },
    "padchest": {
        # A finding with the kinds of it that PadChest's own tree of terms puts below it.
        "atelectasis": _same("Atelectasis"),
        "laminar atelectasis": _same("Atelectasis"),
        "lobar atelectasis": _same("Atelectasis"),
        "segmental atelectasis": _same("Atelectasis"),
        "total atelectasis": _same("Atelectasis"),
        "round atelectasis": _same("Atelectasis"),
        "atelectasis basal": _same("Atelectasis"),
        "cardiomegaly": _same("Cardiomegaly"),
        "pleural effusion": _same("Effusion"),
        "loculated pleural effusion": _same("Effusion"),
        "loculated fissural effusion": _same("Effusion"),
        "infiltrates": _same("Infiltration"),
        "pulmonary mass": _same("Mass"),
        "nodule": _same("Nodule"),
        "multiple nodules": _same("Nodule"),
        "pneumonia": _same("Pneumonia"),
        "atypical pneumonia": _same("Pneumonia"),
        "pneumothorax": _same("Pneumothorax"),
        "consolidation": _same("Consolidation"),
        "pulmonary edema": _same("Edema"),
        "emphysema": _same("Emphysema"),
        "pulmonary fibrosis": _same("Fibrosis"),
        "pleural thickening": _same("Pleural_Thickening"),
        "apical pleural thickening": _same("Pleural_Thickening"),
        "calcified pleural thickening": _same("Pleural_Thickening"),
        "hiatal hernia": _same("Hernia"),
        "rib fracture": _same("Fracture"),
        "callus rib fracture": _same("Fracture"),
        "clavicle fracture": _same("Fracture"),
        "humeral fracture": _same("Fracture"),
        "vertebral fracture": _same("Fracture"),
        "fracture": _same("Fracture"),
        "NSG tube": _same("Support Devices"),
        "endotracheal tube": _same("Support Devices"),
        "tracheostomy tube": _same("Support Devices"),
        "chest drain tube": _same("Support Devices"),
        "central venous catheter": _same("Support Devices"),
        "central venous catheter via jugular vein": _same("Support Devices"),
        "central venous catheter via subclavian vein": _same("Support Devices"),
        "central venous catheter via umbilical vein": _same("Support Devices"),
        "reservoir central venous catheter": _same("Support Devices"),
        "catheter": _same("Support Devices"),
        "pacemaker": _same("Support Devices"),
        "dual chamber device": _same("Support Devices"),
        "single chamber device": _same("Support Devices"),
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
        "Pulmonary Atelectasis": _same("Atelectasis"),
        "Cardiomegaly": _same("Cardiomegaly"),
        "Cardiac Shadow/enlarged": _same("Cardiomegaly"),
        "Pleural Effusion": _same("Effusion"),
        "Infiltrate": _same("Infiltration"),
        "Mass": _same("Mass"),
        "Nodule": _same("Nodule"),
        "Pneumonia": _same("Pneumonia"),
        "Pneumothorax": _same("Pneumothorax"),
        "Hydropneumothorax": Meaning("Pneumothorax", ("Pneumothorax",), also=("Effusion",)),
        "Hemopneumothorax": Meaning("Pneumothorax", ("Pneumothorax",), also=("Effusion",)),
        "Consolidation": _same("Consolidation"),
        "Pulmonary Edema": _same("Edema"),
        "Emphysema": _same("Emphysema"),
        "Pulmonary Emphysema": _same("Emphysema"),
        "Bullous Emphysema": _same("Emphysema"),
        "Pulmonary Fibrosis": _same("Fibrosis"),
        "Thickening/pleura": _same("Pleural_Thickening"),
        "Hernia, Hiatal": _same("Hernia"),
        "Hernia, Diaphragmatic": _same("Hernia"),
        "Fractures, Bone": _same("Fracture"),
        "Catheters, Indwelling": _same("Support Devices"),
        "Tube, Inserted": _same("Support Devices"),
        "Implanted Medical Device": _same("Support Devices"),
        "Medical Device": _same("Support Devices"),
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
