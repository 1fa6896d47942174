"""Drawing images: anatomy, findings and the look of an exposure, composed into 8-bit pixels and written to files."""

import functools
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from chexkeras import parallel, progress
from chexkeras.dicom.origin import MADE_BY
from chexkeras.phantoms.anatomy import (
    LEFT,
    RIGHT,
    Anatomy,
    Field,
    Geometry,
    Pose,
    build_geometry,
    draw_anatomy,
    draw_pose,
    smoothed,
)
from chexkeras.phantoms.canvas import Box, Canvas, blank_layers, clouds, enlarge, site_of
from chexkeras.phantoms.cohort import PhantomImage
from chexkeras.phantoms.findings import draw_findings, reshape
from chexkeras.phantoms.hospitals import HOSPITALS, USUAL, Hospital
from chexkeras.phantoms.structures import draw_airways, draw_bones, draw_vessels, rib_field, spine_field


def _body(geometry: Geometry, anatomy: Anatomy, pose: Pose) -> Field:
    """Returns the density of soft tissue without lungs, at half resolution: neck, shoulders, trunk, abdomen."""
    y = geometry.y[::2]
    distance = geometry.distance[::2, ::2]
    neck, girth = 0.112 + 0.03 * anatomy.stoutness, anatomy.girth * pose.scale
    heights = [0.0, 0.025, 0.055, 0.085, 0.12, 0.17, 0.26, 0.33, 0.40, 0.52, 1.0]
    chest = max(girth, anatomy.chest_half_width * pose.scale + 0.035)
    widths = [neck, neck * 1.04, neck * 1.7, 0.32, 0.45, 0.52, 0.53, 0.49, chest + 0.02, chest, girth * 1.01]
    half = smoothed(np.interp(y, heights, widths), len(y) // 20)
    share = np.minimum(distance / half[:, None], 1)
    share *= share
    depth = np.interp(y, [0, 0.08, 0.2, 0.45, 0.7, 0.85, 1.0], [0.50, 0.60, 0.72, 0.82, 0.94, 1.08, 1.12])
    depth = depth + 0.10 * (anatomy.stoutness - 0.4)
    body = np.sqrt(1 - share * share) * depth.astype(np.float32)[:, None]
    # Upper arms, hanging close on AP images and turned outwards on PA images; between arm and trunk the image is black.
    spread = 0.09 if pose.ap else 0.49
    thick = 0.058 + 0.022 * anatomy.stoutness
    axis = (0.425 * pose.scale + spread * (y - 0.19)).astype(np.float32)
    arm = np.clip(1 - np.abs(distance - axis[:, None]) * (1 / thick), 0, 1) * np.clip((y[:, None] - 0.13) * 9, 0, 1)
    body = np.maximum(body, 0.58 * np.sqrt(arm * (2 - arm)))
    if anatomy.breasts:
        for side in (RIGHT, LEFT):
            x, level = geometry.place(side, 0.66, 0.60 + (0.03 if pose.ap else 0.0))
            radii = (0.125 * anatomy.breasts**0.5, 0.105 * anatomy.breasts**0.5)
            inner = ((geometry.x[None, ::2] - x) / radii[0]) ** 2 + ((y[:, None] - level) / radii[1]) ** 2
            body += 0.07 * anatomy.breasts * np.sqrt(np.clip(1 - inner, 0, 1))
    return body


class Drawing(NamedTuple):
    """A drawn image.

    Attributes:
        pixels: uint8 of shape (size, size), dense tissue bright.
        boxes: Per finding its boxes (left, top, right, bottom) as fractions of the image.
        devices: Whether tubes, lines or leads were drawn.
    """

    pixels: NDArray[np.uint8]
    boxes: dict[str, list[Box]]
    devices: bool


def _tubes(canvas: Canvas, geometry: Geometry, rng: np.random.Generator) -> bool:
    """Draws what lies on and in a bedridden patient: monitor leads, sometimes a tracheal tube and a venous line.

    Returns:
        Whether anything was drawn.
    """
    numbers = rng.random(12).tolist()
    for index in range(int(numbers[0] * 4)):
        x0, x1 = 0.1 + 0.8 * rng.random(), 0.05 + 0.9 * rng.random()
        t = np.linspace(0, 1, 14)
        bend = 0.12 * rng.standard_normal()
        points = np.stack(
            [x0 + (x1 - x0) * t + bend * np.sin(np.pi * t), 0.28 + 0.15 * index + (0.75 - 0.1 * index) * t], 1
        )
        canvas.line(points.tolist(), 0.0045, 0.30)
        canvas.ellipse((float(points[0, 0]), float(points[0, 1])), (0.013, 0.013), 0.35)
        canvas.ellipse((float(points[0, 0]), float(points[0, 1])), (0.005, 0.005), 0.85)
    middle = float(geometry.midline[0])
    if numbers[1] < 0.25:
        tip = 0.24 + 0.05 * numbers[2]
        canvas.line([(middle - 0.006, 0.0), (middle - 0.004, tip)], 0.0035, 0.5)
        canvas.line([(middle + 0.012, 0.0), (middle + 0.014, tip)], 0.0035, 0.5)
    if numbers[3] < 0.3:
        start = geometry.sign(RIGHT)
        line = [(middle + start * 0.20, 0.17), (middle + start * 0.10, 0.20), (middle + start * 0.045, 0.26)]
        canvas.line([*line, (middle + start * 0.04, 0.42 + 0.06 * numbers[4])], 0.0050, 0.6)
    if numbers[5] < 0.2:
        canvas.line(
            [(middle + 0.005, 0.0), (middle + 0.01, 0.45), (middle + 0.03, 0.75), (middle + 0.1, 0.86)], 0.006, 0.5
        )
    return numbers[0] * 4 >= 1 or numbers[1] < 0.25 or numbers[3] < 0.3 or numbers[5] < 0.2


def _marker(canvas: Canvas, pose: Pose, rng: np.random.Generator) -> None:
    numbers = rng.random(5).tolist()
    slant = 0.25 * (numbers[0] - 0.5)
    height = 0.034 + 0.012 * numbers[1]
    if numbers[2] < 0.75:
        canvas.letters("L", (0.905 + 0.03 * numbers[3], 0.035 + 0.05 * numbers[4]), height, slant)
    else:
        canvas.letters("R", (0.045 + 0.03 * numbers[3], 0.035 + 0.05 * numbers[4]), height, slant)
    if pose.ap and numbers[0] < 0.6:
        canvas.letters("AP", (0.86, 0.115 + 0.04 * numbers[4]), 0.020, 0.0)


def _plate(canvas: Canvas) -> None:
    """Draws the plate that some hospitals leave on every image: a bright bar at the lower edge."""
    canvas.line([(0.05, 0.965), (0.24, 0.965)], 0.012, 1.0)


def _coarser(grey: Field, resolution: float) -> Field:
    """Returns an image as a detector with fewer pixels shows it, at its own size."""
    side = max(16, round(resolution * len(grey)))
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    small = image.resize((side, side), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC), dtype=np.float32).copy()


def _tone() -> NDArray[np.float32]:
    """Returns the characteristic curve: density 0 to 1.5 in 1,024 steps to grey 0 to 255, with a toe and a shoulder."""
    density = np.linspace(0, 1.5, 1024)
    return (247 * (1 - np.exp(-((density / 0.70) ** 1.6)))).astype(np.float32)


_TONE = _tone()
# Grey of what got no radiation.
_UNEXPOSED = 2


def render(image: PhantomImage, seed: int, size: int) -> tuple[NDArray[np.uint8], dict[str, list[Box]]]:
    """Returns the pixels of an image and the boxes of its findings; see `draw`.

    Args:
        image: What to draw.
        seed: The cohort's seed.
        size: Pixels a side, at least 64.
    """
    return draw(image, seed, size)[:2]


def draw(image: PhantomImage, seed: int, size: int, hospital: Hospital = HOSPITALS[USUAL]) -> Drawing:
    """Draws an image.

    The result depends on the arguments alone, never on which images were drawn before.

    Args:
        image: What to draw.
        seed: The cohort's seed.
        size: Pixels a side, at least 64.
        hospital: Where it is taken.

    Returns:
        The pixels, and what is on them.
    """
    anatomy = draw_anatomy(
        np.random.default_rng(np.random.SeedSequence([seed, image.patient], spawn_key=(1,))), image.sex, image.age_years
    )
    rng = np.random.default_rng(np.random.SeedSequence([seed, image.patient, image.follow_up]))
    severity = dict(image.severity)
    sites = {finding: site_of(seed, image.patient, finding) for finding in severity}
    pose = draw_pose(rng, anatomy, image.view, severity)
    reshape(pose, severity, sites)
    plate, size = size, round(pose.field[2] * size)
    geometry = build_geometry(size, anatomy, pose)
    layers = blank_layers(geometry)
    boxes = draw_findings(layers, severity, sites, rng)

    half = len(layers.haze)
    texture = clouds(np.random.default_rng([anatomy.vessels, 1]), 40, half)
    air = 1 - layers.haze
    air *= 1 + 0.035 * texture
    air_scale = np.where(geometry.right[::2, ::2], np.float32(pose.air[RIGHT]), np.float32(pose.air[LEFT]))
    air = air * air_scale + layers.lucency
    lung = geometry.lung * enlarge(air, size)

    airways = Canvas(half, 1)
    draw_airways(airways, geometry, anatomy, pose)
    density = enlarge(_body(geometry, anatomy, pose) - 0.20 * airways.field(blur=1 / 128), size) - lung
    density += 0.10 * geometry.mediastinal
    density += layers.density
    density += rib_field(geometry, anatomy, pose)
    spine_field(density, geometry, anatomy)

    vessels = Canvas(size)
    draw_vessels(vessels, geometry, anatomy)
    strength = (0.17 * pose.vessel_gain) * vessels.field(blur=1 / 700) * np.minimum(geometry.lung * 1.5, 1)
    if severity:
        # Vessels vanish where the lung around them holds no air.
        strength *= enlarge(layers.vessels * (1 - layers.haze), size)
    density += strength
    if not layers.strands.blank:
        density += 0.17 * layers.strands.field() * np.minimum(geometry.lung * 4, 1)

    bones = Canvas(size)
    draw_bones(bones, geometry, anatomy, pose)
    density += 0.16 * bones.field()
    devices = pose.ap and rng.random() < 0.55 and _tubes(layers.crisp, geometry, rng)
    if not layers.crisp.blank:
        density += 0.19 * layers.crisp.field()

    contrast, offset = pose.contrast * hospital.contrast, pose.offset + hospital.exposure
    density = (density - 0.5) * np.float32(contrast) + np.float32(0.5 + offset)
    np.clip(density, 0, 1.499, out=density)
    grey = _TONE[(density * np.float32(1024 / 1.5)).astype(np.int32)]
    # Quantum noise: strongest where the image got least radiation; grain is wider than a pixel of a small image.
    noise = pose.noise * hospital.noise * math.sqrt(size / 512)
    grey += noise * rng.standard_normal(grey.shape, dtype=np.float32)
    if hospital.resolution < 1:
        grey = _coarser(grey, hospital.resolution)
    marker = Canvas(size)
    if hospital.markers != "none":
        _marker(marker, pose, rng)
    if hospital.markers == "plate":
        _plate(marker)
    np.maximum(grey, 252 * marker.field(), out=grey)
    _collimate(grey, rng)
    return _on_plate(Drawing(np.clip(grey, 0, 255).astype(np.uint8), boxes, bool(devices)), pose, plate)


def _on_plate(drawn: Drawing, pose: Pose, plate: int) -> Drawing:
    """Returns the exposed field in its place on the plate, which is black around it; boxes are fractions of the plate.

    Args:
        drawn: The field.
        pose: The image.
        plate: Pixels a side of the plate.
    """
    side = len(drawn.pixels)
    left, top = (min(round(start * plate), plate - side) for start in pose.field[:2])
    pixels = np.full((plate, plate), _UNEXPOSED, np.uint8)
    pixels[top : top + side, left : left + side] = drawn.pixels
    boxes = {
        finding: [
            ((left + a * side) / plate, (top + b * side) / plate, (left + c * side) / plate, (top + d * side) / plate)
            for a, b, c, d in each
        ]
        for finding, each in drawn.boxes.items()
    }
    return Drawing(pixels, boxes, drawn.devices)


def _collimate(grey: Field, rng: np.random.Generator) -> None:
    """Blackens what the collimator kept from the beam: on some images, a narrow border."""
    numbers = rng.random(5)
    if numbers[0] < 0.35:
        size = len(grey)
        for edge, number in enumerate(numbers[1:]):
            depth = int(max(0.0, number - 0.55) * 0.05 * size)
            if depth:
                target = (grey[:depth], grey[-depth:], grey[:, :depth], grey[:, -depth:])[edge]
                target[...] = _UNEXPOSED


# Images handed to a process at once.
_CHUNK = 16
# Compression that is fast for PNG, and that leaves a JPEG image's gray values about as they were.
_SAVING: dict[str, dict[str, Any]] = {".png": {"compress_level": 1}, ".jpg": {"quality": 92}}

_logger = logging.getLogger(__name__)


class PlannedImage(NamedTuple):
    """An image to be drawn, and where.

    Attributes:
        image: The image.
        path: Its file, relative to the folder drawn into, ".png", ".jpg", ".dcm" or ".dicom".
        squeezed: Whether to halve its width: it then stands for a lateral image without showing one.
        deep: Whether a PNG has 16 bits.
    """

    image: PhantomImage
    path: str
    squeezed: bool = False
    deep: bool = False


class DrawnContent(NamedTuple):
    """What is on a drawn image besides its labels.

    Attributes:
        boxes: Per finding its boxes (left, top, right, bottom) as fractions of the image.
        devices: Whether tubes, lines or leads were drawn.
    """

    boxes: dict[str, list[Box]]
    devices: bool


def draw_images(
    planned: Sequence[PlannedImage],
    seed: int,
    size: int,
    folder: Path,
    processes: int | None,
    hospital: Hospital = HOSPITALS[USUAL],
) -> dict[str, DrawnContent]:
    """Draws images into files.

    Args:
        planned: What to draw.
        seed: The cohort's seed.
        size: Pixels a side.
        folder: Where the paths of the images begin; folders below it are made.
        processes: How many processes to use, None for one a core; the files are the same for every number.
        hospital: Where they are taken.

    Returns:
        What is on each image, by path.
    """
    work = functools.partial(_draw_to_file, seed=seed, size=size, folder=str(folder), hospital=hospital)
    for workers in (processes, 1):
        drawn = parallel.map_ordered(work, planned, workers=workers, chunk=_CHUNK)
        try:
            contents = list(progress.track(drawn, "Drawing phantoms", total=len(planned)))
            break
        except parallel.WorkersUnavailable:
            # A script without an `if __name__ == "__main__"` guard cannot start processes; the images are the same.
            _logger.warning(
                "could not start worker processes; drawing in this one. Guard your script or set processes=1."
            )
    return {entry.path: content for entry, content in zip(planned, contents, strict=True)}


def _draw_to_file(planned: PlannedImage, *, seed: int, size: int, folder: str, hospital: Hospital) -> DrawnContent:
    """Draws one image; runs in a process of its own when there are many."""
    pixels, boxes, devices = draw(planned.image, seed, size, hospital)
    path = Path(folder) / planned.path
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = _squeezed(pixels) if planned.squeezed else pixels
    if path.suffix in (".dcm", ".dicom"):
        # pydicom is needed here alone.
        from chexkeras.phantoms.dicom import write_dicom_image

        write_dicom_image(path, planned.image, shown, seed, lateral=planned.squeezed)
        return DrawnContent(boxes, devices)
    # The file says so itself, wherever it is copied to.
    if path.suffix == ".png":
        marked: dict[str, Any] = {"pnginfo": PngInfo()}
        marked["pnginfo"].add_text("Software", MADE_BY)
    else:
        marked = {"comment": MADE_BY}
    picture = Image.fromarray(shown.astype(np.uint16) * 257 if planned.deep else shown)
    picture.save(path, **_SAVING[path.suffix], **marked)
    return DrawnContent(boxes, devices)


def _squeezed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the image at half its width, in the middle of a black one."""
    size = pixels.shape[1]
    half = size // 2
    narrow = pixels[:, : 2 * half].reshape(len(pixels), half, 2).mean(axis=2)
    image = np.zeros_like(pixels)
    image[:, (size - half) // 2 :][:, :half] = narrow.astype(np.uint8)
    return image
