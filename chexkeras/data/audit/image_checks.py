"""What an audit tells of the images themselves: each one alone, and those that are the same or nearly the same.

`image_facts` decodes one file: its size, mode and colour, its pixels' hash, and a thumbnail. DICOM files are read by
worker processes, which a damaged one may take down without harm.
"""

import contextlib
import functools
import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from chexkeras import checks, progress, storage
from chexkeras.data.audit.duplicates import TooAlike, near_duplicates
from chexkeras.data.audit.result import AuditIssue
from chexkeras.data.image_table import ImageTable
from chexkeras.dicom.pixels import image_file
from chexkeras.dicom.pixels.contrast import contrast_of_counts, value_counts
from chexkeras.dicom.read import Radiograph, is_dicom
from chexkeras.dicom.rejection import DicomRejected
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.dicom.workers.pool import ReaderPool
from chexkeras.parallel import HERE, SharedFiles, Workplace, map_ordered

THUMBNAIL_PX = 16
"""Width and height of a thumbnail, whatever the shape of the image."""

DICOM = "DICOM"
"""What stands for Pillow's mode where the file is DICOM."""

GRAY_STEPS = 256
"""Steps of a thumbnail in one gray value of 0-255, so that images of low contrast and of 16 bits keep their detail."""

_DEEP = 65535


@dataclass(frozen=True)
class ImageFacts:
    """What decoding a file showed.

    Attributes:
        problem: "" or the code "missing_file", "unreadable", "rejected_dicom" or "constant".
        detail: What is wrong, in words; names no folder.
        size: Width and height in pixels; (0, 0) when not decoded.
        mode: Pillow's mode, for example "L" (8-bit gray), or "DICOM"; "" when not decoded.
        colour: Whether the channels differ, that is, whether gray would lose something.
        digest: Hash of the gray pixels and their size, equal for equal images whatever the file format; "" if none.
        brightness: Mean gray value, 0-255; 0 where not decoded, as the following.
        contrast: Standard deviation of the gray values, 0-255.
        gray_levels: Gray values in use, see `dicom.pixels.contrast`.
        low_contrast: Why the image shows too little to be read, in words; "" for an image in order.
        thumbnail: 16 x 16 area averages as little-endian uint16, in 1/256 of a gray value of 0-255; b"" if none.
    """

    problem: str = ""
    detail: str = ""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    colour: bool = False
    digest: str = ""
    brightness: float = 0.0
    contrast: float = 0.0
    gray_levels: int = 0
    low_contrast: str = ""
    thumbnail: bytes = field(default=b"", repr=False)


# What Pillow raises on damaged files: most are OSError, a broken PNG chunk is SyntaxError, a broken header ValueError.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError)

MOST_REMOTE_BYTES = 256 * 2**20
"""The largest image that is read from an object store, which takes memory for all of it; as the DICOM gate takes."""

_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


def image_facts(path: str, read_dicom: Callable[[str], Radiograph] | None = None) -> ImageFacts:
    """Decodes one image.

    Args:
        path: A PNG, JPEG or DICOM file, told apart by content, or its address in an object store; "" counts as missing.
        read_dicom: What reads a DICOM file, `ReaderPool.read`; None leaves it alone, and tells its mode only.

    Returns:
        The facts. A file that cannot be decoded is a fact too and raises nothing. Pillow's limit on pixels
        (``PIL.Image.MAX_IMAGE_PIXELS``, against decompression bombs) is kept: a larger image counts as unreadable.
    """
    name = os.path.basename(path)
    source: str | bytes = path
    is_remote = storage.is_remote(path)
    if not path or (not is_remote and not os.path.exists(path)):
        return ImageFacts("missing_file", "there is no such file")
    # Before Pillow looks at it, as scoring does: a DICOM file may begin as an image file does. Of one elsewhere that is
    # named as an image file, all of it is fetched at once.
    found = not (is_remote and path.lower().endswith(_IMAGE_ENDINGS)) and is_dicom(path)
    try:
        if is_remote and not found:
            source = storage.content(path, MOST_REMOTE_BYTES)
            found = is_dicom(source)
    except FileNotFoundError:
        return ImageFacts("missing_file", "there is no such file")
    except (OSError, storage.TooLarge) as error:
        return ImageFacts("unreadable", str(error).replace(path, name))
    if found:
        return ImageFacts(mode=DICOM) if read_dicom is None else _dicom_facts(path, read_dicom)
    try:
        opened = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(opened, formats=image_file.FORMATS) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                return ImageFacts(
                    "unreadable", f"{image.width} x {image.height} pixels, more than Pillow's safety limit of {limit}"
                )
            if not image_file.is_decodable(image):
                return ImageFacts("unreadable", f"an image of the mode {image.mode}; grey or RGB was expected")
            pictures = image_file.picture_count(image)
            if pictures > 1:
                return ImageFacts("unreadable", f"{pictures} pictures in one file; one was expected")
            image.load()
            if image_file.is_cut_short(image):
                return ImageFacts("unreadable", "the data end before the last rows; a whole image was expected")
            # As it is shown to the classifier.
            ImageOps.exif_transpose(image, in_place=True)
            size, mode = image.size, image.mode
            pixels, colour = _gray(image)
    except Image.DecompressionBombError as error:
        return ImageFacts("unreadable", str(error))
    except _DAMAGED as error:
        # Pillow puts the full path into some messages; reports leave the machine, so only the file's name stays.
        return ImageFacts("unreadable", (str(error) or type(error).__name__).replace(path, name))
    return _seen(pixels, size, mode, colour)


def _dicom_facts(path: str, read_dicom: Callable[[str], Radiograph]) -> ImageFacts:
    """Returns what the DICOM gate says of a file; an accepted one is seen as the classifier would see it."""
    try:
        pixels = read_dicom(path).pixels
    except DicomRejected as rejected:
        return ImageFacts("rejected_dicom", str(rejected))
    return _seen(pixels, (pixels.shape[1], pixels.shape[0]), DICOM, False)


def _seen(pixels: np.ndarray, size: tuple[int, int], mode: str, colour: bool) -> ImageFacts:
    if pixels.size == 0 or pixels.min() == pixels.max():
        value = "" if pixels.size == 0 else f", every pixel is {pixels.flat[0]}"
        return ImageFacts("constant", f"an empty image{value}", size, mode, colour)
    digest = hashlib.sha256(f"{size} {pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    scale = _DEEP if mode.startswith("I") else 255
    counts = value_counts(np.clip(pixels, 0, scale), scale + 1)
    shown = np.rint(np.arange(scale + 1) / (scale / 255)).astype(np.int64)
    # As gray values of 0-255, which is how the image is trained on and scored.
    levels = np.bincount(shown, weights=counts, minlength=256).astype(np.int64)
    brightness = float(levels @ np.arange(256) / levels.sum())
    used = contrast_of_counts(levels)
    highest = int(pixels.max())
    part = f"values reach {highest} of {scale}" if highest < scale / 2 else ""
    return ImageFacts(
        size=size,
        mode=mode,
        colour=colour,
        digest=digest.hexdigest(),
        brightness=brightness,
        contrast=float(np.sqrt(levels @ (np.arange(256) - brightness) ** 2 / levels.sum())),
        gray_levels=used.grey_levels,
        low_contrast="; ".join(reason for reason in (used.problem, part) if reason),
        thumbnail=thumbnail(pixels).tobytes(),
    )


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Reduces an image to 16 x 16 area averages, of whole pixels where a border runs through some.

    Args:
        pixels: Gray pixels (height, width), 0-255, or 0-65535 when any exceeds 255.

    Returns:
        Little-endian uint16 array (16, 16), in 1/256 of a gray value of 0-255.

    Example:
        >>> int(thumbnail(np.full((320, 256), 100, np.uint8))[0, 0]) / GRAY_STEPS
        100.0
    """
    whole = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    small = np.asarray(whole.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX), dtype=np.float64)
    steps = GRAY_STEPS / 257 if pixels.max() > 255 else GRAY_STEPS
    return np.clip(np.rint(small * steps), 0, 65535).astype("<u2")


def _gray(image: Image.Image) -> tuple[np.ndarray, bool]:
    """Returns gray pixels, and whether the colour channels differ."""
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image), False
    if image.mode == "LA":
        return np.asarray(image.getchannel("L")), False
    rgb = np.asarray(image.convert("RGB"))
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return red, False
    return np.asarray(image.convert("RGB").convert("L")), True


# Images handed to a worker at once: handing over costs more time than a small image.
_CHUNK = 32
# On a cluster: so many that what travels costs little, and so few that a DICOM folder is shared out evenly.
_CHUNK_ELSEWHERE = 8


def open_images(
    paths: Sequence[str], processes: int | None = None, place: Workplace = HERE
) -> tuple[list[ImageFacts], np.ndarray]:
    """Decodes every image once.

    Args:
        paths: Their files.
        processes: How many processes; None takes threads, one per core, or all processors of a cluster.
        place: Where they are decoded.

    Returns:
        The facts, without thumbnails, and the thumbnails: uint16 array (images, 16, 16), see `thumbnail`; zero where
        there is none.

    Raises:
        WorkersUnavailable: If the processes that read DICOM files cannot be started, or there is no cluster.
    """
    facts: list[ImageFacts] = []
    thumbnails = np.zeros((len(paths), THUMBNAIL_PX, THUMBNAIL_PX), dtype="<u2")
    if place != HERE:
        for fact in progress.track(_opened_elsewhere(paths, processes, place), "opening images", total=len(paths)):
            _keep(fact, len(facts), thumbnails)
            facts.append(replace(fact, thumbnail=b""))
        return facts, thumbnails
    executor = "threads" if processes is None else "processes"
    opened = map_ordered(image_facts, paths, executor=executor, workers=processes, chunk=_CHUNK)
    for fact in progress.track(opened, "opening images", total=len(paths)):
        _keep(fact, len(facts), thumbnails)
        facts.append(replace(fact, thumbnail=b""))
    left = [row for row, fact in enumerate(facts) if fact.mode == DICOM]
    if left:
        # The readers are ended before the threads are waited for: an interrupt need not wait for a file that hangs.
        readers = ReaderPool()
        work = functools.partial(image_facts, read_dicom=readers.read)
        waiting = map_ordered(
            work, [paths[row] for row in left], executor="threads", workers=ISOLATED.processes, on_end=readers.close
        )
        with contextlib.closing(waiting):
            for row, fact in zip(left, progress.track(waiting, "reading DICOM files", total=len(left)), strict=True):
                _keep(fact, row, thumbnails)
                facts[row] = replace(fact, thumbnail=b"")
    return facts, thumbnails


def _opened_elsewhere(paths: Sequence[str], workers: int | None, place: Workplace) -> Iterator[ImageFacts]:
    """Yields the facts of files, DICOM or not, from workers that each have a process of their own to read DICOM."""
    if not place.on_cluster:
        readers = ReaderPool(options=ReadOptions(workers=1))
        work = functools.partial(image_facts, read_dicom=readers.read)
        yield from map_ordered(work, paths, executor="serial", on_end=readers.close)
        return
    given = [storage.absolute(path) for path in paths]
    setup = functools.partial(_reader, SharedFiles.some_of(given))
    waiting = map_ordered(_facts_read, given, setup=setup, executor=place, workers=workers, chunk=_CHUNK_ELSEWHERE)
    with contextlib.closing(waiting):
        yield from waiting


def _reader(shared: SharedFiles) -> ReaderPool:
    """Returns what reads DICOM files for one worker, whose end ends it."""
    shared.check()
    return ReaderPool(options=ReadOptions(workers=1))


def _facts_read(path: str, readers: ReaderPool) -> ImageFacts:
    return image_facts(path, readers.read)


def _keep(fact: ImageFacts, row: int, thumbnails: np.ndarray) -> None:
    if fact.thumbnail:
        thumbnails[row] = np.frombuffer(fact.thumbnail, "<u2").reshape(THUMBNAIL_PX, THUMBNAIL_PX)


def blurred(thumbnails: np.ndarray) -> np.ndarray:
    """Returns thumbnails at half their size, in gray values of 0-255.

    Args:
        thumbnails: Shape (images, 16, 16), from `open_images`.

    Returns:
        float32 array (images, 8, 8).
    """
    half = THUMBNAIL_PX // 2
    quartets = thumbnails.reshape(len(thumbnails), half, 2, half, 2)
    return quartets.mean(axis=(2, 4), dtype=np.float32) / np.float32(GRAY_STEPS)


def image_issues(table: ImageTable, facts: Sequence[ImageFacts]) -> Iterator[AuditIssue]:
    """Yields what is wrong or odd with each image alone.

    Args:
        table: The image table.
        facts: One entry per row.
    """
    usual = Counter(fact.size for fact in facts if fact.mode).most_common(1)
    for image, fact in zip(table["image_id"], facts, strict=True):
        if fact.problem:
            yield AuditIssue(fact.problem, image, fact.detail)
            continue
        if fact.size != usual[0][0]:
            (width, height), (usual_width, usual_height) = fact.size, usual[0][0]
            yield AuditIssue("unusual_size", image, f"{width} x {height}; most are {usual_width} x {usual_height}")
        if fact.low_contrast:
            yield AuditIssue("low_contrast", image, fact.low_contrast)
        # 16 bits of gray are gray.
        if fact.mode not in ("L", DICOM) and not fact.mode.startswith("I"):
            content = "colour" if fact.colour else "gray"
            yield AuditIssue("not_grayscale", image, f"{content} pixels stored as {fact.mode}")


def duplicate_issues(
    table: ImageTable, facts: Sequence[ImageFacts], thumbnails: np.ndarray, part_of: dict[str, str]
) -> Iterator[AuditIssue]:
    """Yields images that are the same, or nearly the same, as an earlier one.

    Args:
        table: The image table.
        facts: One entry per row.
        thumbnails: One per row, uint16 array (images, 16, 16) from `open_images`.
        part_of: The part of each image_id; empty where there is no split.
    """
    images, patients = table["image_id"].tolist(), checks.identifiers(table["patient_id"], "patient_id").tolist()
    parts = [part_of.get(image, "") for image in images]
    labels = table[list(table.labels)]
    same: dict[str, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if not fact.problem:
            same[fact.digest].append(row)
    for first, *others in same.values():
        for row in (row for row in others if images[row] != images[first]):
            yield AuditIssue("duplicate_pixels", images[row], f"same pixels as {images[first]}")
            if patients[row] != patients[first]:
                detail = f"patient {patients[row]}; same pixels as {images[first]} of patient {patients[first]}"
                yield AuditIssue("same_image_two_patients", images[row], detail)
            if parts[row] != parts[first]:
                detail = f"in {parts[row]}; {images[first]} is in {parts[first]}"
                yield AuditIssue("duplicate_crosses_split", images[row], detail)
            differing = _differing(labels.iloc[row], labels.iloc[first])
            if differing:
                yield AuditIssue("duplicate_labels_differ", images[row], f"{differing}; same pixels as {images[first]}")
    # One image of each set of equal ones stands for all: the others are told already.
    alone = np.array([rows[0] for rows in same.values()], dtype=np.int64)
    try:
        pairs = near_duplicates(thumbnails[alone])
    except TooAlike as problem:
        yield AuditIssue("films_too_alike", "", str(problem))
        return
    pairs["first"], pairs["second"] = alone[pairs["first"]], alone[pairs["second"]]
    yield from _near_issues(pairs, images, patients, parts)


def _differing(labels: pd.Series, others: pd.Series) -> str:
    """Returns, for example, "Edema 1, not 0", for labels that are known on both images and differ."""
    both = labels.notna() & others.notna() & (labels != others)
    return ", ".join(f"{name} {labels[name]:g}, not {others[name]:g}" for name in labels.index[both])


def _near_issues(pairs: pd.DataFrame, images: list[str], patients: list[str], parts: list[str]) -> Iterator[AuditIssue]:
    """Yields, per image and kind of pair, one issue that names the earlier image it resembles most."""
    found: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for first, second, similarity in pairs.itertuples(index=False):
        two_patients, crossing = patients[first] != patients[second], parts[first] != parts[second]
        kinds = {"near_duplicate_two_patients": two_patients, "near_duplicate_crosses_split": crossing}
        for code in [kind for kind, holds in kinds.items() if holds] or ["near_duplicate"]:
            found[code, second].append((similarity, first))
    for (code, row), alike in found.items():
        similarity, other = max(alike)
        where = f"in {parts[row]}; {images[other]} is in {parts[other]}"
        who = f"patient {patients[row]}; like {images[other]} of patient {patients[other]}"
        told = {"near_duplicate_crosses_split": where, "near_duplicate_two_patients": who}
        more = f", and {len(alike) - 1} more" if len(alike) > 1 else ""
        yield AuditIssue(
            code, images[row], f"{told.get(code, f'like {images[other]}')} (correlation {similarity:.4f}){more}"
        )
