"""Where what is frozen is computed, on this machine or on a cluster, and where it cannot be stored."""

from pathlib import Path
from typing import TYPE_CHECKING

from chexkeras.parallel import Workplace, place_of

if TYPE_CHECKING:
    from chexkeras.training.distributed.team import Team
    from chexkeras.training.own_objects import OwnObjects


def place_of_features(executor: str | Workplace, features: str, engine: str, *, shared: bool) -> Workplace:
    """Returns where what is frozen is computed, sure that it can be computed there.

    Args:
        executor: What was asked for.
        features: "auto", "float16", "float32" or "off".
        engine: What computes.
        shared: Whether several devices or processes share each batch, so that nothing is stored.

    Raises:
        ValueError: If a cluster is asked for where it has nothing to compute, or cannot.
        WorkersUnavailable: If nothing answers at the cluster's address.
    """
    place = place_of(executor)
    if not place.on_cluster:
        return place
    hindered = {
        "features='off' (--features off)": features == "off",
        f"frozen_engine={engine!r} (--frozen-engine {engine})": engine != "keras",
        "workers (--workers)": shared,
    }
    for name, is_given in hindered.items():
        if is_given:
            raise ValueError(
                f"executor='ray' (--executor ray) computes what is frozen, once and with Keras, and {name} forbids "
                "that; leave one of them out."
            )
    return place


def check_shareable(
    features: str, draws: int | None, features_store: str | Path | None, own: "OwnObjects", workers: "int | Team"
) -> None:
    """Refuses what several devices that share each batch cannot have.

    Args:
        features: "auto", "float16", "float32" or "off".
        draws: How many draws are to be stored; None for none.
        features_store: Folder in which features are to stay; None for none.
        own: Keras objects that were given.
        workers: How many devices, or the team of processes.

    Raises:
        ValueError: If features are to be stored, or a team is given Keras objects.
    """
    stored = {"features": features if features in ("float16", "float32") else None, "draws": draws,
              "features_store": features_store}  # fmt: skip
    named = [f"{name}={value}" for name, value in stored.items() if value is not None]
    if named:
        raise ValueError(
            f"{' and '.join(named)} with several workers: training on stored features takes one process and one "
            "device. Leave workers out (it needs no more), or leave them out, and every epoch reads the images."
        )
    if not isinstance(workers, int) and own.any_given:
        raise ValueError("Keras objects of one's own are for one process; leave them or the team out.")
