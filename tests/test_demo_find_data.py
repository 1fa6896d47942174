"""Which images and which run a notebook works on: those asked for, or an error, and phantoms only where nothing was."""

import json
import shutil
from pathlib import Path

import pytest

from chexkeras import demo, files

REAL_RUN = Path(__file__).parent.parent / "reports" / "nih-1000" / "run"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)


@pytest.fixture(autouse=True)
def kaggle(monkeypatch, tmp_path):
    """An empty working folder, no variable set, and the folder that stands for Kaggle's, which is not there yet."""
    monkeypatch.delenv(demo.DATA_VARIABLE, raising=False)
    monkeypatch.delenv(demo.RUN_VARIABLE, raising=False)
    monkeypatch.setattr(demo, "KAGGLE_INPUT", tmp_path / "input")
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    return tmp_path / "input"


def chest_xrays(folder, rows="00000001_000.png,No Finding,0,1,58,M,PA,2500,2048,0.171,0.171,\n", images="images"):
    """A folder with a label file of NIH's and, in the folder `images` of it, an image by name."""
    (folder / (images or "")).mkdir(parents=True, exist_ok=True)
    (folder / "Data_Entry_2017.csv").write_text(HEADER + rows)
    if images is not None:
        (folder / images / "00000001_000.png").touch()
    return folder


def test_the_named_folder_comes_before_kaggles(monkeypatch, tmp_path, kaggle):
    chest_xrays(kaggle / "data")
    mine = chest_xrays(tmp_path / "mine")
    monkeypatch.setenv(demo.DATA_VARIABLE, str(mine))
    assert demo.find_data("phantoms") == mine
    monkeypatch.delenv(demo.DATA_VARIABLE)
    assert demo.find_data("phantoms") == kaggle / "data"
    assert not Path("phantoms").exists()


@pytest.mark.parametrize("mount", ["data", "datasets/organizations/nih-chest-xrays/data", "datasets/me/small/a/b"])
@pytest.mark.parametrize("images", ["images_001/images", "images-224/images-224", "."])
def test_kaggles_copy_is_found_under_every_mount(mount, images, kaggle):
    chest_xrays(kaggle / mount, images=images)
    (kaggle / "weights").mkdir()
    assert demo.find_data("phantoms") == kaggle / mount
    assert not Path("phantoms").exists()


def test_one_data_set_under_both_mounts_is_one_and_two_are_an_error_that_names_both(kaggle, monkeypatch):
    first = chest_xrays(kaggle / "data")
    second = chest_xrays(kaggle / "datasets" / "organizations" / "nih-chest-xrays" / "data")
    assert demo.find_data("phantoms") == first
    chest_xrays(second, "00000002_000.png,Mass,0,2,60,F,AP,2500,2048,0.171,0.171,\n")
    with pytest.raises(ValueError, match="2 different data sets") as refused:
        demo.find_data("phantoms")
    assert str(first) in str(refused.value)
    assert str(second) in str(refused.value)
    monkeypatch.setenv(demo.DATA_VARIABLE, str(second))
    assert demo.find_data("phantoms") == second


def test_a_label_file_that_lies_twice_in_a_data_set_is_taken_where_the_images_are(kaggle):
    chest_xrays(kaggle / "sample", images=None)
    inner = chest_xrays(kaggle / "sample" / "sample")
    assert demo.find_data("phantoms") == inner


@pytest.mark.parametrize(
    ("attached", "said"),
    [("images_001/images/00000001_000.png", "label file"), ("BBox_List_2017.csv", "label file"),
     ("Data_Entry_2017.csv", "no image")],
)  # fmt: skip
def test_a_part_of_the_data_set_on_kaggle_is_an_error_and_never_phantoms(attached, said, kaggle):
    path = kaggle / "datasets" / "organizations" / "nih-chest-xrays" / "data" / attached
    path.parent.mkdir(parents=True)
    path.write_text(HEADER)
    with pytest.raises(FileNotFoundError, match=said) as refused:
        demo.find_data("phantoms")
    assert "CHEXKERAS_DATA" in str(refused.value)
    assert not Path("phantoms").exists()


def test_phantoms_are_made_on_kaggle_when_nothing_is_attached_or_they_are_asked_for_and_a_line_says_so(
    kaggle, monkeypatch, capsys
):
    chest_xrays(kaggle / "data")
    monkeypatch.setenv(demo.DATA_VARIABLE, "phantoms")
    assert (demo.find_data("a", images=2) / "PHANTOM.json").is_file()
    monkeypatch.delenv(demo.DATA_VARIABLE)
    shutil.rmtree(kaggle / "data")
    capsys.readouterr()
    assert (demo.find_data("b", images=2) / "PHANTOM.json").is_file()
    said = capsys.readouterr().err
    assert "phantoms, synthetic images, not clinical evidence" in said
    assert str(kaggle) in said


def test_a_named_folder_that_is_not_there_or_holds_no_labels_is_an_error_and_never_phantoms(monkeypatch, tmp_path):
    monkeypatch.setenv(demo.DATA_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="CHEXKERAS_DATA"):
        demo.find_data("phantoms")
    (tmp_path / "gone").mkdir()
    with pytest.raises(FileNotFoundError, match=r"CHEXKERAS_DATA: the folder .* holds no label file"):
        demo.find_data("phantoms")
    assert not Path("phantoms").exists()


def test_phantoms_are_made_once_with_the_prevalence_asked_for(tmp_path):
    folder = demo.find_data(tmp_path / "phantoms", images=8, prevalence={"Mass": 0.5})
    before = (folder / "PHANTOM.json").stat().st_mtime_ns
    assert len(list((folder / "images").iterdir())) == 8
    assert "Mass 50%" in (folder / "PHANTOM.json").read_text()
    assert demo.find_data(tmp_path / "phantoms", images=8, prevalence={"Mass": 0.5}) == folder
    assert (folder / "PHANTOM.json").stat().st_mtime_ns == before


class TestTheRunOfTheNotebooks:
    @pytest.fixture
    def no_training(self, monkeypatch):
        """What would be made on phantoms, without the minute that it takes."""
        made = []

        def run_demo(folder, **options):
            made.append((folder, options))
            return "a run on phantoms"

        monkeypatch.setattr(demo, "run_demo", run_demo)
        return made

    def run_on(self, images, folder=demo.RUN_DIR):
        """A finished run on Pneumonia, whose label file is that of a folder; on phantoms where there is none."""
        shutil.copytree(REAL_RUN, folder)
        provenance = json.loads((Path(folder) / "provenance.json").read_text())
        if images is None:
            provenance["source"] |= {"synthetic": True, "dataset": "chexkeras phantoms"}
        else:
            label_file = images / "Data_Entry_2017.csv"
            provenance["source"]["files"] = {label_file.name: files.sha256_file(label_file)}
        (Path(folder) / "provenance.json").write_text(json.dumps(provenance))
        return Path(folder)

    @pytest.mark.parametrize("by", ["variable", "kaggle"])
    def test_a_training_on_real_images_that_failed_leaves_an_error_and_no_phantoms(
        self, by, kaggle, monkeypatch, tmp_path, no_training
    ):
        images = chest_xrays(kaggle / "data" if by == "kaggle" else tmp_path / "mine")
        if by == "variable":
            monkeypatch.setenv(demo.DATA_VARIABLE, str(images))
        with pytest.raises(FileNotFoundError, match="notebook 2") as refused:
            demo.find_run()
        assert str(images) in str(refused.value)
        assert "CHEXKERAS_DATA=phantoms" in str(refused.value)
        assert not no_training
        monkeypatch.setenv(demo.DATA_VARIABLE, "phantoms")
        assert demo.find_run() == "a run on phantoms"

    def test_an_earlier_run_on_phantoms_or_on_other_images_does_not_stand_for_the_one_asked_for(
        self, monkeypatch, tmp_path, no_training
    ):
        mine = chest_xrays(tmp_path / "mine")
        other = chest_xrays(tmp_path / "other", "00000002_000.png,Mass,0,2,60,F,AP,2500,2048,0.171,0.171,\n")
        monkeypatch.setenv(demo.DATA_VARIABLE, str(mine))
        for images, what in ((None, "phantoms"), (other, "other images")):
            folder = self.run_on(images)
            with pytest.raises(ValueError, match=f"was trained on {what}"):
                demo.find_run()
            shutil.rmtree(folder)
        folder = self.run_on(mine)
        assert demo.find_run().folder == folder
        monkeypatch.setenv(demo.DATA_VARIABLE, "phantoms")
        with pytest.raises(ValueError, match="was trained on other images"):
            demo.find_run()
        assert not no_training

    def test_a_run_on_real_images_that_is_named_is_read_and_a_line_says_on_which(self, kaggle, monkeypatch, capsys):
        chest_xrays(kaggle / "data")
        folder = self.run_on(
            chest_xrays(kaggle.parent / "other", "00000002_000.png,Mass,0,2,60,F,AP,1,1,1,1,\n"), "own"
        )
        monkeypatch.setenv(demo.RUN_VARIABLE, "own")
        assert demo.find_run().folder == folder
        assert "was trained on other images" in capsys.readouterr().err

    def test_a_named_run_that_is_not_there_is_an_error(self, monkeypatch, no_training):
        monkeypatch.setenv(demo.RUN_VARIABLE, "runs/pneumnia")
        for given in (None, "runs/pneumnia"):
            with pytest.raises(FileNotFoundError, match=r"pneumnia.*CHEXKERAS_RUN"):
                demo.find_run(given)
        assert not no_training

    def test_where_nothing_is_asked_for_a_run_there_is_read_and_else_one_made_for_the_finding(
        self, no_training, capsys
    ):
        assert demo.find_run(finding="Effusion", phantoms="somewhere", images=50) == "a run on phantoms"
        folder, options = no_training[0]
        assert folder == Path(demo.RUN_DIR)
        assert options["recipe"].targets == ("Effusion",)
        assert (options["phantoms"], options["images"], options["report"]) == ("somewhere", 50, None)
        assert "phantoms, not clinical evidence" in capsys.readouterr().err
        self.run_on(None)
        assert demo.find_run(finding="pneumonia").folder == Path(demo.RUN_DIR)
        with pytest.raises(ValueError, match="trained for Pneumonia, not for Effusion"):
            demo.find_run(finding="Effusion")
