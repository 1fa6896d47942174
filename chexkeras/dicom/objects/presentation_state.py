"""The presentation state of a film: contours of the heat map and scores, which a viewer lays over the film."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.dicom import privacy
from chexkeras.dicom.objects.common import SeriesOf, highdicom, of_known_class
from chexkeras.dicom.objects.display_tags import DisplayTags
from chexkeras.dicom.objects.film_map import LEVEL, FilmMap
from chexkeras.dicom.objects.source import NotDescribable, SourceFilm
from chexkeras.dicom.objects.told import DeviceFacts, FilmResult
from chexkeras.dicom.objects.wording import caution_lines, device_lines, finding_lines

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES = SeriesOf("pr", 9003, "contours of the heat map")

_LAYER = "AI_RESULT"
# CIELab white-cyan as PS3.3 C.10.7.1.1 scales it; viewers without colours show the grey value.
_GREY_VALUE = 0xFFFF
_LONGEST_TEXT = 1024
_MOST_LINES = 100
_BOX = (0.02, 0.02, 0.98, 0.2)


@checked
def presentation_state(
    film: SourceFilm, device: DeviceFacts, result: FilmResult, turned: str, maps: Sequence[FilmMap]
) -> "Dataset":
    r"""Builds the presentation state of a film that was scored and has a heat map.

    Args:
        film: The film, one grey image.
        device: The algorithm.
        result: What it says of the film.
        turned: How the stored film lay where it was turned upright to be scored, like ``F\R``; or empty.
        maps: Heat maps whose contours are drawn, at least one.

    Returns:
        The object, of highdicom's class `GrayscaleSoftcopyPresentationState`.

    Raises:
        NotDescribable: If the film is no single grey image.
        ValueError: If there is no heat map, or highdicom is not installed.

    Source:
        PS3.3 A.33.1, C.10.5 (graphics in pixels of the image as stored), C.11.6 (INVERSE for MONOCHROME1).
    """
    if not maps:
        raise ValueError("a presentation state marks contours of heat maps; none was given.")
    pr = highdicom("pr")
    if not film.grey:
        raise NotDescribable("the film is no single grey image, which a grayscale presentation state refers to.")
    with privacy.quiet(), of_known_class(film):
        layer = pr.GraphicLayer(layer_name=_LAYER, order=1, description=device.mark[:64], display_color=None)
        lines = [line for each in maps for line in each.stored_contours(turned, (film.rows, film.columns))][
            :_MOST_LINES
        ]
        graphics = [
            pr.GraphicObject(graphic_type="POLYLINE", graphic_data=line, units="PIXEL", is_filled=False)
            for line in lines
        ]
        text = pr.TextObject(
            text_value=_text(device, result, maps),
            units="DISPLAY",
            bounding_box=_BOX,
            text_justification="LEFT",
        )
        annotation = pr.GraphicAnnotation(
            referenced_images=[film.dataset],
            graphic_layer=layer,
            graphic_objects=graphics or None,
            text_objects=[text],
        )
        settings = ";".join((turned, *(f"{each.finding} {each.method}" for each in maps)))
        state = pr.GrayscaleSoftcopyPresentationState(
            referenced_images=[film.dataset],
            content_label="AI_RESULT",
            content_description=f"{device.mark}: contours of the heat map"[:64],
            graphic_layers=[layer],
            graphic_annotations=[annotation],
            **_display(film.display),
            **SERIES.identity(film, device, result, settings),
        )
        # Of parts that come in pairs the standard asks for the side (PS3.3 C.7.3.1, Laterality).
        state.BodyPartExamined = "CHEST"
        return state


def _text(device: DeviceFacts, result: FilmResult, maps: Sequence[FilmMap]) -> str:
    shown = {each.finding for each in maps}
    lines = [device.mark]
    lines += [line for line, each in zip(finding_lines(result), result.findings, strict=True) if each.finding in shown]
    lines += [f"Line: {LEVEL:.0%} of the heat map's highest value ({each.method}). {each.note}" for each in maps]
    lines += [*device_lines(device, result), *caution_lines(device, result)]
    text = "\r\n".join(lines)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."


def _display(tags: DisplayTags) -> dict[str, Any]:
    """Returns how the film's values are shown; a presentation state replaces what the film itself says."""
    hd, pr = highdicom(), highdicom("pr")
    made: dict[str, Any] = {}
    if tags.rescale is not None:
        slope, intercept = tags.rescale
        made["modality_lut_transformation"] = hd.ModalityLUTTransformation(
            rescale_slope=slope, rescale_intercept=intercept, rescale_type="US"
        )
    if tags.table is not None:
        made["voi_lut_transformations"] = [pr.SoftcopyVOILUTTransformation(voi_luts=[_voi_table(hd, *tags.table)])]
    elif tags.window is not None:
        center, width = tags.window
        made["voi_lut_transformations"] = [
            pr.SoftcopyVOILUTTransformation(window_center=center, window_width=width, voi_lut_function=tags.function)
        ]
    shape = "INVERSE" if tags.inverted else "IDENTITY"
    made["presentation_lut_transformation"] = hd.PresentationLUTTransformation(presentation_lut_shape=shape)
    return made


def _voi_table(hd: Any, first: int, entries: NDArray[np.uint16]) -> Any:
    from pydicom.dataelem import DataElement

    table = hd.VOILUT(first_mapped_value=max(first, 0), lut_data=entries)
    if first < 0:
        # The library knows no table that begins below 0, as those of signed films do (PS3.3 C.11.2.1.1).
        table["LUTDescriptor"] = DataElement("LUTDescriptor", "SS", [len(entries), first, 16])
    return table
