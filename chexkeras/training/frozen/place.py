"""Where what is frozen is computed: on this machine, or on a cluster."""

from chexkeras.parallel import Workplace, place_of


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
