"""Where memory does not suffice: the batch is halved and the work done again, said aloud."""

from collections.abc import Callable
from typing import TypeVar

from chexkeras.progress import say

Result = TypeVar("Result")

_CLASSES = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")
_WORDS = ("resource_exhausted", "out of memory", "oom when allocating", "failed to allocate memory", "alloc_failed")


class OutOfMemory(ValueError):
    """Memory does not suffice even for one film at a time."""


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


def halving(work: Callable[[int], Result], batch_size: int, what: str, remedy: str = "") -> tuple[Result, int]:
    """Does some work with ever smaller batches until memory suffices.

    Args:
        work: Takes the number of films in a batch; may be called again after it failed half way.
        batch_size: The number to begin with.
        what: What is being done, for the message.
        remedy: What else would help, for the error.

    Returns:
        The work's result, and the batch size that it came with.

    Raises:
        OutOfMemory: If one film at a time is too much.
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
                    f"memory does not suffice for {what}, not even with one film at a time ({reason}); use a smaller "
                    f"image_size, a smaller backbone or precision='mixed_float16' (on the command line --set "
                    f"image_size=..., --set precision=mixed_float16){remedy}, or free the memory that other programs "
                    "hold."
                ) from error
        # Outside the handler: the error holds on to everything that its traceback names, big tensors among it.
        batch_size = max(1, batch_size // 2)
        say(f"out of memory in {what} ({reason}); trying again with {batch_size} films at a time")
