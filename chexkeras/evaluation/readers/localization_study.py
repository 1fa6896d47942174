"""A localisation study: marks with ratings on images whose lesions are known, checked once.

A reader marks places and rates each mark; the reader may be a model. Every reader sees every image in every
modality, and an image without a mark says as much as one with several, so all images are listed.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras import checks
from chexkeras.arguments import checked
from chexkeras.evaluation.readers.lesion_marks import named_lesions, names_as_text

FALSE_POSITIVES_ON = ("normal", "all")
"""The images whose false marks count: normal ones, or all."""

_FIX = (
    "Give three tables: marks (image_id, rating, lesion: the lesion hit, empty for a false mark), lesions (image_id, "
    "lesion) and images (image_id of every image that was read, with patient_id where a patient has several)."
)


class Marks(NamedTuple):
    """The marks of one reader in one modality.

    Attributes:
        lesions: Shape (lesions,), the highest rating of the marks that hit each lesion; -inf where none does.
        images: Shape (images,), the highest rating of the false marks on each image; -inf where there is none.
        false_image: Shape (false marks,), the image of each false mark.
        false_rating: Shape (false marks,), its rating.
    """

    lesions: NDArray[np.float64]
    images: NDArray[np.float64]
    false_image: NDArray[np.int64]
    false_rating: NDArray[np.float64]


@checked
@dataclass(frozen=True, eq=False, repr=False)
class LocalizationStudy:
    """Marks with ratings on images whose lesions are known, of one reader or several, checked; made by `of`.

    Images and lesions stand in the order of their names, whatever the order of rows.

    Attributes:
        readers: The readers' names, in order.
        modalities: The modalities' names, in order; one empty name where the table had none.
        patient: Shape (images,), the patient of each image, numbered from 0.
        lesion_image: Shape (lesions,), the image of each lesion.
        weights: Shape (lesions,), the weight of each lesion; those of an image add up to 1.

    Example:
        >>> images = pd.DataFrame({"image_id": ["a", "b", "c"]})
        >>> lesions = pd.DataFrame({"image_id": ["a"], "lesion": ["left"]})
        >>> marks = pd.DataFrame({"image_id": ["a", "b"], "rating": [0.9, 0.4], "lesion": ["left", None]})
        >>> print(LocalizationStudy.of(marks, lesions, images))
        1 reader, 1 modality, 3 images of 3 patients, 1 lesion in 1 image, 2 normal images
    """

    readers: tuple[str, ...]
    modalities: tuple[str, ...]
    patient: NDArray[np.int64]
    lesion_image: NDArray[np.int64]
    weights: NDArray[np.float64]
    _marks: dict[tuple[str, str], Marks]

    @classmethod
    def of(cls, marks: pd.DataFrame, lesions: pd.DataFrame, images: pd.DataFrame) -> "LocalizationStudy":
        """Returns the study that three tables hold, or says what is wrong with them.

        Args:
            marks: One row for each mark: image_id, rating (any scale, higher is more suspicious), lesion (the name of
                the lesion it hits, empty for a false mark; `match_marks` finds it), and, where there are several,
                reader and modality. A row without a rating says that the image was read and not marked; it is needed
                only for a reader who marked nothing at all in a modality.
            lesions: One row for each lesion: image_id, lesion (its name, unique within the image; see
                `named_lesions`), and, where some matter more, weight (above 0; what counts is its share of the image's
                weights).
            images: One row for each image that was read, marked or not, the same for all readers and modalities:
                image_id, and patient_id where a patient has several images. An image without a lesion is normal.

        Returns:
            The study.

        Raises:
            TypeError: If a table is not a DataFrame.
            ValueError: If a column or a name is missing, an image or a lesion stands twice, a mark or a lesion belongs
                to an image that is not listed, a mark hits a lesion that is not known, a rating or a weight is not a
                number, or a reader marked nothing in a modality in which others did.
        """
        names, patient = _images(images)
        boxes = _lesions(lesions, names)
        lesion_image = names.get_indexer(pd.Index(boxes["image_id"])).astype(np.int64)
        weights = boxes["weight"].to_numpy(dtype=np.float64)
        weights = weights / np.bincount(lesion_image, weights, len(names))[lesion_image]
        rows = _rows(marks, names, pd.MultiIndex.from_frame(boxes[["image_id", "lesion"]]))
        readers, modalities = (tuple(sorted(rows[column].unique())) for column in ("reader", "modality"))
        parts = dict(iter(rows.groupby(["modality", "reader"], sort=False)))
        for modality, reader in itertools.product(modalities, readers):
            if (modality, reader) not in parts:
                raise ValueError(
                    f"{reader} marked nothing in {modality}; leave out this reader or modality or, if all images were "
                    "read and nothing was marked, add a row for one of them without a rating."
                )
        made = {(str(m), str(r)): _marks_of(part, len(names), len(boxes)) for (m, r), part in parts.items()}
        return cls(readers, modalities, patient, lesion_image, weights, made)

    @property
    def normal(self) -> NDArray[np.bool_]:
        """Shape (images,), whether each image has no lesion."""
        return np.bincount(self.lesion_image, minlength=len(self.patient)) == 0

    @property
    def n_patients(self) -> int:
        """Patients with an image."""
        return int(self.patient.max()) + 1

    def marks(self, reader: str | None = None, modality: str | None = None) -> Marks:
        """Returns the marks of one reader in one modality.

        Args:
            reader: Its name; None where there is one only.
            modality: Its name; None where there is one only.

        Raises:
            ValueError: If there is none of this name, or none is named although there are several.
        """
        return self._marks[
            _only(modality, self.modalities, "modality"), _only(reader, self.readers, "reader")
        ]  # fmt: skip

    def __str__(self) -> str:
        """Returns readers, modalities, images, patients, lesions and normal images, counted."""
        normal = int(self.normal.sum())
        counts = [
            (len(self.readers), "reader"), (len(self.modalities), "modality"), (len(self.patient), "image"),
            (self.n_patients, "patient"), (len(self.weights), "lesion"),
            (len(self.patient) - normal, "image"), (normal, "normal image"),
        ]  # fmt: skip
        return "{}, {}, {} of {}, {} in {}, {}".format(*(many(number, what) for number, what in counts))

    def __repr__(self) -> str:
        return f"LocalizationStudy({self})"


def many(number: int, what: str) -> str:
    """Returns a number and what it counts, for example "3 images".

    Args:
        number: How many.
        what: One of them.
    """
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def _only(name: str | None, names: tuple[str, ...], what: str) -> str:
    if name is not None:
        return checks.one_of(name, names, what)
    if len(names) > 1:
        raise ValueError(f"there is more than one {what} ({', '.join(names)}); name one with {what}=...")
    return names[0]


def _images(images: pd.DataFrame) -> tuple[pd.Index, NDArray[np.int64]]:
    """Returns the images' names in order, and the patient of each."""
    _need(images, ("image_id",), "images")
    table = pd.DataFrame({"image_id": _text(images["image_id"], "images", "image_id")})
    patient = "patient_id" if "patient_id" in images.columns else "image_id"
    table["patient_id"] = _text(images[patient], "images", patient)
    if table.empty:
        raise ValueError(f"images is empty. {_FIX}")
    twice = table["image_id"][table["image_id"].duplicated()]
    if len(twice):
        raise ValueError(f"{len(twice)} image(s) stand twice in images, first {twice.iloc[0]}; one row for each image.")
    table = table.sort_values("image_id", kind="stable")
    patients = np.unique(table["patient_id"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)
    return pd.Index(table["image_id"]), patients


def _lesions(lesions: pd.DataFrame, images: pd.Index) -> pd.DataFrame:
    """Returns image_id, lesion and weight of every lesion, in order."""
    _need(lesions, ("image_id",), "lesions")
    named = named_lesions(lesions.assign(image_id=_text(lesions["image_id"], "lesions", "image_id").to_numpy()))
    _known(named["image_id"], images, "lesions")
    weight = named["weight"] if "weight" in named.columns else pd.Series(1.0, named.index)
    weights = _numbers(weight, "weight", "lesions")
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError("weights of lesions must be finite numbers above 0, of all lesions or of none.")
    table = pd.DataFrame({"image_id": named["image_id"], "lesion": named["lesion"], "weight": weights})
    return table.sort_values(["image_id", "lesion"], kind="stable").reset_index(drop=True)


def _rows(marks: pd.DataFrame, images: pd.Index, lesions: pd.MultiIndex) -> pd.DataFrame:
    """Returns the marks with numbers for image and lesion, -1 for a false mark."""
    _need(marks, ("image_id", "rating", "lesion"), "marks")
    names = _text(marks["image_id"], "marks", "image_id")
    _known(names, images, "marks")
    hit = names_as_text(marks["lesion"]).reset_index(drop=True)
    rows = pd.DataFrame(
        {"image": images.get_indexer(pd.Index(names)), "rating": _numbers(marks["rating"], "rating", "marks")}
    )
    rows["lesion"] = np.where(hit.isna(), -1, lesions.get_indexer(pd.MultiIndex.from_arrays([names, hit])))
    unknown = hit.notna() & (rows["lesion"] < 0)
    if unknown.any():
        first = int(np.argmax(unknown.to_numpy()))
        raise ValueError(
            f"{int(unknown.sum())} mark(s) hit a lesion that is not listed, first {hit[first]!r} in image "
            f"{names[first]}; leave lesion empty for a false mark."
        )
    if np.isinf(rows["rating"]).any():
        raise ValueError("ratings must be finite; a row without a rating says that an image was read and not marked.")
    if (rows["rating"].isna() & hit.notna()).any():
        raise ValueError("a mark that hits a lesion has no rating; every mark needs one.")
    for column, default in (("reader", "model"), ("modality", "")):
        rows[column] = _text(marks[column], "marks", column) if column in marks.columns else default
    if rows.empty:
        return pd.DataFrame({"image": [0], "rating": [np.nan], "lesion": [-1], "reader": "model", "modality": ""})
    return rows


def _marks_of(part: pd.DataFrame, n_images: int, n_lesions: int) -> Marks:
    made = part[part["rating"].notna().to_numpy()]
    image, lesion = (made[column].to_numpy(dtype=np.int64) for column in ("image", "lesion"))
    rating, false = made["rating"].to_numpy(dtype=np.float64), made["lesion"].to_numpy() < 0
    lesions, images = np.full(n_lesions, -np.inf), np.full(n_images, -np.inf)
    np.maximum.at(lesions, lesion[~false], rating[~false])
    np.maximum.at(images, image[false], rating[false])
    order = np.lexsort((rating[false], image[false]))
    return Marks(lesions, images, image[false][order], rating[false][order])


def _need(table: pd.DataFrame, columns: tuple[str, ...], name: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name} is a {type(table).__name__}; a pandas DataFrame was expected. {_FIX}")
    checks.require_columns(table, columns, f"the table of {name}", _FIX)


def _text(column: pd.Series, name: str, what: str) -> pd.Series:
    text = names_as_text(column).reset_index(drop=True)
    if text.isna().any():
        raise ValueError(f"{int(text.isna().sum())} row(s) of {name} have no {what}; every row needs one.")
    return text.astype(str)


def _numbers(column: pd.Series, what: str, name: str) -> NDArray[np.float64]:
    try:
        return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {what} column of {name} is not numeric ({error}).") from error


def _known(column: pd.Series, images: pd.Index, name: str) -> None:
    foreign = column[~column.isin(images)]
    if len(foreign):
        raise ValueError(
            f"{len(foreign)} row(s) of {name} belong to images that are not in the table of images, first "
            f"{foreign.iloc[0]}; list every image that was read."
        )
