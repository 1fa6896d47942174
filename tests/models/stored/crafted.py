"""Model files as nobody should open them; all that their code would do is to make one empty file."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np


def members(path):
    """Returns the members of a ``.keras`` file by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, content, **options):
    """Writes a ``.keras`` file from members by name, or from pairs of an entry and its content."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in content.items() if isinstance(content, dict) else content:
            archive.writestr(name, data)
    return path


def network(*layers):
    """Returns the configuration of a network of one input, one number, and layers behind it."""
    tensor = {"shape": [None, 1], "dtype": "float32", "keras_history": ["input", 0, 0]}
    inbound = [{"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": {}}]
    first = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 1], "dtype": "float32", "name": "input"},
        "registered_name": None,
        "name": "input",
        "inbound_nodes": [],
    }
    named = [
        {"name": f"layer_{number}", "inbound_nodes": inbound, "registered_name": None, **layer}
        for number, layer in enumerate(layers)
    ]
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "network",
            "trainable": True,
            "layers": [first, *named],
            "input_layers": [["input", 0, 0]],
            "output_layers": [[named[-1]["name"] if named else "input", 0, 0]],
        },
        "registered_name": "Functional",
    }


def weights(fill=lambda stored: stored.create_group("layers")):
    """Returns the bytes of an HDF5 file that `fill` has written to."""
    content = io.BytesIO()
    with h5py.File(content, "w") as stored:
        fill(stored)
    return content.getvalue()


def model_file(path, config, stored=None):
    """Writes a ``.keras`` file with a configuration: a document, or its text."""
    text = config if isinstance(config, (str, bytes)) else json.dumps(config)
    return pack(
        path,
        {
            "metadata.json": json.dumps({"keras_version": keras.__version__, "date_saved": "2026-01-01"}),
            "config.json": text,
            "model.weights.h5": weights() if stored is None else stored,
        },
    )


def layer(class_name, module="keras.layers", registered_name=None, **config):
    return {
        "module": module, "class_name": class_name, "config": {"name": "layer_0", **config},
        "registered_name": registered_name,
    }  # fmt: skip


def called(function, module, text, arguments=None, **entry):
    """Returns a Lambda layer that calls a function of a module with a text while the network is put together."""
    named = {"module": module, "class_name": "function", "config": function, "registered_name": "function"}
    return {
        **layer("Lambda", function=named, arguments=arguments or {}, output_shape=[1]),
        "inbound_nodes": [{"args": [], "kwargs": {"inputs": text}}],
        **entry,
    }


def code_that_runs(marker):
    """Returns configurations that run code or read files where Keras is old enough or is not asked first, by name."""
    command = f"touch {marker}"
    system = layer("system", module="os", registered_name="system", command=command)

    def activated(**function):
        return network(layer("Dense", units=1, activation=function))

    def stored(name, **config):
        return network(layer(name, **config))

    code = {"class_name": "__lambda__", "config": {"value": "4wAA"}}
    words = {"class_name": "__numpy__", "config": {"value": [1], "dtype": "S99999999"}}
    dense = layer("Dense", units=1)
    policy = {"module": "keras.config", "class_name": "function", "config": "set_dtype_policy", "registered_name": None}
    return {
        # CVE-2025-1550: any function of any module.
        "function of a module": network(called("system", "os", command)),
        "class of a module": network(system),
        # CVE-2025-8747 and CVE-2025-9906: functions of Keras that do more than compute.
        "download": network(called("get_file", "keras.utils", "name", {"origin": f"file://{marker}"})),
        "safe mode off": network(called("enable_unsafe_deserialization", "keras.config", "on")),
        "load another": network(called("load_model", "keras.models", str(marker), {"safe_mode": False})),
        # As Keras 3.15.1 does: functions of Keras as arguments of a layer that nothing leads to.
        "dead end": network(
            {**layer("Switch", "keras.src.ops.core", "Switch"), "inbound_nodes": [{"args": [0, [policy], "float16"]}]},
            dense,
        ),
        # CVE-2024-3660 and CVE-2026-12481: code in the file itself.
        "lambda": stored("Lambda", function=code),
        "lambda alone": network(layer("Dense", units=1, activation=code)),
        "type": activated(class_name="__typespec__", module="os", config=[], spec_name="system", registered_name="x"),
        # CVE-2025-49655, CVE-2026-1462, CVE-2025-12058: a pickle, a SavedModel and a vocabulary.
        "pickle": stored("TorchModuleWrapper"),
        "saved model": stored("TFSMLayer", filepath=str(marker), call_endpoint="serve"),
        "vocabulary": stored("StringLookup", vocabulary=str(marker)),
        "vocabulary of text": stored("TextVectorization", vocabulary=str(marker)),
        "network of another library": stored("JaxLayer", call_fn="x"),
        # One name where another is looked up.
        "known as another": network(layer("RMSNormalization", registered_name="Lambda")),
        "known as ours": network(layer("Lambda", registered_name="chexkeras>Clahe")),
        "legacy": network({"class_name": "Lambda", "config": {"name": "layer_0", "function": ["4wAA", None, None]}}),
        "legacy layer": network({"class_name": "Dense", "config": {"units": 1, "name": "layer_0"}}),
        "activation of a module": activated(
            module="os", class_name="function", config="system", registered_name="relu"
        ),
        "activation as another": activated(
            module="builtins", class_name="function", config="relu", registered_name="eval"
        ),
        "module above": network(layer("Dense", module="keras.layers.core", units=1)),
        "module of one's own": network(layer("Model", module="__main__")),
        # Where one looks last.
        "inside": stored("TimeDistributed", layer=layer("Lambda", function="x")),
        "in a nested model": network({**network(called("system", "os", command)), "name": "layer_0"}),
        "in a shape": network({**dense, "build_config": system}),
        "in an argument": network({**dense, "inbound_nodes": [{"args": [], "kwargs": {"inputs": system}}]}),
        "compiled": network({**dense, "compile_config": {"loss": system}}),
        "compiled with a name": network({**dense, "compile_config": {"loss": "mse"}}),
        "outermost": system,
        "list of classes": [system],
        "array of words": network(layer("Dense", units=words)),
        "name that is none": stored(["Dense"]),
        "name with a message": stored("\x1b[2J\nall is well"),
    }


def weights_elsewhere(folder):
    """Returns HDF5 files that lead out of themselves or declare what they do not hold, as bytes by name."""
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.arange(4.0)
    (folder / "other.bin").write_bytes(bytes(range(32)))

    def virtual(stored):
        pieces = h5py.VirtualLayout((4,), "f8")
        pieces[:] = h5py.VirtualSource(folder / "other.h5", "secret", (4,))
        stored.create_virtual_dataset("layers/dense/vars/0", pieces)

    def twice(stored):
        stored["one"] = np.zeros(4)
        stored["two"] = stored["one"]

    def round_about(stored):
        stored.create_group("layers")["layers"] = stored["/"]

    def many(stored):
        stored.create_dataset("0", (2**33,), "f4", chunks=(2**20,), fillvalue=1.0)

    return {
        "link to a file": weights(lambda s: s.__setitem__("layers", h5py.ExternalLink(folder / "other.h5", "/"))),
        "link inside": weights(lambda s: s.__setitem__("layers", h5py.SoftLink("/"))),
        "link to an array": weights(
            lambda s: s.create_group("vars").__setitem__("0", h5py.ExternalLink(folder / "other.h5", "secret"))
        ),
        "stored elsewhere": weights(
            lambda s: s.create_dataset("0", (4,), "f8", external=[(str(folder / "other.bin"), 0, 32)])
        ),
        "virtual": weights(virtual),
        "one under two names": weights(twice),
        "round": weights(round_about),
        "declared": weights(many),
        "declared whole": weights(lambda s: s.create_dataset("0", (2**33,), "f4")),
        "compressed": weights(lambda s: s.create_dataset("0", data=np.zeros(2**20), compression="gzip")),
        "in pieces": weights(lambda s: s.create_dataset("0", data=np.zeros(64), chunks=(8,))),
        "texts": weights(lambda s: s.create_dataset("0", data=["text"], dtype=h5py.string_dtype())),
        "references": weights(lambda s: s.create_dataset("0", data=s.ref, dtype=h5py.ref_dtype)),
        "records": weights(lambda s: s.create_dataset("0", data=np.zeros(2, [("a", "f4"), ("b", "f4")]))),
        "type": weights(lambda s: s.__setitem__("0", np.dtype("f4"))),
        "no hdf5": b"\x89HDF\r\n\x1a\n" + bytes(600),
        "nothing": b"",
    }
