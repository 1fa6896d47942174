"""Images that look inverted, turned, unlike the others, or far darker or flatter than they are."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras.data.audit.appearance import FEWEST_IMAGES, appearance_issues
from chexkeras.data.audit.audit import audit
from chexkeras.data.audit.image_checks import ImageFacts, thumbnail
from chexkeras.data.audit.result import APPEARANCE
from chexkeras.data.image_table import ImageTable

SIDE = 64
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE] / SIDE


def chest(seed: int) -> np.ndarray:
    """A drawing of a chest: a bright body with two dark lungs and a heart, another one for every seed."""
    rng = np.random.default_rng(seed)

    def ellipse(row, column, height, width):
        return ((ROWS - row) / height) ** 2 + ((COLUMNS - column) / width) ** 2 < 1

    middle, top, size = 0.5 + rng.normal(0, 0.03), 0.45 + rng.normal(0, 0.03), rng.normal(1, 0.08)
    gray = np.full((SIDE, SIDE), 20.0)
    gray[(np.abs(COLUMNS - middle) < 0.15 * size) | (top - 0.3 * size < ROWS)] = 170 + rng.normal(0, 15)
    for side in (-1, 1):
        gray[ellipse(top, middle + side * 0.21 * size, 0.33 * size, 0.15 * size)] = 80 + rng.normal(0, 15)
    gray[ellipse(top + 0.18, middle + 0.07, 0.14, 0.13)] = 200
    return np.clip(gray + rng.normal(0, 6, gray.shape), 0, 255).astype(np.uint8)


CHANGES = {
    "looks_inverted": lambda pixels: 255 - pixels,
    "looks_upside_down": lambda pixels: pixels[::-1, ::-1],
    "looks_on_its_side": np.rot90,
}


def found(images, views=None) -> dict[str, list[str]]:
    """The images by code, of an audit of these pixels."""
    names = [f"{number}.png" for number in range(len(images))]
    table = pd.DataFrame({"image_id": names, "patient_id": names, "Edema": 0.0})
    if views is not None:
        table["view"] = views
    facts = [
        ImageFacts(size=(SIDE, SIDE), mode="L", digest=name, brightness=pixels.mean(), contrast=pixels.std())
        for name, pixels in zip(names, images, strict=True)
    ]
    thumbnails = np.stack([thumbnail(np.ascontiguousarray(pixels)) for pixels in images])
    codes: dict[str, list[str]] = {}
    for issue in appearance_issues(ImageTable.of(table), facts, thumbnails):
        codes.setdefault(issue.code, []).append(issue.image_id)
    return codes


@pytest.mark.parametrize("images", [FEWEST_IMAGES, 60])
def test_each_image_that_is_inverted_or_turned_is_named_and_no_other(images):
    drawn = [chest(seed) for seed in range(images)]
    changed = {3: "looks_inverted", 4: "looks_inverted", 11: "looks_upside_down", 17: "looks_on_its_side"}
    for number, code in changed.items():
        drawn[number] = CHANGES[code](drawn[number])
    drawn[20] = np.rot90(255 - drawn[20], 3)
    assert found(drawn) == {
        "looks_inverted": ["3.png", "4.png", "20.png"],
        "looks_upside_down": ["11.png"],
        "looks_on_its_side": ["17.png"],
    }


def test_nothing_is_said_of_images_in_order_of_few_images_and_of_images_without_a_usual_way_to_stand():
    drawn = [chest(seed) for seed in range(FEWEST_IMAGES)]
    assert found(drawn) == {}
    drawn[3] = 255 - drawn[3]
    assert found(drawn[:-1]) == {}
    rng = np.random.default_rng(0)
    assert found([rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) for _ in range(100)]) == {}
    assert found([np.rot90(chest(seed), seed) for seed in range(100)]) == {}
    assert found([chest(0)] * FEWEST_IMAGES) == {}


@pytest.mark.parametrize(
    ("code", "mixed"), [("looks_inverted", "mixed_polarity"), ("looks_upside_down", "mixed_orientation")]
)
def test_where_a_third_is_inverted_or_turned_the_data_set_is_called_mixed(code, mixed):
    drawn = [CHANGES[code](chest(seed)) if seed % 3 == 0 else chest(seed) for seed in range(90)]
    codes = found(drawn)
    codes.pop("unlike_the_rest", None)
    assert codes == {code: [f"{seed}.png" for seed in range(0, 90, 3)], mixed: [""]}


def test_an_image_of_something_else_is_unlike_the_rest():
    drawn = [chest(seed) for seed in range(60)]
    drawn[7] = np.kron(np.random.default_rng(1).integers(0, 2, (16, 16)) * 200, np.ones((4, 4))).astype(np.uint8)
    assert found(drawn)["unlike_the_rest"] == ["7.png"]


def test_lateral_images_are_compared_with_lateral_ones():
    # Drawn as nothing that is frontal is.
    drawn = [chest(seed) for seed in range(60)] + [255 - chest(seed) for seed in range(40)]
    planes = ["PA"] * 60 + ["LATERAL"] * 40
    assert found(drawn, planes) == {}
    assert len(found(drawn)["looks_inverted"]) == 40
    drawn[70] = chest(100)
    assert found(drawn, planes) == {"looks_inverted": ["70.png"]}
    # Fewer than can be compared, of which nothing is said.
    assert found(drawn[:60] + drawn[70:75], ["AP"] * 60 + ["LATERAL"] * 5) == {}


def test_brightness_and_contrast_far_from_the_others_are_told_with_the_figures():
    drawn = [chest(seed) for seed in range(60)]
    drawn[5] = drawn[5] // 4
    codes = found(drawn)
    assert codes["unusual_brightness"] == codes["unusual_contrast"] == ["5.png"]


def test_an_audit_names_them_keeps_them_and_measures_the_data_set(tmp_path):
    drawn = [chest(seed) for seed in range(40)]
    drawn[2], drawn[9] = 255 - drawn[2], drawn[9][::-1, ::-1]
    for number, pixels in enumerate(drawn):
        # 12 bits saved in 16, which the next test looks at.
        deep = number == 20
        Image.fromarray(pixels.astype(np.uint16) * 16 if deep else pixels).save(tmp_path / f"{number}.png")
    # On its side in the file, upright for whoever sees it.
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(np.rot90(drawn[30])).save(tmp_path / "30.png", exif=turned)
    names = [f"{number}.png" for number in range(40)]
    paths = [str(tmp_path / name) for name in names]
    result = audit(pd.DataFrame({"image_id": names, "patient_id": names, "path": paths, "Edema": 0.0}), targets=())
    looks = result.issues[result.issues["code"].isin(APPEARANCE)]
    by_code = looks.groupby("code")["image_id"].apply(list).to_dict()
    assert by_code.pop("low_contrast") == ["20.png"] and "20.png" in by_code.pop("unusual_brightness")
    by_code.pop("unusual_contrast", None)
    assert by_code == {"looks_inverted": ["2.png"], "looks_upside_down": ["9.png"]}
    assert set(looks["severity"]) == {"warning"} and len(result.table) == 40
    assert "black and white exchanged, beside the other images: 2.png" in result.summary
    assert any("on its head" in line and "9.png" in line for line in result.suspicions)
    spans = result.to_dict()["appearance"]
    assert set(spans) == {"brightness", "contrast", "gray_levels"}
    assert spans["gray_levels"]["lowest"] < 20 < 64 < spans["gray_levels"]["median"]
    assert "gray levels" in result.summary


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_saved_in_sixteen_are_named_with_what_they_reach_and_nothing_is_called_coloured(tmp_path, bits):
    values = np.linspace(0, 2**bits - 1, 128 * 128).reshape(128, 128).astype(np.uint16)
    whole = np.linspace(65535, 0, 128 * 128).reshape(128, 128).T.astype(np.uint16)
    for name, pixels in (("part", values), ("whole", whole)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"image_id": ["part", "whole"], "patient_id": ["1", "2"], "Edema": 0.0})
    table["path"] = [str(tmp_path / f"{name}.png") for name in table["image_id"]]
    result = audit(table, targets=())
    assert result.issues[["code", "image_id"]].values.tolist() == [["low_contrast", "part"]]
    assert f"values reach {2**bits - 1} of 65535" in result.issues["detail"].iloc[0]


@pytest.mark.parametrize("beyond", [0, 255])
def test_where_a_body_stands_on_the_plate_is_no_sign_of_its_being_turned(beyond):
    """Bodies that were shifted over black plates, by as much as a quarter, were called turned by 90 degrees."""
    rng = np.random.default_rng(0)
    drawn = []
    for seed in range(60):
        plate = np.full((2 * SIDE, 2 * SIDE), beyond, dtype=np.uint8)
        down, right = rng.integers(SIDE // 4, SIDE * 3 // 4, 2)
        plate[down : down + SIDE, right : right + SIDE] = chest(seed)
        drawn.append(plate)

    def turned() -> dict[str, list[str]]:
        return {code: names for code, names in found(drawn).items() if code.startswith("looks_")}

    assert turned() == {}
    drawn[7], drawn[23] = np.rot90(drawn[7]), 255 - drawn[23]
    assert turned() == {"looks_on_its_side": ["7.png"], "looks_inverted": ["23.png"]}
