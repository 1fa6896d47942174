import numpy as np
import pytest

from chexkeras.models.classifier import build_classifier
from chexkeras.models.scoring import predict_padded, predict_scores, scores_table

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def model():
    return build_classifier(("Effusion", "Mass"), backbone="SmallCNN", weights=None, image_size=32, precision="float32")


def test_every_image_is_scored_once_whatever_the_batch_size(model, toy):
    scores = predict_scores(model, toy, ("Effusion", "Mass"), batch_size=32)
    again = predict_scores(model, toy, ("Effusion", "Mass"), batch_size=7)
    assert list(scores.columns) == ["image_id", "patient_id", "finding", "label", "score"]
    assert scores.groupby("finding")["image_id"].nunique().to_dict() == {"Effusion": 120, "Mass": 120}
    np.testing.assert_allclose(scores["score"], again["score"], atol=1e-6)


def test_scores_follow_the_image_id_not_the_position(model, toy):
    shuffled = toy.sample(frac=1.0, random_state=3)
    one = predict_scores(model, toy, ("Effusion", "Mass")).set_index(["image_id", "finding"])
    two = predict_scores(model, shuffled, ("Effusion", "Mass")).set_index(["image_id", "finding"])
    np.testing.assert_allclose(one["score"], two["score"].reindex(one.index), atol=1e-6)
    assert (one["label"] == two["label"].reindex(one.index)).all()


def test_labels_are_joined_by_image_id_when_scores_come_in_another_order(toy):
    ids = toy["image_id"].tolist()[::-1]
    scores = scores_table(toy, ("Effusion",), ids, np.linspace(0.0, 1.0, len(ids))[:, np.newaxis])
    expected = toy.set_index("image_id").loc[ids]
    assert scores["image_id"].tolist() == ids
    assert scores["label"].tolist() == expected["Effusion"].tolist()
    assert scores["patient_id"].tolist() == expected["patient_id"].tolist()


def test_padding_leaves_no_trace(model):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1)).astype(np.float32)
    padded = predict_padded(model, images, 8)[0]
    assert padded.shape == (3, 2)
    np.testing.assert_allclose(padded, model.predict(images, verbose=0), atol=1e-6)


def test_a_table_without_labels_is_scored_with_unknown_labels(model, toy):
    scores = predict_scores(model, toy.head(3).drop(columns="Mass"), ("Effusion", "Mass"))
    assert scores.loc[scores["finding"] == "Mass", "label"].isna().all()


@pytest.mark.parametrize(
    ("change", "targets", "message"),
    [
        (lambda table: table, "Effusion", r"2 output\(s\) but 1 target"),
        (lambda table: table.iloc[[0, 0]], ("Effusion", "Mass"), "occurs more than once"),
        (lambda table: table.iloc[:0], ("Effusion", "Mass"), "empty"),
        (lambda table: table.assign(path=""), ("Effusion", "Mass"), "120 of 120 rows have no image file"),
    ],
)
def test_unusable_tables_are_refused(model, toy, change, targets, message):
    with pytest.raises(ValueError, match=message):
        predict_scores(model, change(toy), targets)


@pytest.mark.parametrize(("given", "named"), [(["image.dcm"], "a list"), ("image.dcm", "text"), (None, "None")])
def test_what_is_no_table_is_sent_to_the_predictor(model, given, named):
    message = rf"must be a table \(pandas\.DataFrame\), not {named}\..*Predictor\.load\(run\)\.predict"
    with pytest.raises(TypeError, match=message):
        predict_scores(model, given, ("Effusion", "Mass"))


@pytest.mark.parametrize("column", ["image_id", "patient_id"])
def test_a_table_that_cannot_key_scores_is_refused_before_a_image_is_read(model, toy, column):
    with pytest.raises(ValueError, match=rf"the image table lacks the column\(s\) {column}"):
        predict_scores(model, toy.drop(columns=column).assign(path="nowhere.png"), ("Effusion", "Mass"))
