import dataclasses
import json

import keras
import numpy as np
import pandas as pd
import pytest

from chexkeras.data.datasets.custom import load_table
from chexkeras.data.splits.splitters import split_by_patient
from chexkeras.recipes.recipe import Loss, Recipe, Stage
from chexkeras.runs.run import Run
from chexkeras.training.finish import GIVEN_WEIGHTS_CAUTION
from chexkeras.training.given_callbacks import GivenCallbacks
from chexkeras.training.own_objects import KnownLabelsLoss, OwnObjects, loss_for_labels
from chexkeras.training.resume.interrupted import InterruptedTraining
from chexkeras.training.trainer import train

pytestmark = pytest.mark.keras


def base(seed=5):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            keras.layers.Conv2D(6, 5, 2, activation="relu", name="edges"),
            keras.layers.BatchNormalization(name="edges_bn"),
            keras.layers.Conv2D(8, 3, 2, activation="relu", name="shapes"),
        ]
    )


def head():
    return keras.Sequential([keras.layers.Dropout(0.3), keras.layers.Dense(1, activation="sigmoid")])


def changes():
    return keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomBrightness(0.1)])


class Listener(keras.callbacks.Callback):
    """Writes down what it is told; interrupts the training at an epoch, or ends the stage, if it is to."""

    def __init__(self, interrupt_at=None, stop_at=None):
        super().__init__()
        self.told, self.steps, self.interrupt_at, self.stop_at = [], 0, interrupt_at, stop_at

    def on_train_begin(self, logs=None):
        self.told.append("begin")

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.interrupt_at:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.told.append((epoch, sorted(logs)))
        if epoch == self.stop_at:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.told.append("end")


@pytest.fixture(scope="module")
def recipe():
    stages = (
        Stage("stage1", epochs=1, learning_rate=3e-3, trainable=0.0),
        Stage("stage2", epochs=3, learning_rate=1e-3, trainable=0.3),
    )
    return Recipe("own", ("Effusion",), image_size=32, stages=stages, batch_size=20)


def objects(**options):
    return {
        "backbone": base(),
        "input_range": (0, 1),
        "head": head(),
        "loss": keras.losses.BinaryFocalCrossentropy(gamma=1.5),
        "augment": changes(),
        **options,
    }


@pytest.fixture(scope="module")
def listener():
    return Listener(stop_at=2)


@pytest.fixture(scope="module")
def run(recipe, toy_splits, listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "own"
    return train(recipe, toy_splits, folder, callbacks=[listener], **objects())


def test_the_run_says_which_objects_made_it_and_loads_without_them(run):
    given = run.provenance["given"]
    assert {name: entry["class"] for name, entry in given.items() if name != "callbacks"} == {
        "backbone": "Sequential",
        "head": "Sequential",
        "loss": "BinaryFocalCrossentropy",
        "augment": "Sequential",
    }
    assert given["callbacks"] == ["Listener"] and given["backbone"]["input_range"] == [0.0, 1.0]
    assert given["loss"]["config"]["config"]["gamma"] == 1.5 and given["loss"]["unknown_labels"] == "there are none"
    again = Run.load(run.folder).recipe
    assert (again.backbone, again.head, again.loss.name, again.weights) == ("given",) * 4
    assert again.augment.given == "Sequential" and not again.trained_elsewhere
    assert GIVEN_WEIGHTS_CAUTION in run.cautions
    assert run.load_model().get_layer("edges").get_weights()[0].shape == (5, 5, 1, 6)


def test_stages_freeze_and_train_the_given_backbone(run):
    first, second = run.stages
    assert first["backbone_layers_trainable"] == 0 and second["backbone_layers_trainable"] == 2
    assert first["batchnorm_layers_held"] == second["batchnorm_layers_held"] == 1
    np.testing.assert_array_equal(
        run.load_model().get_layer("edges").get_weights()[0], base().get_layer("edges").get_weights()[0]
    )
    assert "shapes" in second["layers_trainable"] and "edges" not in second["layers_trainable"]


def test_callbacks_see_one_fit_and_may_end_a_stage(run, listener):
    names = ["learning_rate", "loss", "seconds", "val_auroc", "val_loss"]
    assert listener.told == ["begin", *((epoch, names) for epoch in range(3)), "end"]
    assert listener.steps == 3 * 3
    assert len(run.history) == 3 and run.stages[1]["ended"] == "a callback ended it"


def test_the_report_names_the_objects_in_place_of_chexkeras_own(run, tmp_path):
    from chexkeras.report.submission import write_report

    text = write_report(run, tmp_path / "report.md").read_text(encoding="utf-8")
    assert "a Keras model of one's own" in text and "`BinaryFocalCrossentropy`" in text
    assert "those of the Keras layer Sequential" in text


def test_an_interrupted_training_goes_on_to_the_same_scores_bit_for_bit(run, recipe, toy_splits, tmp_path):
    folder = tmp_path / "own"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, toy_splits, folder, callbacks=[Listener(interrupt_at=2)], **objects())
    with pytest.raises(ValueError, match=r"begun with callbacks \(Listener\)"):
        train(recipe, toy_splits, folder, resume=True)
    other = {"loss": keras.losses.BinaryFocalCrossentropy(gamma=2.0), "callbacks": [Listener()]}
    with pytest.raises(ValueError, match=r"given\.loss was"):
        train(recipe, toy_splits, folder, resume=True, **other)
    # All but the callbacks are made again from what was recorded.
    resumed = train(recipe, toy_splits, folder, resume=True, callbacks=[Listener(stop_at=2)])
    for part in ("validation", "test"):
        pd.testing.assert_frame_equal(pd.DataFrame(resumed.scores(part)), pd.DataFrame(run.scores(part)))
    assert any("Listener" in caution and "resumed after epoch 2" in caution for caution in resumed.cautions)
    for name in ("sha256", "weights_sha256", "input_range"):
        assert resumed.provenance["given"]["backbone"][name] == run.provenance["given"]["backbone"][name]


def test_a_callback_that_changes_weights_after_they_were_scored_is_refused(recipe, toy_splits, tmp_path):
    class Changing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weight = self.model.trainable_weights[-1]
            weight.assign(weight + 1)

    with pytest.raises(ValueError, match=r"changed weights at the end of an epoch \(Changing\)"):
        train(recipe, toy_splits, tmp_path / "own", callbacks=[Changing()], **objects(augment=None))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    (
        ({"backbone": "ResNet50"}, TypeError, r"recipe\.replace\(backbone="),
        ({"backbone": base}, TypeError, "A Keras model or layer"),
        ({"loss": "focal"}, TypeError, r"cx\.recipes\.Loss"),
        ({"augment": "flip"}, TypeError, "Augmentation"),
        ({"callbacks": [Listener]}, TypeError, "callbacks"),
        ({"callbacks": [keras.callbacks.EarlyStopping()]}, ValueError, "patience"),
        ({"callbacks": [keras.callbacks.ModelCheckpoint("x.keras")]}, ValueError, "checkpointed"),
        ({"callbacks": [keras.callbacks.ReduceLROnPlateau()]}, ValueError, "reduce_on_plateau"),
        ({"input_range": (0, 1)}, ValueError, "give backbone="),
        ({"backbone": 1}, TypeError, "backbone"),
        ({"head": keras.layers.Dense(4, activation="sigmoid")}, ValueError, r"\(4,\) numbers"),
        ({"head": keras.layers.Dense(1)}, ValueError, "sigmoid"),
        ({"loss": keras.losses.BinaryCrossentropy(reduction=None)}, ValueError, "sum_over_batch_size"),
        ({"loss": keras.losses.BinaryCrossentropy(from_logits=True)}, ValueError, "from_logits=False"),
        ({"loss": keras.losses.CategoricalCrossentropy(axis=5)}, ValueError, "cannot be computed"),
        ({"augment": keras.layers.Rescaling(0.5)}, ValueError, "belongs into the model"),
    ),
)
def test_what_does_not_fit_is_refused_before_anything_is_written(given, error, words, toy_recipe, toy_splits, tmp_path):
    with pytest.raises(error, match=words):
        train(toy_recipe, toy_splits, tmp_path / "run", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_of_a_run_with_objects_of_ones_own_asks_for_them(run, toy_splits, tmp_path):
    with pytest.raises(ValueError, match="backbone, head, loss, augment"):
        train(run.recipe, toy_splits, tmp_path / "run")
    weighed = Recipe(targets=("Effusion",), loss=Loss("focal", target_weights={"Effusion": 2}))
    with pytest.raises(ValueError, match="target_weights"):
        OwnObjects(loss=keras.losses.MeanSquaredError()).named_in(weighed)
    with pytest.raises(ValueError, match=r"load_weights"):
        OwnObjects(backbone=base(), input_range=(0, 1)).named_in(Recipe(weights="base.h5"))
    with pytest.raises(ValueError, match="third class"):
        OwnObjects(loss=keras.losses.MeanSquaredError()).named_in(
            Recipe(targets=("Effusion",), head="three_way", loss=Loss("three_way"))
        )


@keras.saving.register_keras_serializable("test_own_objects")
class Ranking(keras.losses.Loss):
    """A loss of whole batches, no mean over findings."""

    def call(self, y_true, y_pred):
        return keras.ops.max(keras.ops.abs(y_true - y_pred), axis=-1)


@keras.saving.register_keras_serializable("test_own_objects")
class Masking(keras.losses.Loss):
    """A loss that leaves unknown labels out itself."""

    def call(self, y_true, y_pred):
        known = keras.ops.logical_not(keras.ops.isnan(y_true))
        return keras.ops.sum(keras.ops.where(known, keras.ops.square(y_pred - y_true), 0.0), axis=-1)


def test_unknown_labels_are_left_out_finding_by_finding():
    labels = np.array([[1, 0, np.nan], [np.nan, 1, 1], [0, np.nan, np.nan]], np.float32)
    scores = np.array([[0.9, 0.2, 0.4], [0.3, 0.6, 0.7], [0.1, 0.5, 0.5]], np.float32)
    loss, words = loss_for_labels(keras.losses.BinaryCrossentropy(), labels)
    assert isinstance(loss, KnownLabelsLoss) and words == "left out, finding by finding"
    # Cross-entropy of the known five, by hand, over nine places.
    expected = -(np.log(0.9) + np.log(0.8) + np.log(0.6) + np.log(0.7) + np.log(0.9)) / 9
    assert float(loss(labels, scores)) == pytest.approx(expected, rel=1e-4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(labels, scores)) == pytest.approx(expected, rel=1e-4)


def test_gradients_do_not_flow_from_unknown_labels():
    import tensorflow as tf

    loss = KnownLabelsLoss(keras.losses.BinaryCrossentropy())
    scores = tf.Variable([[0.9, 0.2], [0.3, 0.6]])
    with tf.GradientTape() as tape:
        value = loss(tf.constant([[1.0, np.nan], [np.nan, 0.0]]), scores)
    gradient = tape.gradient(value, scores).numpy()
    assert gradient[0, 1] == gradient[1, 0] == 0 and np.isfinite(gradient).all() and gradient[0, 0] < 0


def test_a_loss_keeps_what_it_does_itself_and_one_that_mixes_findings_is_refused_where_labels_are_unknown():
    complete = np.array([[1, 0], [0, 1]], float)
    unknown = np.array([[1, np.nan], [0, 1]], float)
    ranking, masking = Ranking(), Masking()
    assert loss_for_labels(ranking, complete)[0] is ranking
    assert loss_for_labels(masking, unknown) == (masking, "left to the loss itself")
    with pytest.raises(ValueError, match=r"1 labels are unknown.*no mean over findings"):
        loss_for_labels(ranking, unknown)


def test_callbacks_are_asked_for_in_their_order():
    order = []
    two = [keras.callbacks.LambdaCallback(on_epoch_end=lambda *_, at=at: order.append(at)) for at in (1, 2)]
    given = GivenCallbacks(two)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    given.begin(model, 1, 1)
    given.epoch_begins(model, 1)
    assert given.epoch_ends(model, {"global_epoch": 1, "loss": 0.5}) is False
    assert order == [1, 2]


def test_dicom_rows_are_refused_at_once_with_the_command_to_run(toy_recipe, tmp_path):
    rows = []
    for number in range(40):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 20)
        rows.append({"file": path.name, "who": number, "Effusion": number % 2})
    pd.DataFrame(rows).to_csv(tmp_path / "images.csv", index=False)
    table = load_table(tmp_path / "images.csv", image_column="file", label_columns="Effusion", patient_column="who")
    splits = split_by_patient(table, "Effusion", validation=0.25, test=0.25)
    with pytest.raises(ValueError, match=r"40 of 40 images are DICOM files.*'chexkeras prepare'.*cx\.prepare"):
        train(toy_recipe, splits, tmp_path / "run")
    assert not InterruptedTraining(tmp_path / "run").exists()


def test_the_record_of_an_interrupted_training_is_plain_json():
    given = OwnObjects(**{**objects(), "callbacks": GivenCallbacks([Listener()])}).record()
    assert json.loads(json.dumps(given)) == given
    assert dataclasses.is_dataclass(OwnObjects)
