"""Where memory does not suffice: the batch is halved and the work done again, said aloud.

A batch in pieces: as many gradients as memory allows at a time, one change of the weights for all of them.

The optimizer never learns of it: its moments, its schedule, its moving averages and its loss scale advance once for
each whole batch, so that what it does is what it would have done with the batch in one piece, but for rounding. Two
things see the pieces: BatchNorm where it is trained, which normalises by what it is given, and a loss that compares
images with one another (the AUC-margin loss), which compares those of one piece.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from chexkeras.data.pipeline import without_autotuning
from chexkeras.data.sampling import Share
from chexkeras.progress import say

Result = TypeVar("Result")

_CLASSES = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")
_WORDS = ("resource_exhausted", "out of memory", "oom when allocating", "failed to allocate memory", "alloc_failed")


class OutOfMemory(ValueError):
    """Memory does not suffice even for one image at a time."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out, on the accelerator or off it.

    By name and words, so that no backend is imported for it: TensorFlow raises `ResourceExhaustedError`, PyTorch
    `OutOfMemoryError`, and JAX a runtime error that begins with RESOURCE_EXHAUSTED. cuDNN and cuBLAS speak of failed
    allocations.

    Args:
        error: What was raised.

    Example:
        >>> is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 GiB"))
        True
        >>> is_out_of_memory(ValueError("the loss became nan"))
        False
    """
    if isinstance(error, OutOfMemory):
        return False
    # What goes wrong while Keras clears up (averaged weights on JAX) hides the error that it began with.
    if error.__context__ is not None and is_out_of_memory(error.__context__):
        return True
    if any(parent.__name__ in _CLASSES for parent in type(error).__mro__):
        return True
    text = str(error).lower()
    return any(words in text for words in _WORDS)


def once(work: Callable[[int], Result], batch_size: int, what: str) -> tuple[Result, int]:
    """Does some work where others wait for it, so that it cannot be done again with smaller batches.

    Args:
        work: Takes the number of images in a batch.
        batch_size: The number.
        what: What is being done, for the message.

    Returns:
        As `halving`.

    Raises:
        OutOfMemory: If memory does not suffice.
    """
    try:
        return work(batch_size), batch_size
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"memory of one of several processes does not suffice for {what} ({type(error).__name__}), and the others "
            "wait for it, so that it cannot go on with smaller batches: resume with more workers, or in one process "
            "(leave --workers out, or give it the devices of one machine), which halves the batch by itself; or begin "
            "again with gradient_checkpointing=true or a smaller batch_size."
        ) from error


def halving(work: Callable[[int], Result], batch_size: int, what: str, remedy: str = "") -> tuple[Result, int]:
    """Does some work with ever smaller batches until memory suffices.

    Args:
        work: Takes the number of images in a batch; may be called again after it failed half way.
        batch_size: The number to begin with.
        what: What is being done, for the message.
        remedy: What else would help, for the error.

    Returns:
        The work's result, and the batch size that it came with.

    Raises:
        OutOfMemory: If one image at a time is too much.
    """
    while True:
        try:
            return work(batch_size), batch_size
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            if batch_size == 1:
                raise OutOfMemory(
                    f"memory does not suffice for {what}, not even with one image at a time ({reason}); use a smaller "
                    f"image_size, a smaller backbone or precision='mixed_float16' (on the command line --set "
                    f"image_size=..., --set precision=mixed_float16){remedy}, or free the memory that other programs "
                    "hold."
                ) from error
        # Outside the handler: the error holds on to everything that its traceback names, big tensors among it.
        batch_size = max(1, batch_size // 2)
        say(f"out of memory in {what} ({reason}); trying again with {batch_size} images at a time", indent=2)


def pieces(batches: Iterable[tuple[Any, Any]], size: int, count: int) -> Iterator[tuple[Any, Any, Any]]:
    """Cuts every batch into the same number of pieces of the same size.

    What is missing in a batch is filled up with its own images, which count nothing. The weights make the mean over the
    pieces of each piece's mean loss the mean loss of the batch.

    Args:
        batches: (inputs, labels), arrays or tensors (images, ...), at most `size` times `count` images each.
        size: Images of a piece.
        count: Pieces of a batch.

    Yields:
        (inputs, labels, weights) of one piece: arrays (size, ...), (size, n_targets), float32 (size,).

    Example:
        >>> images = np.arange(3.0)
        >>> [(x.tolist(), w.tolist()) for x, _, w in pieces([(images, images)], size=2, count=2)]
        [([0.0, 1.0], [1.3333333730697632, 1.3333333730697632]), ([2.0, 0.0], [1.3333333730697632, 0.0])]
    """
    places = np.arange(size * count)
    for inputs, labels in batches:
        images, known = np.asarray(inputs), np.asarray(labels)
        weights = np.where(places < len(images), len(places) / len(images), 0.0).astype(np.float32)
        for start in range(0, len(places), size):
            piece = places[start : start + size]
            rows = piece % len(images)
            yield images[rows], known[rows], weights[piece]


def pieces_of_share(
    batches: Iterable[tuple[tuple[Any, Any], Any]], size: int, count: int, share: Share
) -> Iterator[tuple[tuple[Any, Any], Any, Any]]:
    """Does the same where a process has some rows of every batch: all processes cut theirs alike.

    Args:
        batches: ((inputs, marks), labels), as `data.pipeline.make_dataset` gives them with a share.
        size: Images of a piece, those of all processes together.
        count: Pieces of a batch.
        share: What of every batch this process has.

    Yields:
        ((inputs, marks), labels, weights) of this process' rows of one piece; the marks of a piece say that nothing
        fills it up, since that has the weight 0.
    """
    own = share.read_of(size)
    places = np.arange(own * count)
    for (inputs, marks), labels in batches:
        rows, known = np.asarray(inputs), np.asarray(labels)
        # What fills the batch up stands at its end: the processes behind have it.
        images = len(rows) * share.processes - marks.shape[1]
        real = (places < len(rows)) & (share.process * len(rows) + places < images)
        weights = np.where(real, own * share.processes * count / images, 0.0).astype(np.float32)
        for start in range(0, len(places), own):
            piece = places[start : start + own]
            taken = piece % len(rows)
            yield (rows[taken], np.zeros((own, 0), np.float32)), known[taken], weights[piece]


def in_pieces(batches: tf.data.Dataset, size: int, count: int, share: Share | None = None) -> tf.data.Dataset:
    """Returns `pieces` as a data set that can be begun more than once, as Keras does on some backends.

    Args:
        batches: Batches (inputs, labels); their number is known.
        size: Images of a piece.
        count: Pieces of a batch.
        share: What of every batch this process has; None has all of it.
    """
    inputs, labels = batches.element_spec
    own = size if share is None else share.read_of(size)

    def cut() -> Iterator[Any]:
        return pieces(batches, size, count) if share is None else pieces_of_share(batches, size, count, share)

    def of_piece(spec: tf.TensorSpec) -> tf.TensorSpec:
        return tf.TensorSpec((own, *spec.shape[1:]), spec.dtype)

    read = of_piece(inputs) if share is None else (of_piece(inputs[0]), tf.TensorSpec((own, 0), tf.float32))
    signature = (read, of_piece(labels), tf.TensorSpec((own,), tf.float32))
    whole = tf.data.Dataset.from_generator(cut, output_signature=signature)
    steps = int(batches.cardinality()) * count
    return without_autotuning(whole.apply(tf.data.experimental.assert_cardinality(steps)))


class GatheredGradients(keras.optimizers.Optimizer):
    """Hands another optimizer the mean gradient of several steps as if it came from one.

    Args:
        inner: The optimizer that changes the weights; built.
        count: How many steps make one of its own.
    """

    def __init__(self, inner: keras.optimizers.Optimizer, count: int) -> None:
        super().__init__(learning_rate=0.0, name="gathered_gradients")
        self.inner = inner
        self.count = count

    def build(self, variables: Sequence[Any]) -> None:
        """Makes room for the sums of the gradients."""
        if self.built:
            return
        super().build(variables)
        self._sums = self.add_optimizer_variables(variables, "sum")

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Adds a step's gradients; with the last step of a batch, passes their mean on.

        Args:
            grads: One gradient for each variable; None for a variable the loss does not depend on.
            trainable_variables: The variables; None for those it was built with.
        """
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        if not self.built:
            self.build(variables)
        sums = [self._sums[self._get_variable_index(variable)] for variable in variables]
        for total, gradient in zip(sums, grads, strict=True):
            if gradient is not None:
                total.assign_add(gradient)

        means = [None if g is None else total / self.count for total, g in zip(sums, grads, strict=True)]

        def pass_on() -> None:
            self.inner.apply(means, variables)
            for total in sums:
                total.assign(ops.zeros_like(total))

        self._iterations.assign_add(1)
        is_last = ops.equal(self._iterations % self.count, 0)
        if keras.backend.backend() == "jax":
            self._choose(is_last, means, variables, sums)
        else:
            ops.cond(is_last, pass_on, lambda: None)

    def _choose(self, is_last: Any, means: list[Any], variables: list[Any], sums: list[Any]) -> None:
        """Works out the change and takes it or leaves it: on JAX a branch cannot assign to variables."""
        owned = [*variables, *self.inner.variables]
        before = [variable.value for variable in owned]
        weights, state = self.inner.stateless_apply(before[len(variables) :], means, before[: len(variables)])
        for variable, old, new in zip(owned, before, (*weights, *state), strict=True):
            variable.assign(ops.where(is_last, new, old))
        for total in sums:
            total.assign(ops.where(is_last, 0.0, total.value))

    @property
    def variables(self) -> list[Any]:
        """The sums and the inner optimizer's: all that a step changes."""
        return [*super().variables, *self.inner.variables]

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's."""
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner.learning_rate = value

    @property
    def iterations(self) -> Any:
        """The inner optimizer's: whole batches."""
        return self.inner.iterations

    def scale_loss(self, loss: Any) -> Any:
        """Scales the loss as the inner optimizer wants it: in half precision it divides the gradients again."""
        return self.inner.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Leaves the end of a fit to the inner optimizer."""
        self.inner.finalize_variable_values(var_list)
