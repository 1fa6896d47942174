"""What is recorded of a Keras object that was given instead of a name: its class and configuration."""

import hashlib
import json
from typing import Any

import keras

_REGISTER = (
    "Register its class, @keras.saving.register_keras_serializable(), give it a get_config that holds its arguments, "
    "and register it again in every process that loads the run."
)


def recorded(value: Any, what: str) -> dict[str, Any]:
    """Returns what Keras says of an object: its class and configuration, from which it can be made again.

    Args:
        value: A layer, a model or a loss.
        what: What it was given as, for the message: "loss".

    Raises:
        ValueError: If it cannot be made again from that: its class is not registered, or holds code.
    """
    try:
        config = keras.saving.serialize_keras_object(value)
        found: dict[str, Any] = json.loads(json.dumps(config))
        rebuilt(found, what)
    # Whatever a class makes of being asked for its configuration.
    except Exception as error:
        raise ValueError(
            f"{what}={type(value).__name__} cannot be recorded with the run, since Keras cannot make it again from its "
            f"configuration ({brief(error)}). {_REGISTER}"
        ) from error
    for entry in _classes(found):
        module = str(entry.get("module") or "builtins")
        if entry.get("registered_name") not in keras.saving.get_custom_objects() and module.split(".")[0] not in (
            "keras", "builtins",
        ):  # fmt: skip
            raise ValueError(
                f"{what}={type(value).__name__} cannot be recorded with the run: {entry['class_name']} is neither "
                f"Keras' own nor registered, and another process would not find it. {_REGISTER}"
            )
    return found


def rebuilt(config: dict[str, Any], what: str) -> Any:
    """Returns an object made again from what was recorded of it.

    Args:
        config: From `recorded`.
        what: What it was given as, for the message.

    Raises:
        ValueError: If its class is not known here.
    """
    try:
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:
        raise ValueError(
            f"{what}: {config.get('class_name')} cannot be made again from its configuration ({brief(error)}). "
            f"{_REGISTER}"
        ) from error


def digest(config: dict[str, Any]) -> str:
    """Returns a fingerprint of what was recorded of an object.

    Neither names that Keras counted up nor seeds change it: what an object draws is decided by the recipe's seed.

    Args:
        config: From `recorded`.
    """
    return hashlib.sha256(json.dumps(_without_names(config), sort_keys=True).encode()).hexdigest()


def _without_names(value: Any) -> Any:
    """Returns a configuration with the names of its layers by their place, and without seeds."""
    text = json.dumps(_without_seeds(value))
    names = list(dict.fromkeys(_names(value)))
    # Longest first, lest a name is found inside another one.
    for place, name in sorted(enumerate(names), key=lambda pair: -len(pair[1])):
        text = text.replace(json.dumps(name), json.dumps(f"#{place}"))
    return json.loads(text)


def _without_seeds(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_seeds(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_seeds(each) for key, each in value.items() if key != "seed"}
    return value


def _names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for each in value for name in _names(each)]
    if not isinstance(value, dict):
        return []
    found = [value["name"]] if isinstance(value.get("name"), str) else []
    return found + [name for each in value.values() for name in _names(each)]


def _classes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [entry for each in value for entry in _classes(each)]
    if not isinstance(value, dict):
        return []
    own = [value] if isinstance(value.get("class_name"), str) and not value["class_name"].startswith("__") else []
    return own + [entry for each in value.values() for entry in _classes(each)]


def brief(error: Exception) -> str:
    """Returns the first words of an error of Keras, which may go on for pages."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:200]}"
