"""A training that several workers share against the same training by one: weights, losses, and the loss of a worker.

    .venv/bin/python benchmarks/scale/devices.py --work build/devices
    .venv/bin/python benchmarks/scale/devices.py --work build/devices --parts one,processes

DenseNet121 from random weights by the preset chexnet (all layers and BatchNorm trained, Adam), 64 pixels, 200 phantoms,
3 epochs, as the command line does it on Keras' JAX backend: by one process, by two processes, by four devices that XLA
makes of one processor, and by two processes of which one is killed in epoch 2, resumed by one. Each part is done once
and kept in the folder; what is there is compared with the run of one process. On two cores about ten minutes a part.

Adam makes much of little: where BatchNorm follows BatchNorm the gradient of a scale is nothing but rounding, and Adam
steps by the learning rate along it all the same. One device that gets the rows of a batch in another order has other
gradients by as much as four devices have: `--parts gradients` shows it on the first batch.
"""

import argparse
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from chexkeras.phantoms import make_phantoms

PARTS = {"one": [], "processes": ["--workers", "2"], "devices": ["--workers", "4"], "resumed": ["--workers", "2"]}

DOUBLE = """
import os

if os.environ.get("KERAS_BACKEND") == "jax":
    import keras

    import chexkeras.models.classifier

    keras.config.set_floatx("float64")
    chexkeras.models.classifier.resolve_precision = lambda precision: "float64"
"""

GRADIENTS = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from chexkeras.models.classifier import build_classifier
import keras

keras.utils.set_random_seed(0)
model = build_classifier("Effusion", backbone="DenseNet121", weights=None, image_size=64, head="linear",
                         precision="float32")
model.trainable = True
weights, others = ([jnp.asarray(each.value) for each in kind] for kind in
                   (model.trainable_variables, model.non_trainable_variables))
rng = np.random.default_rng(0)
pixels = rng.uniform(0, 255, (16, 64, 64, 1)).astype(np.float32)
labels = (rng.uniform(size=(16, 1)) < 0.4).astype(np.float32)

def loss(weights, others, pixels, labels):
    scores, _ = model.stateless_call(weights, others, pixels, training=True)
    scores = jnp.clip(scores, 1e-7, 1 - 1e-7)
    return -jnp.mean(labels * jnp.log(scores) + (1 - labels) * jnp.log(1 - scores))

of_batch = jax.jit(jax.value_and_grad(loss))
mesh = Mesh(np.array(jax.devices()), ("batch",))
every, shared = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
here = of_batch(weights, others, pixels, labels)
found = {
    "rows in another order": of_batch(weights, others, pixels[::-1].copy(), labels[::-1].copy()),
    f"{len(jax.devices())} devices": of_batch(*jax.device_put((weights, others), every),
                                              *jax.device_put((pixels, labels), shared)),
}
for name, (value, gradients) in found.items():
    apart = np.array([np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30)
                      for a, b in zip(map(np.asarray, here[1]), map(np.asarray, gradients))])
    signs = sum(int(np.sum(np.sign(np.asarray(a)) != np.sign(np.asarray(b)))) for a, b in zip(here[1], gradients))
    print(f"{name}: loss {float(here[0]):.6f}, apart {abs(float(value - here[0])):.1e}; gradients apart "
          f"{np.median(apart):.1e} in the median of {len(apart)} weights, {apart.max():.1e} in the worst; "
          f"{signs:,} of {sum(a.size for a in here[1]):,} point the other way", flush=True)
"""


def main() -> None:
    """Trains and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for images and runs")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, with commas between")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate; the preset's is 0.001")
    parser.add_argument("--optimizer", default="adam", help="'adam', the preset's, or 'sgd'")
    parser.add_argument("--images", type=int, default=200, help="phantoms")
    parser.add_argument("--double", action="store_true", help="calculate with float64, in which rounding stays small")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.double:
        calculate_in_double_precision(given.work.resolve() / "double")
    root = make_phantoms(given.work / "phantoms", images=given.images, prevalence={"Effusion": 0.4})
    for part in given.parts.split(","):
        if part == "gradients":
            environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
            subprocess.run([sys.executable, "-c", GRADIENTS], env={**os.environ, **environment}, check=True)
        elif not (given.work / part).is_dir():
            train(given.work, root, part, {"optimizer": given.optimizer, "learning_rate": given.rate})
    for part in list(PARTS)[1:]:
        if (given.work / part).is_dir() and (given.work / "one").is_dir():
            tell(given.work, part)


def calculate_in_double_precision(folder: Path) -> None:
    """Lets every Python that is started from here build its models in float64, which no recipe can ask for.

    Args:
        folder: Folder for the module that each of them imports first.
    """
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(DOUBLE)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    os.environ["JAX_ENABLE_X64"] = "1"


def train(work: Path, root: Path, part: str, asked: dict[str, object]) -> None:
    """Does one part.

    Args:
        work: Folder for the runs.
        root: The images.
        part: Its name.
        asked: Settings of the training, by name.
    """
    settings = ["image_size=64", "stage1.epochs=3", "stage1.patience=null"]
    settings += [f"stage1.{name}={value}" for name, value in asked.items()]
    command = [sys.executable, "-m", "chexkeras", "train", "--data", str(root), "--run", str(work / part), "--preset",
               "chexnet", "--finding", "Effusion", "--weights", "none", "--features", "off", *PARTS[part]]  # fmt: skip
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    if part == "devices":
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
    start = time.perf_counter()
    with (work / f"{part}.log").open("w") as log:
        running = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
        if part == "resumed":
            lose_a_worker(running, work / f"{part}.log")
            again = [*command[:4], "--data", str(root), "--resume", str(work / part)]
            running = subprocess.Popen(again, env=environment, stderr=log, stdout=log)
        if running.wait():
            raise SystemExit(f"{part}: {(work / f'{part}.log').read_text()[-2000:]}")
    print(f"{part}: {time.perf_counter() - start:.0f} s")


def lose_a_worker(running: "subprocess.Popen[bytes]", log: Path) -> None:
    """Kills the second process once the first epoch was told, and waits for the end of the others.

    Args:
        running: The command that started them.
        log: What it prints.
    """
    while "epoch 1/3" not in log.read_text():
        time.sleep(0.2)
        if running.poll() is not None:
            raise SystemExit(log.read_text()[-2000:])
    (child,) = (
        pid for pid in children(running.pid) if "RANK=1" in Path(f"/proc/{pid}/environ").read_text().split("\0")
    )
    start = time.perf_counter()
    os.kill(child, signal.SIGKILL)
    running.wait()
    print(f"a worker killed in epoch 2: status {running.returncode} after {time.perf_counter() - start:.1f} s")


def children(pid: int) -> list[int]:
    """Returns the processes that a process has started (Linux).

    Args:
        pid: Its number.
    """
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def tell(work: Path, part: str) -> None:
    """Prints how far a part is from the run of one process.

    Args:
        work: Folder of the runs.
        part: Its name.
    """
    one, other = (pd.read_csv(work / name / "history.csv") for name in ("one", part))
    losses = ((one[["loss", "val_loss"]] - other[["loss", "val_loss"]]).abs() / one[["loss", "val_loss"]].abs()).max()
    before, after = weights(work / "one"), weights(work / part)
    apart = {
        name: np.linalg.norm(before[name] - after[name]) / max(np.linalg.norm(before[name]), 1e-12) for name in before
    }
    total = np.sqrt(sum(np.sum((before[name] - after[name]) ** 2.0) for name in before))
    norm = np.sqrt(sum(np.sum(before[name] ** 2.0) for name in before))
    print(
        f"{part}: weights apart {total / norm:.1e} together, {max(apart.values()):.1e} in the worst of {len(apart)}; "
        f"loss {losses['loss']:.1e}, validation loss {losses['val_loss']:.1e}"
    )


def weights(run: Path) -> dict[str, np.ndarray]:
    """Returns a run's weights by name.

    Args:
        run: Its folder.
    """
    found: dict[str, np.ndarray] = {}

    def take(name: str, value: object) -> None:
        if isinstance(value, h5py.Dataset) and value.dtype.kind == "f":
            found[name] = value[()].astype(np.float64)

    with zipfile.ZipFile(run / "model.keras") as stored, h5py.File(io.BytesIO(stored.read("model.weights.h5"))) as file:
        file.visititems(take)
    return found


if __name__ == "__main__":
    main()
