"""Writing a synthetic cohort as a folder that looks like a download of one of the other data sets.

What the images show comes from the same cohort as the phantoms in NIH's layout. Labels are the truth of the cohort in
the words of the data set, with the habits of its labelling that a loader must cope with: three readers of whom one
misses a finding, lists of labels in one cell, studies without a label, uncertain and blank marks.
"""

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chexkeras import files
from chexkeras.data.datasets import correspondence
from chexkeras.findings import CHEXPERT14, NIH14
from chexkeras.phantoms import chexpert
from chexkeras.phantoms.cohort import PhantomImage
from chexkeras.phantoms.hospitals import HOSPITALS, USUAL, Hospital
from chexkeras.phantoms.render import DrawnContent, PlannedImage, draw_images

_SMALLEST_DICOM_PX = 256


class Drawer(NamedTuple):
    """How images are drawn into files.

    Attributes:
        seed: The cohort's seed.
        size: Pixels a side; DICOM images have at least 256.
        processes: Worker processes, None for one a core.
        hospital: Where they are taken.
    """

    seed: int
    size: int
    processes: int | None
    hospital: Hospital = HOSPITALS[USUAL]

    def draw(self, planned: Sequence[PlannedImage], folder: Path) -> dict[str, DrawnContent]:
        """Draws images into a folder.

        Args:
            planned: What to draw.
            folder: Where their paths begin.

        Returns:
            What is on each image, by path.
        """
        size = self.size
        if any(entry.path.endswith((".dcm", ".dicom")) for entry in planned):
            size = max(size, _SMALLEST_DICOM_PX)
        return draw_images(planned, self.seed, size, folder, self.processes, self.hospital)

    def digest(self, image: PhantomImage, what: str) -> str:
        """Returns 64 hexadecimal digits that stand for an image.

        Args:
            image: The image.
            what: What for.
        """
        return hashlib.sha256(f"{self.seed}/{what}/{image.image_id}".encode()).hexdigest()


def _write(path: Path, header: str, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, "".join(f"{line}\n" for line in (header, *lines)))


def _rsna(folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer) -> None:
    """Writes the two tables, the mapping to NIH's names, and DICOM images named by a UUID."""

    def name(image: PhantomImage) -> str:
        digest = drawer.digest(image, "rsna")
        return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))

    planned = [PlannedImage(image, f"stage_2_train_images/{name(image)}.dcm") for image in cohort]
    drawn = drawer.draw(planned, folder)
    labels, classes = [], []
    for entry in planned:
        image, boxes = entry.image, drawn[entry.path].boxes.get("Pneumonia", [])
        if "Pneumonia" in image.labels:
            # Boxes in pixels of the challenge's images, which have 1024 a side.
            placed = [
                (left, top, right - left, bottom - top) for left, top, right, bottom in boxes or [(0.3, 0.4, 0.5, 0.6)]
            ]
            labels += [",".join([name(image), *(f"{1024 * number:.1f}" for number in box), "1"]) for box in placed]
        else:
            labels.append(f"{name(image)},,,,,0")
        kind = "Lung Opacity" if "Pneumonia" in image.labels else (
            "No Lung Opacity / Not Normal" if image.labels else "Normal")  # fmt: skip
        classes.append(f"{name(image)},{kind}")
    _write(folder / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", labels)
    _write(folder / "stage_2_detailed_class_info.csv", "patientId,class", classes)
    mapping = [
        {"subset_img_id": name(image), "img_id": image.image_id, "orig_labels": list(image.labels)} for image in cohort
    ]
    files.write_text(folder / "pneumonia-challenge-dataset-mappings_2018.json", json.dumps(mapping))


def _siim(folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer) -> None:
    """Writes the table of outlines, and DICOM images in a folder for each study and series."""

    def name(image: PhantomImage) -> str:
        numbers = int(drawer.digest(image, "siim")[:12], 16)
        return f"1.2.276.0.7230010.3.1.4.8323329.{image.patient}.{image.follow_up + 1}.{numbers}"

    drawer.draw(
        [
            PlannedImage(image, f"dicom-images-train/{name(image)}.2/{name(image)}.3/{name(image)}.dcm")
            for image in cohort
        ],
        folder,
    )
    lines = [f"{name(image)}, {'387620 23 996 33' if 'Pneumothorax' in image.labels else '-1'}" for image in cohort]
    _write(folder / "train-rle.csv", "ImageId, EncodedPixels", lines)


def _vindr(folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer) -> None:
    """Writes labels of three readers, a consensus for the test images, boxes, and DICOM images."""
    names = list(correspondence.MEANINGS["vindr"])
    meant = {name: set(meaning.columns) for name, meaning in correspondence.MEANINGS["vindr"].items()}
    drawer.draw(
        [
            PlannedImage(image, f"{'test' if image.test else 'train'}/{drawer.digest(image, 'vindr')[:32]}.dicom")
            for image in cohort
        ],
        folder,
    )
    lines: dict[bool, list[str]] = {False: [], True: []}
    boxes: dict[bool, list[str]] = {False: [], True: []}
    for place, image in enumerate(cohort):
        name = drawer.digest(image, "vindr")[:32]
        present = _present(image)
        for reader in range(1 if image.test else 3):
            # One reader of three misses every finding of every third image.
            seen = set() if reader == 2 and place % 3 == 0 else present
            shown = [each for each in names if meant[each] & seen] or [names[-1]]
            marks = [str(int(each in shown)) for each in names]
            who = [] if image.test else [f"R{1 + (place + reader) % 17}"]
            lines[image.test].append(",".join([name, *who, *marks]))
            corners = [("", "", "", "") if each == names[-1] else ("60.5", "70", "200", "180.25") for each in shown]
            boxes[image.test] += [",".join([name, *who, each, *box]) for each, box in zip(shown, corners, strict=True)]
    for test, part in ((False, "train"), (True, "test")):
        cell = "" if test else "rad_id,"
        _write(folder / "annotations" / f"image_labels_{part}.csv", f"image_id,{cell}{','.join(names)}", lines[test])
        _write(
            folder / "annotations" / f"annotations_{part}.csv",
            f"image_id,{cell}class_name,x_min,y_min,x_max,y_max",
            boxes[test],
        )


_PADCHEST_COLUMNS = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,"
    "labelCUIS,LocalizationsCUIS"
)
_MAKERS = ("PhilipsMedicalSystems", "ImagingDynamicsCompanyLtd")


def _padchest(folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer) -> None:
    """Writes the table with lists in its cells, and 16-bit PNG images in numbered folders, lateral ones too."""
    term_of = _first_terms("padchest")
    planned: list[PlannedImage] = []
    lines: list[str] = []
    for place, image in enumerate(cohort):
        number = int(drawer.digest(image, "padchest")[:30], 16)
        for squeezed in (False, True) if image.view == "PA" and place % 4 == 0 else (False,):
            name = f"{number}_{'l' if squeezed else 'f'}{place:05d}.png"
            planned.append(PlannedImage(image, f"{place % 5}/{name}", squeezed, deep=True))
            terms = [term_of[finding] for finding in image.labels if finding in term_of]
            # Reports of a follow-up say at times that nothing has changed, and no more.
            terms = ["unchanged"] if place % 11 == 10 else (terms or ([] if image.labels else ["normal"])) + (
                ["scoliosis"] if place % 7 == 3 else [])  # fmt: skip
            view = "L" if squeezed else ("AP_horizontal" if image.view == "AP" and place % 2 else image.view)
            cell = f'"{terms!r}"' if len(terms) > 1 else repr(terms)
            lines.append(
                f"{len(lines)},{name},{place % 5},2015{place % 12 + 1:02d}11,{number},"
                f"{900_000_000_000 + image.patient},{2015 - image.age_years}.0,{image.sex},,{view},"
                f"Manual review of DICOM fields,No,CR,"
                f"{_MAKERS[place % 2]},MONOCHROME2,0,None,{image.original[2]},12,2048,4096,"
                f"{image.original[1]},{image.original[0]},200,2,2000,10,None,{place}, sin hallazg .,"
                f"{'Physician' if place % 4 == 0 else 'RNN_model'},{cell},[],[],[],[]"
            )
    drawer.draw(planned, folder)
    _write(folder / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", _PADCHEST_COLUMNS, lines)


def _openi(folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer) -> None:
    """Writes a report as XML for each image and its lateral one, and DICOM images."""
    term_of = _first_terms("openi")
    planned = []
    (folder / "ecgen-radiology").mkdir()
    for number, image in enumerate(cohort, start=1):
        names = [f"{number}_IM-{number:04d}-{1001 if view == 'frontal' else 2001}" for view in ("frontal", "lateral")]
        planned += [
            PlannedImage(image, f"NLMCXR_dcm/{number}/{name}.dcm", squeezed=squeezed)
            for name, squeezed in zip(names, (False, True), strict=True)
        ]
        terms = [f"{term_of[each]}/right" for each in image.labels if each in term_of] or ["normal"]
        terms = ["No Indexing"] if number % 13 == 0 else terms
        headings = "".join(f"      <major>{term}</major>\n" for term in terms)
        pictures = "".join(f'   <parentImage id="CXR{name}"/>\n' for name in names)
        files.write_text(
            folder / "ecgen-radiology" / f"{number}.xml",
            f'<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n   <uId id="CXR{number}"/>\n   <MeSH>\n{headings}'
            f"   </MeSH>\n{pictures}</eCitation>\n",
        )
    drawer.draw(planned, folder)


def _mimic(folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer) -> None:
    """Writes the packed tables of two labellers, metadata and parts, MIMIC-IV's patients, and JPEG images."""

    def place(image: PhantomImage) -> tuple[str, str, str]:
        patient, study = f"{10_000_000 + image.patient}", f"{50_000_000 + 1000 * image.patient + image.follow_up}"
        digest = drawer.digest(image, "mimic")
        return patient, study, "-".join(digest[8 * part : 8 * part + 8] for part in range(5))

    planned = []
    for image in cohort:
        patient, study, name = place(image)
        planned.append(PlannedImage(image, f"files/p{patient[:2]}/p{patient}/s{study}/{name}.jpg"))
    drawn = drawer.draw(planned, folder)
    devices = [drawn[entry.path].devices for entry in planned]
    marks = chexpert.report_marks(cohort, devices, drawer.seed)
    tables: dict[str, list[str]] = {"chexpert": [], "negbio": [], "metadata": [], "split": []}
    people: dict[str, str] = {}
    for number, (image, row) in enumerate(zip(cohort, marks, strict=True)):
        patient, study, name = place(image)
        # The two programs disagree on what is uncertain; a few studies have no label.
        for labeller, values in (("chexpert", row), ("negbio", np.where(row == -1, 1.0, row))):
            if number % 50 != 49:
                written = ("" if np.isnan(value) else f"{value:.1f}" for value in values)
                tables[labeller].append(",".join((patient, study, *written)))
        tables["metadata"].append(
            f"{name},{patient},{study},CHEST (PORTABLE AP),{image.view},{image.original[1]},{image.original[0]},"
            f"2180{image.follow_up % 12 + 1:02d}26,213014.531,CHEST"
        )
        part = "test" if image.test else ("validate" if image.patient % 20 == 0 else "train")
        tables["split"].append(f"{name},{study},{patient},{part}")
        people.setdefault(patient, f"{patient},{image.sex},{image.age_years},2180,2014 - 2016,")
    labels = ",".join(("subject_id", "study_id", *CHEXPERT14))
    headers = {
        "chexpert": labels, "negbio": labels, "split": "dicom_id,study_id,subject_id,split",
        "metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
                    "StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning",
    }  # fmt: skip
    for what, lines in tables.items():
        text = "".join(f"{line}\n" for line in (headers[what], *lines))
        # Without a time inside, so that the same phantoms have the same bytes.
        (folder / f"mimic-cxr-2.0.0-{what}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    header = "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod"
    _write(folder / "patients.csv", header, list(people.values()))


def _chexpert_batches(folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer) -> None:
    """Writes CheXpert as its full-size download comes: label files and valid images in the first of four folders."""
    batches = [f"CheXpert-v1.0 batch {number} (train {number - 1})" for number in (2, 3, 4)]
    first = "CheXpert-v1.0 batch 1 (validate & csv)"
    planned = []
    for image in cohort:
        below = f"patient{image.patient:05d}/study{image.follow_up + 1}/view1_frontal.jpg"
        place = f"{first}/valid" if image.test else batches[image.patient % 3]
        planned.append(PlannedImage(image, f"{place}/{below}"))
    drawn = drawer.draw(planned, folder)
    devices = [drawn[entry.path].devices for entry in planned]
    tables = chexpert.label_lines(cohort, devices, drawer.seed, "CheXpert-v1.0")
    for file, lines in tables.items():
        _write(folder / first / file, lines[0], lines[1:])


def _present(image: PhantomImage) -> set[str]:
    """Returns the findings that an image shows, by the names of NIH and of CheXpert."""
    return set(image.labels) | {name for name, shown in chexpert.observations(image).items() if shown}


def _first_terms(data_set: str) -> dict[str, str]:
    """Returns a data set's own term for each of NIH's findings."""
    terms: dict[str, str] = {}
    for name, meaning in correspondence.MEANINGS[data_set].items():
        if meaning.here in NIH14 and not meaning.also:
            terms.setdefault(meaning.here, name)
    return terms


LAYOUTS: dict[str, Callable[[Path, Sequence[PhantomImage], Drawer], None]] = {
    "rsna": _rsna,
    "siim": _siim,
    "vindr": _vindr,
    "padchest": _padchest,
    "openi": _openi,
    "mimic": _mimic,
    "chexpert_batches": _chexpert_batches,
}
"""What writes each layout besides NIH's, by the name that `make_phantoms(layout=...)` takes."""

NAMES = {
    "rsna": "RSNA's layout", "siim": "SIIM-ACR's layout", "vindr": "VinDr-CXR's layout",
    "padchest": "PadChest's layout", "openi": "Open-I's layout", "mimic": "MIMIC-CXR-JPG's layout",
    "chexpert_batches": "the layout of CheXpert's full-size download",
}  # fmt: skip
"""What each layout is called in the file that marks phantoms."""


def fill_layout(
    layout: str, folder: Path, cohort: Sequence[PhantomImage], drawer: Drawer
) -> tuple[str, dict[str, Any]]:
    """Writes a cohort in one of `LAYOUTS`.

    Args:
        layout: Which.
        folder: An empty folder.
        cohort: The images.
        drawer: How they are drawn.

    Returns:
        The name of the data set, and counts of what is in it.
    """
    LAYOUTS[layout](folder, cohort, drawer)
    counts = {finding: sum(finding in image.labels for image in cohort) for finding in NIH14}
    patients = len({image.patient for image in cohort})
    return f"chexkeras phantoms in {NAMES[layout]}", {"images": len(cohort), "patients": patients, **counts}
