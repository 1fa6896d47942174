"""A split as an object: which image belongs to which part, and the proof that no patient is in two of them."""

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.image_table import ImageTable
from chexkeras.data.sampling import checked_factors, repeated
from chexkeras.plain import PlainTable

PARTS = ("train", "validation", "test")
_ASSIGNMENT = ("image_id", "patient_id", "part")
KINDS = ("patient", "official", "image", "official_image")


@checked
@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """An image table with a part for every image.

    Attributes:
        kind: "patient", "official" (NIH's test list), "image" (leaky: one patient's images in several parts) or
            "official_image" (NIH's test list, the other images by image: leaky between training and validation).
        seed: The seed that made it.
        targets: The findings it was stratified over.
        shares: (part, fraction of images asked for) of each part that was asked for.
        table: The image table.
        assignment: One row per image: image_id, patient_id, part ("train", "validation" or "test").
        factors: (finding, how often an epoch of training shows its images), see `up_sampled`.
        fold: With cross-validation, which of the folds is tested, such as "fold 2 of 5"; "" otherwise. See `k_fold`.
    """

    kind: str
    seed: int
    targets: tuple[str, ...]
    shares: tuple[tuple[str, float], ...]
    table: ImageTable = field(repr=False)
    assignment: pd.DataFrame = field(repr=False)
    factors: tuple[tuple[str, int], ...] = ()
    fold: str = ""

    def __post_init__(self) -> None:
        """Checks that each image has one part and that no patient is in two that the kind keeps apart.

        Raises:
            ValueError: If not; the message names the patients or images.
        """
        checks.one_of(self.kind, KINDS, "kind")
        object.__setattr__(self, "table", ImageTable.of(self.table, fix="Give the table that was split."))
        checks.require_columns(self.assignment, _ASSIGNMENT, "the assignment", "Give one row per image.")
        object.__setattr__(self, "assignment", _with_texts(self.assignment))
        unknown = sorted(set(self.assignment["part"]) - set(PARTS))
        if unknown:
            raise ValueError(f"unknown part(s) {', '.join(map(repr, unknown))}; expected {', '.join(PARTS)}.")
        twice = self.assignment["image_id"][self.assignment["image_id"].duplicated()]
        if len(twice):
            raise ValueError(f"{len(twice)} image(s) are assigned twice, first {twice.iloc[0]!r}; assign each once.")
        if set(zip(self.assignment["image_id"], self.assignment["patient_id"], strict=True)) != set(
            zip(self.table["image_id"], checks.patient_identifiers(self.table["patient_id"], "patient_id"), strict=True)
        ):
            raise ValueError("the assignment and the table differ in their images or patients; split this table again.")
        crossing = self._wrongly_crossing
        if crossing:
            parts = self.assignment["part"][self.assignment["patient_id"] == crossing[0]].unique()
            raise ValueError(
                f"{len(crossing)} patient(s) have images in several parts, first patient {crossing[0]!r} in "
                f"{' and '.join(parts)}; assign all images of a patient to one part."
            )

    @cached_property
    def crossing_patients(self) -> tuple[str, ...]:
        """The patients with images in more than one part."""
        parts = self.assignment.drop_duplicates(["patient_id", "part"])["patient_id"]
        return tuple(parts[parts.duplicated()].unique())

    @property
    def _wrongly_crossing(self) -> tuple[str, ...]:
        """The patients in several parts that the kind keeps apart."""
        if self.kind == "image":
            return ()
        if self.kind == "official_image":
            tested = set(self.assignment["patient_id"][self.assignment["part"] == "test"])
            return tuple(patient for patient in self.crossing_patients if patient in tested)
        return self.crossing_patients

    @property
    def has_test(self) -> bool:
        """Whether there is a test part; not so where a model is fitted to all images that folds have measured."""
        return "test" in dict(self.shares) or bool((self.assignment["part"] == "test").any())

    @property
    def leaky(self) -> bool:
        """Whether images of some parts were assigned without regard to the patient."""
        return self.kind in ("image", "official_image")

    @cached_property
    def table_sha256(self) -> str:
        """Fingerprint of the image table, wherever its images lie."""
        return image_table.fingerprint(self.table)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the assignment."""
        return files.sha256_table(self.assignment)

    @property
    def description(self) -> str:
        """One sentence for a report."""
        over = f"stratified over {listed(self.targets)}, seed {self.seed}"
        if self.factors:
            shown = ", ".join(f"{name} x {factor}" for name, factor in self.factors)
            over += f"; training images up-sampled after splitting: {shown}"
        if self.kind == "image":
            patients = self.assignment["patient_id"].nunique()
            return (
                f"LEAKY split by image: {len(self.crossing_patients)} of {patients} patients have images in several "
                f"parts, so scores on validation and test are better than on new patients ({over})"
            )
        if self.kind == "official_image":
            patients = self.assignment["patient_id"][self.assignment["part"] != "test"].nunique()
            return (
                f"official test list, whose patients are in no other part; LEAKY split by image between training and "
                f"validation: {len(self.crossing_patients)} of {patients} patients have images in both, so scores on "
                f"validation are better than on new patients ({over})"
            )
        if self.kind == "official":
            return f"official test list; validation split by patient from the official training list, {over}"
        by = "split by patient"
        if not self.patients_known:
            by = "split by image (patients are not known)"
        return f"{by}, {f'cross-validation, {self.fold}, ' if self.fold else ''}{over}"

    @property
    def patients_known(self) -> bool:
        """Whether it is known which images are of one patient; where it is not, each counts as a patient of its own."""
        return not (self.assignment["patient_id"] == self.assignment["image_id"]).all()

    @property
    def train(self) -> ImageTable:
        """The training images as an image table, each once; `training_rows` is what an epoch shows."""
        return self.part("train")

    @property
    def validation(self) -> ImageTable:
        """The validation images as an image table."""
        return self.part("validation")

    @property
    def test(self) -> ImageTable:
        """The test images as an image table."""
        return self.part("test")

    def part(self, name: str) -> ImageTable:
        """Returns one part as an image table, in the order of the whole table, with its source.

        Args:
            name: "train", "validation" or "test".

        Raises:
            ValueError: If there is no such part.
        """
        checks.one_of(name, PARTS, "part")
        images = self.assignment["image_id"][self.assignment["part"] == name]
        return self.table[self.table["image_id"].isin(images)].reset_index(drop=True)

    @property
    def training_rows(self) -> ImageTable:
        """The training images as often as an epoch shows them: those of up-sampled findings several times."""
        return repeated(self.train, self.factors)

    def up_sampled(self, factors: Mapping[str, int]) -> "Splits":
        """Returns this split with the training images of some findings shown several times an epoch.

        Only `training_rows` changes: every part keeps each image once, so that nothing is scored or counted twice.
        There is no way to up-sample before splitting, which would put copies of an image into two parts: a table that
        names an image twice cannot be split.

        Args:
            factors: How often an epoch shows the images of each finding, for example {"Pneumonia": 4}. An image with
                several of the findings counts with the largest of their factors. They replace earlier ones.

        Returns:
            A new split; its description and everything saved from it name the factors.

        Raises:
            ValueError: If a finding is no label or on no training image, or a factor is no whole number of at least 1.
        """
        return replace(self, factors=checked_factors(self.train, factors))

    def summary(self) -> pd.DataFrame:
        """Returns, per part, images, patients, share of images, and each target's positives and prevalence.

        Returns:
            A table indexed by part with images, patients, share, and ``<finding>_positives`` and
            ``<finding>_prevalence`` (among images whose label is known) per target; where labels are unknown,
            ``<finding>_labelled`` before them, the number of images whose label is known.
        """
        rows = []
        unlabelled = {target for target in self.targets if self.table[target].isna().any()}
        for name in PARTS:
            part = self.part(name)
            row: dict[str, Any] = {
                "part": name,
                "images": len(part),
                "patients": part["patient_id"].nunique(),
                "share": len(part) / len(self.table),
            }
            for target in self.targets:
                if target in unlabelled:
                    row[f"{target}_labelled"] = int(part[target].notna().sum())
                row[f"{target}_positives"] = int((part[target] == 1).sum())
                row[f"{target}_prevalence"] = float(part[target].mean())
            rows.append(row)
        return PlainTable(rows).set_index("part")

    def to_dict(self) -> dict[str, Any]:
        """Returns what a run records of its split, as plain values."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "targets": list(self.targets),
            "shares": dict(self.shares),
            "leaky": self.leaky,
            "up_sampled": dict(self.factors),
            # A split that is no fold is recorded as it always was.
            **({"fold": self.fold} if self.fold else {}),
            "description": self.description,
            "table_fingerprint": self.table_sha256,
            "fingerprint": self.fingerprint,
        }

    def save(self, path: str | Path) -> Path:
        """Writes image_id, patient_id, part as CSV, and beside it, as .json, how it was made and both fingerprints.

        Args:
            path: Where the CSV goes, for example "runs/first/splits.csv".

        Returns:
            The path of the CSV.

        Raises:
            ValueError: If `path` does not end in ".csv".
        """
        destination = _csv_path(path)
        files.write_csv(destination, self.assignment)
        files.write_json(destination.with_suffix(".json"), self.to_dict())
        return destination

    @classmethod
    def load(cls, path: str | Path, table: pd.DataFrame) -> "Splits":
        """Reads a saved split back onto the table it was made from.

        Args:
            path: The CSV that `save` wrote; its .json must lie beside it.
            table: The same image table; its images may have moved.

        Returns:
            The split.

        Raises:
            FileNotFoundError: If one of the two files is missing.
            ValueError: If the CSV was edited, or the table is another one.
        """
        origin = checks.existing_file(_csv_path(path), "splits")
        sidecar = checks.existing_file(
            origin.with_suffix(".json"),
            "splits",
            "a split is two files; copy the .json that was saved beside the .csv.",
        )
        made = files.read_json(sidecar)
        keys = ("kind", "seed", "targets", "shares", "table_fingerprint", "fingerprint")
        lacking = [key for key in keys if not isinstance(made, dict) or key not in made]
        if lacking:
            raise ValueError(f"{sidecar.name} lacks {', '.join(lacking)}; it was not written by Splits.save.")
        assignment = files.read_csv(origin, dtype=str, keep_default_na=False)
        if files.sha256_table(assignment) != made["fingerprint"]:
            raise ValueError(
                f"{origin.name} is not what was saved (its fingerprint differs): it was edited or cut short. Restore "
                "the saved file, or make a new split."
            )
        table = ImageTable.of(table, fix="Give the table that was split.")
        given = image_table.fingerprint(table)
        if given != made["table_fingerprint"]:
            raise ValueError(
                f"{origin.name} belongs to another table: {len(assignment)} images, fingerprint "
                f"{made['table_fingerprint'][:12]}; the one given has {len(table)} images, fingerprint {given[:12]}. "
                "Load the same label file with the same options, or make a new split."
            )
        shares = tuple(made["shares"].items())
        loaded = cls(
            made["kind"],
            made["seed"],
            tuple(made["targets"]),
            shares,
            table.copy(),
            assignment,
            fold=str(made.get("fold", "")),
        )
        return loaded.up_sampled(made.get("up_sampled", {}))

    def __repr__(self) -> str:
        """Returns kind, seed and sizes; a leaky split says so first."""
        counts = self.assignment["part"].value_counts()
        sizes = ", ".join(f"{name} {counts.get(name, 0)}" for name in PARTS)
        shown = f" (an epoch shows {len(self.training_rows)})" if self.factors else ""
        fold = f", {self.fold}" if self.fold else ""
        by = self.kind if self.patients_known or self.kind != "patient" else "image, patients not known"
        return f"<{'LEAKY ' if self.leaky else ''}Splits by {by}, seed {self.seed}{fold}: {sizes} images{shown}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.description)}</p>{self.summary().to_html(float_format='{:.4g}'.format)}"


def _with_texts(assignment: pd.DataFrame) -> pd.DataFrame:
    """Returns the assignment with identifiers as the table has them: text, each written in one way."""
    checked = {"image_id": checks.identifiers, "patient_id": checks.patient_identifiers}
    written = {
        name: pd.Series(check(assignment[name], f"{name} of the assignment"), index=assignment.index, dtype=object)
        for name, check in checked.items()
    }
    changed = {name: ids for name, ids in written.items() if not ids.equals(assignment[name].astype(object))}
    return assignment.assign(**changed) if changed else assignment


def listed(names: tuple[str, ...]) -> str:
    """Returns, for example, "Edema, Hernia and Mass".

    Args:
        names: At least one.
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _csv_path(path: str | Path) -> Path:
    destination = checks.typed_path(path, "splits")
    if destination.suffix != ".csv":
        raise ValueError(f"splits are saved as a .csv with a .json beside it; {str(path)!r} does not end in .csv.")
    return destination
