"""Files as `torch.save` writes them, put together byte by byte: no PyTorch is needed, and any fault can be built in."""

import math
import struct
import zipfile

import numpy as np

KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def name(module, word):
    return f"c{module}\n{word}\n".encode()


def group(*parts):
    return b"(" + b"".join(parts) + b"t"


def mapping(entries, begin=None):
    """A dictionary; OrderedDict unless another beginning is given."""
    items = b"".join(key + value for key, value in entries)
    return (name("collections", "OrderedDict") + b")R" if begin is None else begin) + b"(" + items + b"u"


def call(module, word, *arguments):
    return name(module, word) + group(*arguments) + b"R"


class TorchFile:
    """A file under construction: what is pickled, and the arrays that it names."""

    def __init__(self, legacy=False):
        self.legacy = legacy
        self.arrays = []

    def tensor(self, array, strides=None, offset=0, shape=None):
        array = np.ascontiguousarray(array)
        key = str(len(self.arrays))
        self.arrays.append((key, array))
        shape = array.shape if shape is None else shape
        if strides is None:
            strides = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
        view = [b"N"] if self.legacy else []
        storage = group(
            text("storage"), name("torch", KINDS[array.dtype.name]), text(key), text("cpu"), number(array.size), *view
        )
        places = (number(offset), group(*map(number, shape)), group(*map(number, strides)))
        return call("torch._utils", "_rebuild_tensor_v2", storage + b"Q", *places, b"\x89", mapping([]))

    def parameter(self, array):
        return call("torch._utils", "_rebuild_parameter", self.tensor(array), b"\x88", mapping([]))

    def state_dict(self, arrays):
        return mapping([(text(key), self.tensor(array)) for key, array in arrays.items()])

    def module(self, kind, arrays):
        """A layer with everything below it, pickled whole as `torch.save(model)` does."""
        inside = {}
        own = {key: array for key, array in arrays.items() if "." not in key}
        for key, array in arrays.items():
            if "." in key:
                inside.setdefault(key.partition(".")[0], {})[key.partition(".")[2]] = array
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        state = [
            (text("training"), b"\x89"),
            (text("_parameters"), mapping([(text(k), self.parameter(a)) for k, a in own.items() if k not in buffers])),
            (text("_buffers"), mapping([(text(k), self.tensor(a)) for k, a in own.items() if k in buffers])),
            (text("_backward_hooks"), mapping([])),
            (text("_modules"), mapping(
                [(text(k), self.module("torch.nn.modules.container Sequential", below)) for k, below in inside.items()]
            )),
        ]  # fmt: skip
        module, word = kind.split()
        made_by = name(module, word)
        if self.legacy:
            made_by = group(text("module"), made_by, text("/their/models.py"), text("class DenseNet: ...")) + b"Q"
        return made_by + b")\x81" + mapping(state, b"}") + b"b"

    def save(self, path, content, root="archive", **changes):
        pickled = b"\x80\x02" + content + b"."
        if self.legacy:
            system = mapping([(text("protocol_version"), number(1001)), (text("little_endian"), b"\x88")], b"}")
            keys = b"](" + b"".join(text(key) for key, _ in self.arrays) + b"e"
            parts = [b"\x80\x02" + MAGIC + b".", b"\x80\x02M\xe9\x03.", b"\x80\x02" + system + b".", pickled]
            parts.append(b"\x80\x02" + keys + b".")
            parts += [struct.pack("<q", array.size) + array.tobytes() for _, array in self.arrays]
            path.write_bytes(b"".join(parts))
            return path
        compression = changes.get("compression", zipfile.ZIP_STORED)
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr(f"{root}/data.pkl", pickled)
            archive.writestr(f"{root}/byteorder", changes.get("byteorder", "little"))
            for key, array in self.arrays:
                archive.writestr(f"{root}/data/{key}", array.tobytes())
            archive.writestr(f"{root}/version", "3\n")
        return path


BLOCKS = {"DenseNet121": (6, 12, 24, 16), "DenseNet169": (6, 12, 32, 32)}


def random_densenet(channels=3, network="DenseNet121", seed=0):
    """Random weights of torchvision's network without its last layer, by torchvision's keys."""
    draw = np.random.default_rng(seed)
    found = {}

    def convolution(key, out, into, side):
        found[f"{key}.weight"] = draw.normal(0, math.sqrt(2 / (into * side**2)), (out, into, side, side))

    def norm(key, width):
        found[f"{key}.weight"] = draw.uniform(0.5, 1.5, width)
        found[f"{key}.bias"] = draw.normal(0, 0.1, width)
        found[f"{key}.running_mean"] = draw.normal(0, 0.1, width)
        found[f"{key}.running_var"] = draw.uniform(0.5, 1.5, width)
        found[f"{key}.num_batches_tracked"] = np.array(7, np.int64)

    convolution("features.conv0", 64, channels, 7)
    norm("features.norm0", 64)
    width = 64
    for block, layers in enumerate(BLOCKS[network], start=1):
        for layer in range(1, layers + 1):
            key = f"features.denseblock{block}.denselayer{layer}"
            norm(f"{key}.norm1", width)
            convolution(f"{key}.conv1", 128, width, 1)
            norm(f"{key}.norm2", 128)
            convolution(f"{key}.conv2", 32, 128, 3)
            width += 32
        if block < 4:
            norm(f"features.transition{block}.norm", width)
            convolution(f"features.transition{block}.conv", width // 2, width, 1)
            width //= 2
    norm("features.norm5", width)
    # Variances near zero, as channels that died have them: there BatchNorm's epsilon decides.
    found["features.norm0.running_var"][:8] = 1e-6
    return {key: array if array.dtype == np.int64 else array.astype(np.float32) for key, array in found.items()}


def forward(weights, images, network="DenseNet121"):
    """The feature map of these weights in plain NumPy, in double precision, channels first, as PyTorch computes it."""
    weights = {key.removeprefix("features."): array.astype(float) for key, array in weights.items()}

    def convolved(x, key, stride=1, padding=0):
        kernel = weights[f"{key}.weight"]
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        seen = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
        return np.moveaxis(np.tensordot(seen, kernel, ((1, 4, 5), (1, 2, 3))), 3, 1)

    def normalised(x, key):
        scale = weights[f"{key}.weight"] / np.sqrt(weights[f"{key}.running_var"] + 1e-5)
        shift = weights[f"{key}.bias"] - weights[f"{key}.running_mean"] * scale
        return np.maximum(x * scale[:, None, None] + shift[:, None, None], 0)

    x = normalised(convolved(images, "conv0", 2, 3), "norm0")
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))
    for block, layers in enumerate(BLOCKS[network], start=1):
        for layer in range(1, layers + 1):
            key = f"denseblock{block}.denselayer{layer}"
            new = convolved(normalised(x, f"{key}.norm1"), f"{key}.conv1")
            new = convolved(normalised(new, f"{key}.norm2"), f"{key}.conv2", padding=1)
            x = np.concatenate([x, new], axis=1)
        if block < 4:
            x = convolved(normalised(x, f"transition{block}.norm"), f"transition{block}.conv")
            rows, columns = (side // 2 * 2 for side in x.shape[2:])
            x = x[:, :, :rows, :columns].reshape(*x.shape[:2], rows // 2, 2, columns // 2, 2).mean(axis=(3, 5))
    return normalised(x, "norm5")
