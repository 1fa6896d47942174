"""Files that are no weights, or weights that hold more: one clear sentence each, and nothing of them is run."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from chexkeras.models.weights import opening, pickled
from tests.models.weights.torch_files import TorchFile, call, mapping, random_densenet, text


def refused(path, words, backbone="DenseNet121"):
    with pytest.raises(ValueError, match=words) as caught:
        opening.find(backbone, path)
    said = str(caught.value)
    assert path.name in said
    assert len(said) < 400
    assert "\n" not in said
    return said


BEGINNINGS = {
    "empty": (b"", "is empty"),
    "page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "is a web page, not weights"),
    "page after a mark": (b"\xef\xbb\xbf\r\n<HTML>", "is a web page, not weights"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "is a pointer of Git LFS"),
    "text": (b"Quota exceeded", "is no file of weights by Keras, PyTorch or safetensors"),
    "description": (b'{"name": "mine"}', "describes weights and holds none"),
    "cut archive": (b"PK\x03\x04" + bytes(200), "is damaged: it ends early"),
    "another pickle": (pickle.dumps({"a": 1}), "is a pickle, but not of PyTorch"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BEGINNINGS)
@pytest.mark.parametrize("ending", [".pt", ".h5"])
def test_what_is_no_weights_is_named(tmp_path, kind, ending):
    content, words = BEGINNINGS[kind]
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    if kind == "text" and ending == ".h5":
        words = "does not begin as a file of Keras does"
    refused(path, words)


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "before 1.6"])
@pytest.mark.parametrize(
    "function", ["os.system", "posix.system", "subprocess.Popen", "builtins.exec", "builtins.getattr", "theirs.made"]
)
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, function, legacy):
    proof = tmp_path / "it-was-run"
    file = TorchFile(legacy)
    attack = call(*function.rsplit(".", 1), text(f"touch {proof}"))
    content = mapping([(text("features.conv0.weight"), attack)])
    path = file.save(tmp_path / "weights.pt", content)
    said = refused(path, "code that weights have no need of; nothing of it was run")
    assert function in said
    assert not proof.exists()


@pytest.mark.parametrize(
    "instruction",
    [
        b"cos\nsystem\n(X\x02\x00\x00\x00lsoX",
        b"(cos\nsystem\nX\x02\x00\x00\x00lso",
        b"(X\x02\x00\x00\x00lsios\nsystem\n",
        b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93",
    ],
)
def test_no_way_of_naming_code_is_open(instruction):
    with pytest.raises(pickled.UnreadablePickle):
        pickled.read_pickle(io.BytesIO(b"\x80\x04" + instruction + b"."))


def test_even_calls_into_pytorch_are_but_noted():
    """Names that weights have need of are not looked up either."""
    found = pickled.read_pickle(io.BytesIO(b"\x80\x02" + call("torch.hub", "load", text("their/repository")) + b"."))
    assert isinstance(found, pickled.NotedCall)
    assert (str(found.made_by), found.arguments) == ("torch.hub.load", ("their/repository",))


def test_a_memory_of_billions_of_places_takes_none():
    found = pickled.read_pickle(io.BytesIO(b"\x80\x02K\x07r\xff\xff\xff\xff."))
    assert found == 7


DAMAGED = (
    b"", b"\x80\x02", b"\x80\x02K\x01", b"\x80\x02t.", b"\x80\x02X\xff\xff\xff\xffa.", b"\x80\x02h\x05.", b"\xff.",
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_pickle_is_said_to_be_damaged(damage):
    with pytest.raises(pickled.UnreadablePickle, match="is damaged"):
        pickled.read_pickle(io.BytesIO(damage))


def test_cut_files_are_damaged(tmp_path):
    weights = {"features.conv0.weight": np.zeros((64, 3, 7, 7), np.float32), "b": np.ones(4000, np.float32)}
    for legacy in (False, True):
        file = TorchFile(legacy)
        path = file.save(tmp_path / f"whole{legacy}.pt", file.state_dict(weights))
        content = path.read_bytes()
        for share in (0.4, 0.9, 0.999):
            path.write_bytes(content[: int(len(content) * share)])
            refused(path, "is damaged")


def test_a_compressed_archive_that_unpacks_to_much_is_not_unpacked(tmp_path):
    file = TorchFile()
    path = file.save(
        tmp_path / "bomb.pt", file.state_dict({"a": np.zeros(2**22, np.float32)}), compression=zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 2**20
    refused(path, "in compressed files, and PyTorch compresses none")


def test_an_archive_whose_members_share_their_bytes_is_refused(tmp_path):
    file = TorchFile()
    path = file.save(tmp_path / "shared.pt", file.state_dict({"a": np.zeros(2**12, np.float32)}))
    with zipfile.ZipFile(path, "a") as archive:
        inner = archive.getinfo("archive/data/0")
        for copy in range(3):
            twin = zipfile.ZipInfo(f"archive/data/{copy + 1}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(twin, field, getattr(inner, field))
            archive.filelist.append(twin)
        archive._didModify = True
    refused(path, "declares more than it holds")


def test_an_array_larger_than_its_numbers_is_refused(tmp_path):
    for shape, strides, offset in (((2**20, 2**20), (0, 0), 0), ((4, 4), (8, 1), 0), ((4,), (1,), 14)):
        file = TorchFile()
        content = mapping([(text("a"), file.tensor(np.zeros(16, np.float32), strides, offset, shape))])
        refused(file.save(tmp_path / "reach.pt", content), "reaches beyond its numbers")


def test_many_arrays_on_the_same_numbers_are_refused(tmp_path):
    file = TorchFile()
    tensor = file.tensor(np.zeros(2**14, np.float32))
    content = mapping([(text(f"a{number}"), tensor) for number in range(40)])
    refused(file.save(tmp_path / "many.pt", content), "declares more than it holds")


def test_arrays_that_hold_themselves_end(tmp_path):
    file = TorchFile()
    content = b"}q\x00(" + text("self") + b"h\x00" + text("a") + file.tensor(np.zeros(4, np.float32)) + b"u"
    refused(file.save(tmp_path / "circle.pt", content), r"no array's key ends in conv0\.weight; it has a")


def test_other_networks_are_told_by_their_name(tmp_path):
    file = TorchFile()
    path = file.save(tmp_path / "169.pth", file.state_dict(random_densenet(network="DenseNet169")))
    found = opening.find("DenseNet121", path)
    with pytest.raises(ValueError, match=r"its layers are those of DenseNet169\. Set backbone='DenseNet169'"):
        opening.put(found, "DenseNet121", _Network())
    file = TorchFile()
    path = file.save(tmp_path / "resnet.pth", file.state_dict({"layer1.0.conv1.weight": np.zeros((4, 4, 3, 3), "f4")}))
    refused(path, r"holds no DenseNet of PyTorch: .*; it has layer1\.0\.conv1\.weight")
    path = file.save(tmp_path / "two.pth", mapping([
        (text(f"{each}.conv0.weight"), file.tensor(np.zeros((4, 4, 3, 3), "f4"))) for each in ("model", "ema")
    ]))  # fmt: skip
    refused(path, "holds 2 networks")


class _Network:
    def get_layer(self, _):
        class Norm:
            epsilon = 1.001e-5

        return Norm


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("features.norm5.running_var", None, r"lacks the array norm5\.running_var"),
        ("features.norm5.bias", np.full(1024, np.nan, "f4"), "are none"),
        ("features.norm5.running_var", np.full(1024, -1, "f4"), "variance below zero"),
        ("features.norm5.weight", np.ones((2, 2), "f4"), "another shape"),
    ],
)
def test_weights_that_are_incomplete_or_no_numbers(tmp_path, key, change, words):
    weights = random_densenet()
    if change is None:
        del weights[key]
    else:
        weights[key] = change
    file = TorchFile()
    found = opening.find("DenseNet121", file.save(tmp_path / "a.pth", file.state_dict(weights)))
    with pytest.raises(ValueError, match=words):
        opening.put(found, "DenseNet121", _Network())


def test_another_order_of_bytes(tmp_path):
    file = TorchFile()
    refused(file.save(tmp_path / "a.pt", file.state_dict({}), byteorder="big"), "the other order of bytes")


def test_pytorch_for_a_network_that_is_not_converted(tmp_path):
    file = TorchFile()
    path = file.save(tmp_path / "a.pt", file.state_dict({"features.conv0.weight": np.zeros((64, 3, 7, 7), "f4")}))
    refused(path, "converted for DenseNet121, DenseNet169, DenseNet201, not for ResNet50", backbone="ResNet50")


def test_safetensors_that_declare_too_much(tmp_path):
    path = tmp_path / "a.safetensors"
    for header in (
        b'{"a": {"dtype": "F32", "shape": [1000000], "data_offsets": [0, 4000000]}}',
        b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        b'{"a": 1}',
    ):
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
        refused(path, "is damaged")


def test_named_weights_without_their_file_say_where_it_is():
    with pytest.raises(ValueError, match=r"weights='xrv-all' need their file: get it from torchxrayvision's releases"):
        opening.find("DenseNet121", "xrv-all")


def test_named_weights_for_another_backbone(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(ValueError, match="are of DenseNet121, and the backbone is ResNet50"):
        opening.find("ResNet50", "xrv-all", tmp_path / "a.pt")


def test_a_misspelt_name_is_no_file():
    with pytest.raises(FileNotFoundError, match="xrv-al") as caught:
        opening.find("DenseNet121", "xrv-al")
    assert "did you mean 'xrv-all'" in str(caught.value)


def test_a_file_that_is_not_the_one_its_name_states(tmp_path):
    file = TorchFile()
    path = file.save(tmp_path / "densenet121-a639ec97.pth", file.state_dict(random_densenet()))
    with pytest.raises(ValueError, match="SHA-256 does not begin with a639ec97"):
        opening.find("DenseNet121", "torchvision", path)
    assert opening.find("DenseNet121", Path(path)).source is None
