import pytest

from chexkeras import demo


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv(demo.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(demo, "KAGGLE_INPUT", tmp_path / "kaggle")


def test_the_named_folder_comes_before_kaggles(monkeypatch, tmp_path):
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv(demo.DATA_VARIABLE, str(tmp_path / "mine"))
    assert demo.find_data(tmp_path / "phantoms") == tmp_path / "mine"
    monkeypatch.delenv(demo.DATA_VARIABLE)
    assert demo.find_data(tmp_path / "phantoms") == tmp_path / "kaggle"
    assert not (tmp_path / "phantoms").exists()


def test_a_named_folder_that_is_not_there_is_an_error_and_never_phantoms(monkeypatch, tmp_path):
    monkeypatch.setenv(demo.DATA_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="CHEXKERAS_DATA"):
        demo.find_data(tmp_path / "phantoms")
    assert not (tmp_path / "phantoms").exists()


def test_phantoms_are_made_once_with_the_prevalence_asked_for(tmp_path):
    folder = demo.find_data(tmp_path / "phantoms", images=8, prevalence={"Mass": 0.5})
    before = (folder / "PHANTOM.json").stat().st_mtime_ns
    assert len(list((folder / "images").iterdir())) == 8
    assert "Mass 50%" in (folder / "PHANTOM.json").read_text()
    assert demo.find_data(tmp_path / "phantoms", images=8, prevalence={"Mass": 0.5}) == folder
    assert (folder / "PHANTOM.json").stat().st_mtime_ns == before
