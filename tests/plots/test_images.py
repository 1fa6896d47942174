import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chexkeras import NIH14, plots


@pytest.fixture
def on_disk(table, tmp_path):
    images = table.head(3).copy()
    images.attrs = table.attrs
    for number in range(3):
        path = tmp_path / images["image_id"].iloc[number]
        # The second image is twice as tall as wide.
        Image.fromarray(np.full((128 if number == 1 else 64, 64), 80 * number, np.uint8)).save(path)
        images.loc[images.index[number], "path"] = str(path)
    return images


def test_images_are_drawn_in_order_on_the_given_axes_with_their_shape(on_disk):
    ax = plt.figure().add_subplot()
    assert plots.images(on_disk, columns=2, ax=ax) is ax
    assert [int(np.asarray(image.get_array()).mean()) for image in ax.images] == [0, 80, 160]
    left, right, bottom, top = ax.images[1].get_extent()
    assert (bottom - top) == pytest.approx(2 * (right - left))
    # The third image starts a new row.
    assert ax.images[2].get_extent()[3] > ax.images[0].get_extent()[2]


def test_titles_name_findings_and_view(on_disk):
    texts = [text.get_text() for text in plots.images(on_disk).texts]
    assert "Effusion · PA" in texts
    assert "Mass, Effusion · PA" in texts or "Effusion, Mass · PA" in texts
    assert "Synthetic images, not clinical evidence." in texts
    own = [text.get_text() for text in plots.images(on_disk, titles=["a", "b", "c"]).texts]
    assert {"a", "b", "c"} <= set(own)


def test_a_title_names_four_findings_in_two_lines_and_counts_the_others(on_disk):
    # The finding that a figure is about must not vanish behind two others.
    many = on_disk.head(2).copy()
    many[list(NIH14)] = 0
    many.loc[many.index[0], ["Atelectasis", "Infiltration", "Pneumonia"]] = 1
    many.loc[many.index[1], ["Atelectasis", "Effusion", "Infiltration", "Pneumonia", "Edema", "Hernia"]] = 1
    texts = [text.get_text() for text in plots.images(many.assign(view="AP")).texts]
    assert "Atelectasis, Infiltration,\nPneumonia · AP" in texts
    assert "Atelectasis, Effusion,\nInfiltration, Pneumonia +2 · AP" in texts


def test_a_box_lies_where_it_lies_on_the_image(on_disk):
    boxes = pd.DataFrame(
        [[on_disk["image_id"].iloc[0], "Pleural_Thickening", 16, 32, 8, 16]],
        columns=["image_id", "finding", "x_px", "y_px", "width_px", "height_px"],
    )
    ax = plots.images(on_disk, boxes)
    (box,) = ax.patches
    left, right, _, top = ax.images[0].get_extent()
    assert (box.get_x() - left) / (right - left) == pytest.approx(16 / 64)
    assert box.get_y() - top == pytest.approx(32 / 64)
    assert (box.get_width(), box.get_height()) == pytest.approx((8 / 64, 16 / 64))
    assert "Pleural Thickening" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("left_px", [0, 20, 40, 56])
def test_the_name_of_a_box_stays_on_its_image(on_disk, left_px):
    boxes = pd.DataFrame(
        [[on_disk["image_id"].iloc[0], "Pleural_Thickening", left_px, 32, 8, 16]],
        columns=["image_id", "finding", "x_px", "y_px", "width_px", "height_px"],
    )
    ax = plots.images(on_disk, boxes)
    (name,) = [text for text in ax.texts if text.get_text() == "Pleural Thickening"]
    drawn = name.get_window_extent(ax.figure.canvas.get_renderer()).transformed(ax.transData.inverted())
    left, right, _, _ = ax.images[0].get_extent()
    assert left <= drawn.x0 < drawn.x1 <= right


def test_boxes_measured_on_larger_images_fit_the_reduced_copy(on_disk):
    boxes = pd.DataFrame(
        [[on_disk["image_id"].iloc[0], "Mass", 256, 512, 128, 256]],
        columns=["image_id", "finding", "x_px", "y_px", "width_px", "height_px"],
    )
    boxes.attrs["image_px"] = 1024
    ax = plots.images(on_disk, boxes)
    (box,) = ax.patches
    left, right, _, top = ax.images[0].get_extent()
    assert (box.get_x() - left) / (right - left) == pytest.approx(0.25)
    assert box.get_y() - top == pytest.approx(0.5)
    assert (box.get_width(), box.get_height()) == pytest.approx((0.125, 0.25))


def test_a_missing_file_is_named_and_kept_rows_without_file_too(on_disk):
    on_disk.loc[on_disk.index[1], "path"] = "nowhere.png"
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        plots.images(on_disk)
    on_disk.loc[on_disk.index[1], "path"] = ""
    with pytest.raises(FileNotFoundError, match="has no file"):
        plots.images(on_disk)


def test_files_are_drawn_as_they_are_scored(on_disk, tmp_path):
    from tests.dicom.dicom_images import image, ramp, write

    deep = (np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint16)) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    on_disk["path"] = [str(tmp_path / "deep.png"), str(write(tmp_path / "a", image(ramp(300, 280)))), ""]
    ax = plots.images(on_disk.head(2))
    drawn = [np.asarray(picture.get_array()) for picture in ax.images]
    np.testing.assert_array_equal(drawn[0], deep // 257)
    assert drawn[1].shape == (300, 280) and drawn[1].max() == 255
    write(tmp_path / "a", image(ramp(300, 280), Modality="CT"))
    (tmp_path / "deep.png").write_bytes(b"no image")
    for row in (0, 1):
        with pytest.raises(ValueError, match=r"image \S+ cannot be drawn: .*chexkeras audit"):
            plots.images(on_disk.iloc[[row]])


def test_too_many_images_none_and_wrong_titles_are_refused(on_disk):
    with pytest.raises(ValueError, match=r"head\(8\)"):
        plots.images(on_disk.iloc[:0])
    with pytest.raises(ValueError, match="49 images"):
        plots.images(pd.concat([on_disk.head(1)] * 49))
    with pytest.raises(ValueError, match="2 titles for 3 images"):
        plots.images(on_disk, titles=["a", "b"])


def test_dicom_files_are_counted_once_by_reason():
    results = pd.DataFrame(
        {
            "file": ["a", "a", "b", "c", "d", "e"],
            "verdict": ["accept", "accept", "reject", "reject", "reject", "warn"],
            "code": ["", "", "view", "view", "modality", "lossy"],
        }
    )
    ax = plots.dicom_verdicts(results, note="Synthetic.")
    bars = dict(zip([label.get_text() for label in ax.get_yticklabels()], ax.patches, strict=True))
    assert {name: bar.get_width() for name, bar in bars.items()} == {
        "accepted": 1,
        "accepted with a warning: lossy": 1,
        "rejected: view": 2,
        "rejected: modality": 1,
    }
    assert ax.get_title(loc="left") == "DICOM checks: 5 files"
    assert "Synthetic." in [text.get_text() for text in ax.texts]
