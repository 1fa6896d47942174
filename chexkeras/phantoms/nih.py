"""Writing a synthetic cohort as a folder that looks like a download of NIH ChestX-ray14."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chexkeras import checks, files
from chexkeras.arguments import checked
from chexkeras.findings import NIH14, NO_FINDING
from chexkeras.phantoms.canvas import Box
from chexkeras.phantoms.cohort import PhantomImage
from chexkeras.phantoms.folder import make_folder
from chexkeras.phantoms.hospitals import HOSPITALS, USUAL
from chexkeras.phantoms.layouts import LAYOUTS, Drawer, fill_layout
from chexkeras.phantoms.render import PlannedImage, draw_images

_NIH = "nih"
_ENTRY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
# NIH's list holds at most 180 boxes of a finding, in pixels of its 1024 px images.
_BOXES_PER_FINDING, _BOX_PIXELS = 180, 1024

Boxes = dict[str, dict[str, list[Box]]]


@checked
def make_phantoms(
    folder: str | Path,
    *,
    images: int = 600,
    size: int = 256,
    seed: int = 0,
    dicom: bool = True,
    prevalence: Mapping[str, float] | None = None,
    processes: int | None = None,
    site: str = USUAL,
    layout: str = "nih",
) -> Path:
    """Writes synthetic frontal chest radiographs in the exact layout of NIH ChestX-ray14, or of another data set.

    The folder gets ``Data_Entry_2017.csv``, ``images/``, ``BBox_List_2017.csv``, ``train_val_list.txt``,
    ``test_list.txt``, ``PHANTOM.json`` (which marks it as synthetic) and ``dicom/`` (acceptable files and one for each
    reason to reject; ``dicom_expected.csv`` says which). Prevalence, co-occurrence, persistence within a patient, age,
    sex and view follow NIH's margins. Synthetic radiographs, not clinical evidence.

    A folder already made with the same parameters is used as it is. Nothing is deleted, ever, and an interrupted call
    leaves nothing behind under the folder's name.

    Args:
        folder: Where to write; its parents are made if needed.
        images: Exact number of radiographs, at least 1.
        size: Pixels a side, 64 to 4096.
        seed: Whole number; the same seed gives the same bytes, whatever `processes`.
        dicom: Whether to write the ``dicom/`` folder too.
        prevalence: Share of radiographs, strictly between 0 and 1, for findings to enrich, for example
            ``{"Pneumonia": 0.3}``; the rest keep NIH's. The folder is then recorded as a case-control sample.
        processes: Worker processes; None takes all cores from 200 radiographs on, else one.
        site: The made-up hospital that they come from, one of `phantoms.HOSPITALS`: others than the usual one have
            other patients, exposure, resolution, markers, prevalence and label habits. Its factor of the odds applies
            to `prevalence` too.
        layout: Whose layout: "nih", or one of `phantoms.LAYOUTS`: "rsna", "siim", "vindr", "padchest", "openi", "mimic"
            or "chexpert_batches" (the full-size download of CheXpert). These have DICOM images of at least 256 px where
            the data set has DICOM, no `dicom` folder, and labels as their readers or programs write them.

    Returns:
        The folder, which `open_data` opens.

    Raises:
        ValueError: If an argument is out of range or a finding is unknown.
        FileExistsError: If the folder holds something else, or phantoms made with other parameters.
        NotADirectoryError: If `folder` is a file.
    """
    hospital = HOSPITALS[checks.one_of(site, HOSPITALS, "site")]
    own_seed = hospital.seed_of(seed) if isinstance(seed, int) else seed

    if checks.one_of(layout, (_NIH, *LAYOUTS), "layout") != _NIH:
        return make_folder(
            checks.typed_path(folder, "folder"),
            lambda temporary, cohort, workers: fill_layout(
                layout, temporary, cohort, Drawer(own_seed, size, workers, hospital)
            ),
            images=images,
            size=size,
            seed=seed,
            prevalence=prevalence,
            processes=processes,
            layout={"layout": layout},
            hospital=hospital,
        )

    def fill(temporary: Path, cohort: Sequence[PhantomImage], workers: int | None) -> tuple[str, dict[str, Any]]:
        planned = [PlannedImage(image, f"images/{image.image_id}") for image in cohort]
        drawn = draw_images(planned, own_seed, size, temporary, workers, hospital)
        boxes = {entry.image.image_id: drawn[entry.path].boxes for entry in planned}
        tables = {
            "Data_Entry_2017.csv": _entry_lines(cohort),
            "BBox_List_2017.csv": _box_lines(cohort, boxes),
            "train_val_list.txt": [image.image_id for image in cohort if not image.test],
            "test_list.txt": [image.image_id for image in cohort if image.test],
        }
        for name, lines in tables.items():
            files.write_text(temporary / name, "".join(f"{line}\n" for line in lines))
        if dicom:
            # pydicom is needed here alone.
            from chexkeras.phantoms.dicom import write_dicom_folder

            write_dicom_folder(temporary / "dicom", cohort, own_seed, size)
        return "chexkeras phantoms", _counts(cohort)

    return make_folder(
        checks.typed_path(folder, "folder"),
        fill,
        images=images,
        size=size,
        seed=seed,
        prevalence=prevalence,
        processes=processes,
        hospital=hospital,
        dicom=dicom,
    )


def _counts(cohort: Sequence[PhantomImage]) -> dict[str, int]:
    return {
        "images": len(cohort),
        "patients": len({image.patient for image in cohort}),
        "test_images": sum(image.test for image in cohort),
        NO_FINDING: sum(not image.severity for image in cohort),
        **{finding: sum(finding in image.labels for image in cohort) for finding in NIH14},
    }


def _entry_lines(images: Sequence[PhantomImage]) -> list[str]:
    lines = [_ENTRY_HEADER]
    for image in images:
        width, height, spacing = image.original
        labels = "|".join(sorted(image.labels)) or NO_FINDING
        lines.append(
            f"{image.image_id},{labels},{image.follow_up},{image.patient},{image.age_years},{image.sex},{image.view},"
            f"{width},{height},{spacing},{spacing}"
        )
    return lines


def _box_lines(images: Sequence[PhantomImage], boxes: Boxes) -> list[str]:
    """Returns the box list: like NIH's, of positive images of the test list only, and a sample where there are many."""
    lines = [_BOX_HEADER]
    for finding in NIH14:
        name = "Infiltrate" if finding == "Infiltration" else finding
        count = 0
        for image in images:
            for left, top, right, bottom in boxes[image.image_id].get(finding, []) if image.test else []:
                if count == _BOXES_PER_FINDING:
                    break
                left, top = max(0.0, left), max(0.0, top)
                numbers = (left, top, min(1.0, right) - left, min(1.0, bottom) - top)
                lines.append(",".join([image.image_id, name, *(f"{_BOX_PIXELS * n:.3f}" for n in numbers)]))
                count += 1
    return lines
