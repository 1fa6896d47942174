"""Makes a file of weights with PyTorch, and what they give; a program of its own: TensorFlow beside it can crash.

python by_pytorch.py NAME FILE EXPECTED, with NAME one of `MAKERS`.
"""

import sys

import numpy as np
import torch


def settled(model, seed):
    """The model with random statistics in every BatchNorm, as a trained one has."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=draw)
            module.bias.data.normal_(0, 0.1, generator=draw)
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
    # Channels that died: there the epsilons decide. In the first layer alone, or the numbers would grow without end.
    model.features.norm0.running_var[:3] = 1e-6
    return model.eval()


def torchvision_model(name):
    from torchvision import models

    return settled(getattr(models, name)(weights=None), 1)


def torchxrayvision_model():
    import torchxrayvision

    return settled(torchxrayvision.models.DenseNet(num_classes=18, in_channels=1), 3)


def colours(seed=2):
    return np.random.default_rng(seed).normal(size=(2, 3, 64, 64)).astype(np.float32)


def features(model, images):
    with torch.no_grad():
        return torch.relu(model.features(torch.from_numpy(images))).numpy()


def torchvision_state(path, name="densenet121", zipped=True):
    model, images = torchvision_model(name), colours()
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    return {"images": images, "features": features(model, images)}


def published(path, zipped=True):
    """The whole model, pickled, as torchxrayvision's are published; its own scaling of the pixels."""
    import torchxrayvision

    model = torchxrayvision_model()
    torch.save(model, path, _use_new_zipfile_serialization=zipped)
    pixels = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 1)).astype(np.float32)
    scaled = torchxrayvision.datasets.normalize(pixels[..., 0], 255)[:, None].astype(np.float32)
    return {"images": pixels, "features": features(model, scaled)}


def checkpoint(path):
    """A training's checkpoint in half precision, with an optimizer's state beside the weights."""
    model = torchvision_model("densenet121")
    state = {key: value.bfloat16() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters())
    torch.save({"epoch": 3, "state_dict": state, "optimizer": optimizer.state_dict()}, path)
    model.load_state_dict(state)
    images = colours()
    return {"images": images, "features": features(model, images)}


def radimagenet(path):
    """Its example builds the network as Sequential(*list(model.children())[:9]), below the name backbone."""
    base, images = torchvision_model("densenet121"), colours()
    model = torch.nn.Module()
    model.backbone = torch.nn.Sequential(*list(base.children())[:9])
    torch.save(model.state_dict(), path)
    return {"images": images, "features": features(base, images)}


MAKERS = {
    "torchvision": torchvision_state,
    "torchvision before 1.6": lambda path: torchvision_state(path, zipped=False),
    "torchvision 169": lambda path: torchvision_state(path, "densenet169"),
    "torchvision 201": lambda path: torchvision_state(path, "densenet201"),
    "torchxrayvision": published,
    "torchxrayvision before 1.6": lambda path: published(path, zipped=False),
    "checkpoint": checkpoint,
    "radimagenet": radimagenet,
}

if __name__ == "__main__":
    maker, file, expected = sys.argv[1:]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    np.savez(expected, **MAKERS[maker](file))
