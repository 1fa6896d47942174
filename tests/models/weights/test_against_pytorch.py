"""The same weights in PyTorch and in Keras, by the publishers' own classes; skipped where these are not installed."""

import keras
import numpy as np
import pytest

from chexkeras.models import backbones
from chexkeras.models.classifier import build_classifier
from chexkeras.models.weights import opening

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch torchvision torchxrayvision")
pytestmark = [pytest.mark.keras, pytest.mark.slow]
RELATIVE = 1e-4


def settled(model, seed):
    """The model with random statistics in every BatchNorm, as a trained one has."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=draw)
            module.bias.data.normal_(0, 0.1, generator=draw)
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
            # Channels that died: there the epsilons decide.
            module.running_var[:3] = 1e-6
    return model.eval()


def deviation(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def features_of(model, images):
    with torch.no_grad():
        return torch.relu(model.features(torch.from_numpy(images))).numpy()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["DenseNet121", "DenseNet169"])
def test_torchvision(tmp_path, name, zipped):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = settled(getattr(models, name.lower())(weights=None), 1)
    path = tmp_path / "state.pth"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    pixels = keras.Input((64, 64, 3))
    network = keras.Model(pixels, backbones.BACKBONES[name].build(pixels, None))
    opening.put(opening.find(name, path), name, network)
    images = np.random.default_rng(2).normal(size=(2, 3, 64, 64)).astype(np.float32)
    found = keras.ops.convert_to_numpy(network(np.moveaxis(images, 1, 3), training=False))
    assert deviation(np.moveaxis(found, 3, 1), features_of(model, images)) < RELATIVE


@pytest.mark.parametrize("zipped", [True, False])
def test_torchxrayvision(tmp_path, zipped):
    library = pytest.importorskip("torchxrayvision")
    torch.manual_seed(0)
    model = settled(library.models.DenseNet(num_classes=18, in_channels=1, growth_rate=32, block_config=(6, 12, 24, 16),
                                            num_init_features=64), 3)  # fmt: skip
    path = tmp_path / "published.pt"
    # As they are published: the whole model, pickled.
    torch.save(model, path, _use_new_zipfile_serialization=zipped)
    classifier = build_classifier("Mass", weights="xrv-pc", weights_file=path, image_size=64, precision="float32")
    images = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 1)).astype(np.float32)
    found = keras.Model(classifier.input, classifier.get_layer("relu").output)(images, training=False)
    # The publisher's own scaling of its pixels.
    scaled = library.datasets.normalize(images[..., 0], 255)[:, None].astype(np.float32)
    found = np.moveaxis(keras.ops.convert_to_numpy(found), 3, 1)
    assert deviation(found, features_of(model, scaled)) < RELATIVE


def test_a_checkpoint_with_an_optimizer_and_half_precision(tmp_path):
    models = pytest.importorskip("torchvision.models")
    from chexkeras.models.weights import densenet
    from chexkeras.models.weights.pytorch import read_pytorch

    model = settled(models.densenet121(weights=None), 5)
    optimizer = torch.optim.Adam(model.parameters())
    path = tmp_path / "last.ckpt"
    half = {key: value.to(torch.bfloat16) if value.is_floating_point() else value
            for key, value in model.state_dict().items()}  # fmt: skip
    torch.save({"epoch": 3, "state_dict": half, "optimizer": optimizer.state_dict()}, path)
    found = densenet.features_of(read_pytorch(path))
    expected = half["features.denseblock1.denselayer1.conv2.weight"].float().numpy()
    np.testing.assert_array_equal(found["denseblock1.denselayer1.conv2.weight"], expected)


def test_radimagenets_names(tmp_path):
    """Its example builds the network as Sequential(*list(densenet121().children())[:9]), below the name backbone."""
    models = pytest.importorskip("torchvision.models")
    base = settled(models.densenet121(weights=None), 6)
    model = torch.nn.Module()
    model.backbone = torch.nn.Sequential(*list(base.children())[:9])
    path = tmp_path / "DenseNet121.pt"
    torch.save(model.state_dict(), path)
    found = opening.find("DenseNet121", "radimagenet-torch", path)
    np.testing.assert_array_equal(found.arrays["conv0.weight"], base.features.conv0.weight.detach().numpy())
