"""Devices that share every batch, on Keras' JAX backend: each computes its rows, and all change the weights alike.

Keras' DataParallel holds the weights on every device and splits the batch among them; JAX computes with the whole batch
as one array, so that BatchNorm, losses that compare images and random draws see what one device would have seen.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from chexkeras.checks import positive_int
from chexkeras.data.sampling import Share
from chexkeras.progress import say
from chexkeras.training.resume.checkpoints import BestEpochs, assign_all, value

if TYPE_CHECKING:
    from chexkeras.training.distributed.team import Team


def check_backend() -> None:
    """Checks that Keras runs on JAX, which alone can share batches here.

    Raises:
        ValueError: If it does not.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            f"batches are shared among workers on Keras' JAX backend alone, and this is {backend}: set "
            "KERAS_BACKEND=jax in the environment (pip install 'chexkeras[jax]'), or leave workers out."
        )


class SharedModel(keras.Model):
    """A model that is fitted on batches that devices share; it shares the model's layers and weights.

    It takes (pixels, marks) as `data.pipeline.make_dataset` gives them with a `Share`. What fills a batch up is cut
    off inside of the step, where the batch is one array: it has no part in statistics, draws, loss or gradients.

    Args:
        model: What computes the probabilities.
        distribution: How the devices share.
    """

    def __init__(self, model: keras.Model, distribution: keras.distribution.DataParallel) -> None:
        # Its own input is pixels, whatever precision the layers inside compute in.
        super().__init__(name="shared_model", dtype="float32")
        self.model = model
        self._everywhere = keras.distribution.TensorLayout([None, None], distribution.device_mesh)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the probabilities, whole on every device: a process can read the rows of the others.

        Args:
            inputs: Pixels (batch, side, side, 1), or these and what marks the rows that fill a batch up.
            training: Whether dropout is active and BatchNorm normalises by the batch.
        """
        pixels = inputs[0] if isinstance(inputs, (tuple, list)) else inputs
        return keras.distribution.distribute_tensor(self.model(pixels, training=training), self._everywhere)

    def train_step(self, state: Any, data: Any) -> Any:
        """Does a step on the rows that are images.

        Args:
            state: JAX's state of the training, as Keras hands it on.
            data: ((pixels, marks), labels), or with weights of the images behind them.
        """
        (pixels, marks), *others = data
        rows = pixels.shape[0] - marks.shape[1]
        return super().train_step(state, (pixels[:rows], *(each[:rows] for each in others if each is not None)))


class Sharing:
    """Devices that share every batch.

    Args:
        devices: How many devices of this process share it; None takes all devices of all processes.
        team: The processes that train together; None if there is but this one.

    Attributes:
        share: What of every batch this process reads.

    Raises:
        ValueError: If Keras does not run on JAX, or there are not so many devices.
    """

    def __init__(self, devices: int | None = None, team: "Team | None" = None) -> None:
        check_backend()
        import jax

        self.team = team
        processes = 1 if team is None else team.count
        # In the order of the processes: each reads neighbouring rows.
        there = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        if devices is not None:
            positive_int(devices, "workers")
            if devices > len(there):
                raise ValueError(
                    f"workers={devices}, but JAX sees {len(there)} {there[0].platform.upper()} device(s) in this "
                    "process. Name fewer; or start several processes, chexkeras train --workers on the command line."
                )
            there = there[:devices]
        self.share = Share(processes, 0 if team is None else team.number, len(there))
        self._distribution = keras.distribution.DataParallel(
            devices=[f"{device.platform}:{device.id}" for device in there], auto_shard_dataset=False
        )

    @property
    def several_processes(self) -> bool:
        """Whether other processes wait for this one in every step."""
        return self.share.processes > 1

    def wait_for_all(self) -> None:
        """Waits until every process is here, so that none waits for long inside of a step, where it cannot be told why.

        Raises:
            WorkerGone: If one of them has ended.
        """
        if self.team is not None:
            self.team.wait_for_all()

    def record(self) -> dict[str, int]:
        """Returns how many there are, for a run's provenance."""
        return {"processes": self.share.processes, "devices": self.share.devices}

    def shared_model(self, model: keras.Model) -> SharedModel:
        """Returns a model that is fitted on shared batches; not compiled.

        Args:
            model: The model that computes the probabilities.
        """
        return SharedModel(model, self._distribution)

    @contextlib.contextmanager
    def fitting(self, start: Sequence[np.ndarray], build: Callable[[], keras.Model]) -> Iterator[keras.Model]:
        """Yields a classifier whose weights are on all devices, to be fitted in the block.

        Args:
            start: Values of all its variables, in its order.
            build: Builds it.
        """
        say(f"each batch is shared among {self}", indent=2)
        with self._distribution.scope():
            model = build()
            assign_all(model.variables, start)
            yield model

    @staticmethod
    def bring_back(copy: keras.Model, model: keras.Model, best: BestEpochs | None) -> None:
        """Gives a classifier on one device what one on all devices has learnt.

        Args:
            copy: From `fitting`.
            model: The classifier, built alike.
            best: The best epochs of the copy, which are those of the classifier from now on; None for none.
        """
        assign_all(model.variables, [value(variable) for variable in copy.variables])
        if best is not None:
            best.move_to(model)

    def __str__(self) -> str:
        """Returns how many there are, in words."""
        devices = f"{self.share.devices} devices"
        return f"{devices} of {self.share.processes} processes" if self.several_processes else devices
