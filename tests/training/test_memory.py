import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from chexkeras.models.classifier import build_classifier
from chexkeras.recipes.recipe import Loss, Stage
from chexkeras.training.frozen.plan import plan_features
from chexkeras.training.frozen.shelves import Shelves
from chexkeras.training.loop import fit_stages
from chexkeras.training.memory import GatheredGradients, OutOfMemory, halving, is_out_of_memory, pieces
from chexkeras.training.objective import build_loss
from chexkeras.training.resume.checkpoints import Checkpoints, value
from chexkeras.training.trainer import train

pytestmark = pytest.mark.keras


class OutOfMemoryError(RuntimeError):
    """PyTorch's, by name."""


def test_the_errors_of_every_backend_are_known_and_no_others():
    known = [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[32,64,112,112]"),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1073741824 bytes."),
        tf.errors.InternalError(None, None, "Failed to allocate memory for convolution redzone checking"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        np._core._exceptions._ArrayMemoryError((10,), np.dtype(float)),
    ]
    assert all(is_out_of_memory(error) for error in known)
    others = [
        ValueError("the loss became nan"),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
        tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"),
        OutOfMemory("already said"),
    ]
    assert not any(is_out_of_memory(error) for error in others)


def test_an_error_that_hides_the_one_it_began_with_is_known():
    def clear_up(first):
        try:
            raise first
        finally:
            raise TypeError("'NoneType' object is not callable")

    for first, expected in ((RuntimeError("RESOURCE_EXHAUSTED: 8 GiB"), True), (RuntimeError("shapes differ"), False)):
        with pytest.raises(TypeError) as caught:
            clear_up(first)
        assert is_out_of_memory(caught.value) is expected


def test_work_is_done_again_with_half_the_batch_until_it_fits(capsys):
    tried = []

    def work(size):
        tried.append(size)
        if size > 5:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return "done"

    assert halving(work, 45, "scoring") == ("done", 5)
    assert tried == [45, 22, 11, 5]
    assert "out of memory in scoring (ResourceExhaustedError: OOM when allocating); trying again with 22 images" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_one_image_that_does_not_fit_is_an_error_that_says_what_would_help():
    def work(size):
        raise MemoryError("no")

    with pytest.raises(OutOfMemory, match=r"not even with one image at a time .*smaller image_size.*, or think"):
        halving(work, 3, "scoring", ", or think")


def test_other_errors_are_not_tried_again():
    with pytest.raises(ZeroDivisionError):
        halving(lambda size: 1 / 0, 8, "scoring")


@settings(deadline=None)
@given(images=st.integers(1, 40), size=st.integers(1, 16), count=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_mean_over_the_pieces_is_the_mean_of_the_batch_and_every_image_counts_once(images, size, count, seed):
    images = min(images, size * count)
    inputs, labels = np.arange(images, dtype=np.float64), np.random.default_rng(seed).normal(size=(images, 2))
    cut = list(pieces([(inputs, labels)], size, count))
    assert [len(part) for piece in cut for part in piece] == [size] * 3 * count
    means = [np.mean(known[:, 0] * weights) for _, known, weights in cut]
    assert np.mean(means) == pytest.approx(labels[:, 0].mean(), rel=1e-5, abs=1e-6)
    counted = [image for seen, _, weights in cut for image, weight in zip(seen, weights, strict=True) if weight]
    assert counted == inputs.tolist()


def test_gathered_gradients_change_the_weights_once_for_all_pieces():
    """Plain gradient descent on one number, by hand: the mean of 3 and 5, times 0.1."""
    number = keras.Variable(1.0)
    inner = keras.optimizers.SGD(0.1)
    inner.build([number])
    gathered = GatheredGradients(inner, 2)
    step = tf.function(lambda gradient: gathered.apply([gradient], [number]))
    step(tf.constant(3.0))
    assert (float(number.numpy()), int(inner.iterations.numpy())) == (1.0, 0)
    step(tf.constant(5.0))
    assert float(number.numpy()) == pytest.approx(1.0 - 0.1 * 4.0)
    assert int(inner.iterations.numpy()) == int(gathered.iterations.numpy()) == 1
    step(tf.constant(7.0))
    step(tf.constant(-7.0))
    assert float(number.numpy()) == pytest.approx(0.6)


def test_half_precision_scales_the_loss_of_pieces_too():
    number = keras.Variable(1.0)
    inner = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1024.0)
    inner.build([number])
    gathered = GatheredGradients(inner, 2)
    scale = float(gathered.scale_loss(tf.constant(1.0)))
    assert scale == 1024.0
    step = tf.function(lambda gradient: gathered.apply([gradient], [number]))
    step(tf.constant(3.0 * scale))
    step(tf.constant(5.0 * scale))
    assert float(number.numpy()) == pytest.approx(0.6)
    step(tf.constant(np.inf))
    step(tf.constant(1.0))
    assert float(number.numpy()) == pytest.approx(0.6), "one piece that overflows makes the whole batch be left out"
    assert float(gathered.scale_loss(tf.constant(1.0))) == 512.0


def small_memory(model, most):
    """Makes the last convolution but one raise TensorFlow's own error for more than so many images."""
    layer = model.get_layer("block3_conv")
    real = layer.call

    def check(images):
        if images > most:
            raise MemoryError("OOM when allocating tensor")
        return images

    def call(inputs, **options):
        seen = tf.numpy_function(check, [tf.shape(inputs)[0]], tf.int32)
        with tf.control_dependencies([seen]):
            return real(tf.identity(inputs), **options)

    layer.call = call
    return model


def classifier(recipe, head="linear"):
    keras.utils.set_random_seed(0)
    return build_classifier(
        recipe.targets, backbone="SmallCNN", weights=None, image_size=32, head=head, precision="float32"
    )


def fitted(recipe, splits, model, folder=None, plan=None):
    loss = build_loss(recipe, splits.train)
    checkpoints = Checkpoints(folder) if folder is not None else None
    result = fit_stages(model, recipe, loss, splits.train, splits.validation, plan, checkpoints=checkpoints)
    return [value(weight) for weight in model.weights], result


STAGES = (
    Stage("average", 2, 1e-2, "block3_conv", optimizer="sgd", schedule="reduce_on_plateau", ema=0.8, clip_norm=0.5),
    Stage("gathered", 2, 1e-3, "block3_conv", optimizer="adamw", weight_decay=1e-3, schedule="cosine", accumulate=3),
)


def test_smaller_batches_train_to_the_weights_of_the_whole_batch(toy_recipe, toy_splits, capsys):
    """60 images in batches of 16 leave a last one of 12; every setting of the optimizer sees whole batches only."""
    recipe = toy_recipe.replace(stages=STAGES, loss=Loss(label_smoothing=0.2), monitor="val_loss")
    plain, one = fitted(recipe, toy_splits, classifier(recipe))
    cut, two = fitted(recipe, toy_splits, small_memory(classifier(recipe), 5))
    assert "out of memory in average epoch 1 (ResourceExhaustedError" in capsys.readouterr().err
    assert two.images_at_a_time == {"average": 4, "gathered": 4}
    assert one.images_at_a_time == {"average": 16, "gathered": 16}
    start = [value(weight) for weight in classifier(recipe).weights]
    for before, expected, found in zip(start, plain, cut, strict=True):
        moved = np.abs(expected - before).max()
        # AdamW divides by the gradient's own size, which makes rounding in another order larger; one image weighed
        # wrongly would be a sixteenth.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * moved + 1e-6)
    assert max(np.abs(e - b).max() for b, e in zip(start, plain, strict=True)) > 1e-3
    for row, other in zip(one.history, two.history, strict=True):
        assert row["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)
        assert row["learning_rate"] == pytest.approx(other["learning_rate"], rel=1e-6)


def test_memory_that_runs_out_in_a_later_epoch_repeats_that_epoch_from_its_start(toy_recipe, toy_splits, monkeypatch):
    recipe = toy_recipe.replace(stages=(Stage("only", 3, 1e-2, "block3_conv", ema=0.8),), monitor="val_loss")
    plain, _ = fitted(recipe, toy_splits, classifier(recipe))
    model = classifier(recipe)
    from chexkeras.training import loop

    real, calls = loop.FiniteLoss.on_train_batch_end, []

    def fails_once(callback, batch, logs=None):
        calls.append(callback.where)
        if calls.count("only epoch 2") == 3:
            calls.append("only epoch 2")
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        real(callback, batch, logs)

    monkeypatch.setattr(loop.FiniteLoss, "on_train_batch_end", fails_once)
    again, result = fitted(recipe, toy_splits, model)
    assert result.images_at_a_time == {"only": 8}
    for expected, found in zip(plain, again, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_stored_features_are_filled_and_trained_on_in_smaller_batches(toy_recipe, toy_splits, tmp_path):
    recipe = toy_recipe.replace(stages=(Stage("only", 2, 1e-2, "block3_conv"),))

    def run(model, folder):
        plan = plan_features(
            model, recipe, toy_splits.train, toy_splits.validation, Shelves(folder, own=True), "float32"
        )
        plan.fill(recipe.batch_size)
        return fitted(recipe, toy_splits, model, plan=plan)

    plain, _ = run(classifier(recipe), tmp_path / "a")
    cut, result = run(small_memory(classifier(recipe), 8), tmp_path / "b")
    assert result.images_at_a_time == {"only": 8}
    # Adam makes rounding in another order larger, as above; weights move by about 1e-2 a step.
    for expected, found in zip(plain, cut, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_run_in_smaller_batches_says_so_and_is_taken_up_in_them(toy_recipe, toy_splits, tmp_path, monkeypatch):
    from chexkeras.training import loop, start
    from chexkeras.training.resume.interrupted import InterruptedTraining

    recipe = toy_recipe.replace(stages=(Stage("only", 2, 1e-3, "block3_conv"),), head="linear", monitor="val_loss")
    real = start.build_classifier
    monkeypatch.setattr(start, "build_classifier", lambda *a, **k: small_memory(real(*a, **k), 8))
    whole = train(recipe, toy_splits, tmp_path / "whole", features="off")
    assert whole.provenance["batch_size"] == {"asked": 16, "used": {"only": "8 x 2"}}
    epoch = loop._epoch
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_epoch", lambda *a: epoch(*a) if a[2] < 2 else (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            train(recipe, toy_splits, tmp_path / "run", features="off")
    assert InterruptedTraining.load(tmp_path / "run").epochs_done == 1
    run = train(recipe, toy_splits, tmp_path / "run", features="off", resume=True)
    np.testing.assert_array_equal(run.scores("test")["score"], whole.scores("test")["score"])
    assert run.history["loss"].tolist() == whole.history["loss"].tolist()
    np.testing.assert_array_equal(run.load_model().get_weights()[-1], whole.load_model().get_weights()[-1])


def test_training_that_does_not_fit_image_by_image_is_an_error(toy_recipe, toy_splits):
    recipe = toy_recipe.replace(stages=(Stage("only", 1, 1e-3, "block3_conv"),), batch_size=2)
    with pytest.raises(OutOfMemory, match=r"only epoch 1, not even with one image .*unfreeze fewer layers"):
        fitted(recipe, toy_splits, small_memory(classifier(recipe), 0))
