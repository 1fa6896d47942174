"""Heat maps of a run's scores: images in, for each image and finding a map of where its score comes from."""

import contextlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chexkeras.arguments import checked
from chexkeras.checks import positive_int
from chexkeras.data.image_table import ImageTable
from chexkeras.data.pipeline import images_with_ids
from chexkeras.data.pixels import to_model_pixels
from chexkeras.dicom.read import Radiograph
from chexkeras.dicom.workers.options import ISOLATED, ReadOptions
from chexkeras.explanation.heatmaps import Heatmaps, resized
from chexkeras.explanation.methods import METHODS, MapMethod
from chexkeras.explanation.network import MapNetwork
from chexkeras.explanation.occlusion import occlusion_maps
from chexkeras.findings import label_names
from chexkeras.inference.ensemble import Ensemble
from chexkeras.inference.given_images import as_path
from chexkeras.inference.read_files import read_files
from chexkeras.inference.test_time_augmentation import TestTimeAugmentation, normalized_weights
from chexkeras.models.scoring import predict_padded
from chexkeras.progress import track
from chexkeras.runs.run import Run

if TYPE_CHECKING:
    from chexkeras.data.store.store import Store
    from chexkeras.dicom.profiles import Profile

WHAT_IT_IS_NOT = (
    "A heat map shows which parts of an image this score depends on. It is no segmentation and no finding of a "
    "radiologist, and a plausible map does not make a score right."
)
"""What must be said beside every heat map."""

_PIXELS = "pixels"
_ROTATED = "rotated"


@checked
def explain(
    run: Run | Ensemble | str | Path,
    images: pd.DataFrame | Sequence[str | Path],
    *,
    finding: str | Sequence[str] | None = None,
    method: str = "gradcam",
    layer: str | None = None,
    augmentation: TestTimeAugmentation | None = None,
    store: "Store | None" = None,
    batch_size: int = 16,
    profile: "str | Profile" = "clinical",
    read_options: ReadOptions = ISOLATED,
) -> Heatmaps:
    """Returns heat maps of a run's scores.

    The network is run once for score and map together, however many findings are asked for (occlusion: once for each
    place that is painted over).

    Args:
        run: A run, its folder, or an ensemble of runs, whose maps are averaged as their scores are.
        images: An image table, or DICOM, PNG and JPEG files. A file that the gate refuses has no score and no map; how
            many there were is among the result's cautions.
        finding: One of the run's findings, or several; None takes all.
        method: "gradcam", "gradcam++", "hirescam", "cam" or "occlusion", see `METHODS`.
        layer: Name of the layer whose feature map is used; None takes the last one with rows and columns.
        augmentation: Test-time augmentation: the maps of an image's versions are moved back and averaged.
        store: For an image table: images decoded before; None reads the files at `path`.
        batch_size: Images at a time.
        profile: For files: the DICOM gate's profile.
        read_options: For files: how many worker processes read, and their limits.

    Returns:
        The maps, in the order of the images.

    Raises:
        FileNotFoundError: If the run, its model, or an image of the table is not there.
        ValueError: If the finding, the method or the layer is unknown or does not go together, a store holds images of
            another size, an image occurs twice, or no file is accepted.
    """
    explainer = Explainer(
        run, finding=finding, method=method, layer=layer, augmentation=augmentation, batch_size=batch_size
    )
    source = _source(images, explainer.image_px, batch_size, store, profile, read_options)
    made: list[Heatmaps] = []
    with contextlib.closing(source.batches) as batches:
        for pixels, ids in track(batches, "making heat maps", total=source.steps):
            made.append(explainer.explain(pixels, ids))
    names = [name for part in made for name in part.images]
    if not names:
        raise ValueError(f"no image to explain: {'; '.join(source.refused) or 'none was given'}.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"image {twice!r} is there twice; heat maps are found by the image's name.")
    return replace(
        made[0],
        maps=np.concatenate([part.maps for part in made]),
        scores=np.concatenate([part.scores for part in made]),
        images=tuple(names),
        cautions=(*made[0].cautions, *left_out(source.refused)),
    )


@checked
class Explainer:
    """The models of a run or an ensemble, ready to make heat maps of any images.

    Args:
        run: A run, its folder, or an ensemble of runs.
        finding: One of the run's findings, or several; None takes all.
        method: One of `METHODS`.
        layer: Name of the layer; None takes the last one with rows and columns.
        augmentation: Test-time augmentation.
        batch_size: Images the compiled model sees at a time.

    Attributes:
        findings: The findings, in order.
        method: Name of the method.
        layer: Name of the layer; for occlusion "pixels".
        image_px: Height and width of the images that the models take, pixels.
        cautions: Sentences that a reader must see beside a map.

    Raises:
        FileNotFoundError: If the run or its model is not there.
        ValueError: If the finding, the method or the layer is unknown or does not go together, or the models of an
            ensemble take images of several sizes.
    """

    def __init__(
        self,
        run: Run | Ensemble | str | Path,
        *,
        finding: str | Sequence[str] | None = None,
        method: str = "gradcam",
        layer: str | None = None,
        augmentation: TestTimeAugmentation | None = None,
        batch_size: int = 16,
    ) -> None:
        ensemble = run if isinstance(run, Ensemble) else Ensemble.of([run])
        self.findings = findings_wanted(finding, ensemble.targets)
        entry = METHODS.find(method, "method")
        self.batch_size = positive_int(batch_size, "batch_size")
        if entry.formula is None and layer is not None:
            raise ValueError(f"layer={layer!r}: {method} looks at no layer; leave it out.")
        self._weights, self._unit = ensemble.weights, "logit" if entry.signed else "relative"
        self._networks = [_Explained(member, entry, layer, self.findings, augmentation) for member in ensemble.members]
        sizes = sorted({network.image_px for network in self._networks})
        if len(sizes) > 1:
            raise ValueError(
                f"the runs take images of {' and '.join(map(str, sizes))} pixels; heat maps need one size."
            )
        self.method, self.layer, self.image_px = entry.name, self._networks[0].layer, sizes[0]
        self.cautions = (WHAT_IT_IS_NOT, *ensemble.cautions)

    def explain(self, pixels: NDArray[np.float32], names: Sequence[str]) -> Heatmaps:
        """Returns the heat maps of one batch.

        Args:
            pixels: float32 array (n, image_px, image_px, 1), 0-255, n at most the batch size.
            names: What the images are called.
        """
        made = [network.explain(pixels, self.batch_size) for network in self._networks]
        scores = np.average([each[1] for each in made], axis=0, weights=self._weights).astype(np.float32)
        maps = _mean_maps([each[0] for each in made], self._weights)
        return Heatmaps(
            maps, scores, tuple(names), self.findings, self.method, self.layer, self._unit, self.image_px, self.cautions
        )


def findings_wanted(finding: str | Sequence[str] | None, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the findings that heat maps are asked of.

    Args:
        finding: One, or several; None takes all.
        targets: What the run was trained for.

    Raises:
        ValueError: If one is unknown.
    """
    if finding is None:
        return targets
    names = label_names((finding,) if isinstance(finding, str) else tuple(finding))
    unknown = [name for name in names if name not in targets]
    if unknown:
        raise ValueError(f"finding={unknown[0]!r}: the run was trained for {', '.join(targets)}.")
    return names


class _Explained:
    """One run's model, ready to make maps of batches."""

    def __init__(
        self,
        run: Run,
        entry: MapMethod,
        layer: str | None,
        wanted: tuple[str, ...],
        augmentation: TestTimeAugmentation | None,
    ) -> None:
        self.entry, self.versions = entry, augmentation or TestTimeAugmentation()
        self.weights = normalized_weights(self.versions.weights, self.versions.names, "versions of an image")
        # The members of an ensemble may have the same findings in another order.
        self.columns = [run.recipe.targets.index(name) for name in wanted]
        self.network = map_network(run.load_model(), entry, layer)
        self.layer = _PIXELS if entry.formula is None else self.network.layer
        self.image_px = int(self.network.model.input_shape[1])

    def explain(self, pixels: NDArray[np.float32], batch_size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns maps (batch, findings, rows, columns) and scores (batch, findings)."""
        maps, scores = [], np.zeros((len(pixels), len(self.columns)), np.float64)
        for name, weight in zip(self.versions.names, self.weights, strict=True):
            seen = np.ascontiguousarray(self.versions.apply(pixels, name), dtype=np.float32)
            made, scored = maps_of(self.network, self.entry, seen, self.columns, batch_size)
            maps.append(self._moved_back(made, name))
            scores += weight * scored
        return _mean_maps(maps, self.weights), scores.astype(np.float32)

    def _moved_back(self, maps: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        if name == "mirrored":
            return maps[..., ::-1]
        if not name.startswith(_ROTATED):
            return maps
        # Cells are too coarse to be turned: the map is turned at the size of the image.
        angle = self.versions.rotations_degrees[self.versions.names.index(name) - len(self.versions.names)]
        back = TestTimeAugmentation(rotations_degrees=(-angle,))
        flat = maps.reshape(-1, *maps.shape[2:])
        large = np.stack([resized(each, (self.image_px, self.image_px)) for each in flat])[..., np.newaxis]
        turned = back.apply(large, back.names[-1])[..., 0]
        return turned.reshape(*maps.shape[:2], self.image_px, self.image_px)


def map_network(model: keras.Model, entry: MapMethod, layer: str | None = None) -> MapNetwork:
    """Returns a classifier cut where a method needs it.

    Args:
        model: A classifier.
        entry: The method.
        layer: Name of a layer; None takes the last one with rows and columns.

    Raises:
        ValueError: If there is no such layer, or the method does not go with it or with the model's head.
    """
    network = MapNetwork(model, layer)
    if entry.linear_only and not (network.is_linear and network.is_pooled):
        why = "the head has hidden layers" if not network.is_linear else f"the head does not pool {network.layer!r}"
        raise ValueError(
            f"method={entry.name!r} is exact only where the scores are linear in the map, and {why}; use 'hirescam' or "
            "'gradcam', or train with the head 'linear'."
        )
    return network


def maps_of(
    network: MapNetwork, entry: MapMethod, pixels: NDArray[np.float32], columns: list[int], batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the maps and scores of one batch.

    Args:
        network: From `map_network`.
        entry: The method.
        pixels: float32 array (n, height, width, 1), 0-255, n at most `batch_size`.
        columns: The findings wanted, as places among the model's targets.
        batch_size: Images the compiled model sees at a time.

    Returns:
        float32 arrays (n, findings, rows, columns) and (n, findings).
    """
    if entry.formula is None:
        return _occluded(network.model, pixels, columns, batch_size)
    seen = network.outputs(pixels, batch_size)
    found = network.gradients(seen, columns)
    maps = np.stack([entry.formula(seen.features, gradient) for gradient in found], axis=1)
    return maps.astype(np.float32), seen.scores[:, columns]


def probabilities(model: keras.Model, images: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    """Returns a model's scores of any number of images.

    Args:
        model: A classifier.
        images: float32 array (n, height, width, 1), 0-255.
        batch_size: Images the compiled model sees at a time.

    Returns:
        float32 array (n, n_targets).
    """
    parts = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    return np.concatenate([predict_padded(model, part, batch_size)[0] for part in parts])


def _occluded(
    model: keras.Model, pixels: NDArray[np.float32], columns: list[int], batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    def score(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return probabilities(model, images, batch_size)[:, columns]

    maps = np.stack([occlusion_maps(image, score) for image in pixels])
    return maps, score(pixels)


def _mean_maps(maps: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Returns the weighted mean of maps (batch, findings, rows, columns), at the largest of their sizes."""
    if len(maps) == 1:
        return maps[0]
    rows, columns = (max(each.shape[axis] for each in maps) for axis in (2, 3))
    total = np.zeros((*maps[0].shape[:2], rows, columns), np.float64)
    for each, weight in zip(maps, weights, strict=True):
        flat = each.reshape(-1, *each.shape[2:])
        total += weight * np.stack([resized(one, (rows, columns)) for one in flat]).reshape(total.shape)
    return total.astype(np.float32)


Batches = Generator[tuple[NDArray[np.float32], list[str]], None, None]


class _Source(NamedTuple):
    """Batches of pixels with the images' names, how many, and why files were refused (filled as they are read)."""

    batches: Batches
    steps: int
    refused: list[str]


def _source(
    images: pd.DataFrame | Sequence[str | Path],
    size: int,
    batch_size: int,
    store: "Store | None",
    profile: "str | Profile",
    read_options: ReadOptions,
) -> _Source:
    if isinstance(images, pd.DataFrame):
        table = ImageTable.of(images)
        if store is not None:
            store.require_size(size)
        return _Source(_of_table(table, size, batch_size, store), -(-len(table) // batch_size), [])
    if isinstance(images, (str, Path)):
        raise TypeError(f"images={str(images)!r} is one path; give a list of files, or an image table.")
    if store is not None:
        raise ValueError("a store holds the images of a table; give the table instead of files.")
    paths = [as_path(path) for path in images]
    refused: list[str] = []
    return _Source(
        _of_files(paths, size, batch_size, profile, read_options, refused), -(-len(paths) // batch_size), refused
    )


def _of_table(table: ImageTable, size: int, batch_size: int, store: "Store | None") -> Batches:
    for pixels, ids in images_with_ids(table, image_size=size, batch_size=batch_size, store=store):
        yield np.asarray(pixels), [name.decode() for name in ids.numpy()]


def _of_files(
    paths: list[Path],
    size: int,
    batch_size: int,
    profile: "str | Profile",
    read_options: ReadOptions,
    refused: list[str],
) -> Batches:
    # Two files of one name in two folders are told apart by the folder.
    alike = len({path.name for path in paths}) < len(paths)
    waiting: list[NDArray[np.float32]] = []
    names: list[str] = []
    with contextlib.closing(accepted(paths, size, profile, read_options, refused, ahead=2 * batch_size)) as files:
        for file in files:
            waiting.append(file.pixels)
            names.append(str(file.path) if alike else file.path.name)
            if len(waiting) == batch_size:
                yield np.stack(waiting), names
                waiting, names = [], []
    if waiting:
        yield np.stack(waiting), names


class AcceptedFile(NamedTuple):
    """A file that the gate accepted.

    Attributes:
        path: The file.
        image: What was read of it, as it is shown: turned upright where it was stored otherwise.
        pixels: float32 array (side, side, 1), 0-255, as the model takes it.
    """

    path: Path
    image: Radiograph
    pixels: NDArray[np.float32]


def accepted(
    paths: Sequence[Path],
    size: int,
    profile: "str | Profile",
    read_options: ReadOptions,
    refused: list[str],
    *,
    ahead: int,
) -> Generator[AcceptedFile, None, None]:
    """Yields the files that the gate accepts, in order.

    Args:
        paths: Files.
        size: Height and width of the images that the model takes, pixels.
        profile: The gate's profile.
        read_options: How many worker processes read, and their limits.
        refused: Receives the code of each file that is refused.
        ahead: Files that are read before they are asked for.
    """
    with contextlib.closing(read_files(paths, profile, read_options, ahead=ahead)) as results:
        for result in results:
            if result.image is None:
                refused.append(result.code)
                continue
            pixels = to_model_pixels(result.image.pixels[..., np.newaxis], size).numpy()
            yield AcceptedFile(cast("Path", result.path), result.image, pixels.astype(np.float32))


def left_out(refused: Iterable[str]) -> tuple[str, ...]:
    """Returns a sentence on files that were refused; none where there were none.

    Args:
        refused: The code of each.
    """
    codes = pd.Series(list(refused), dtype=str).value_counts()
    if codes.empty:
        return ()
    listed = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
    return (f"{int(codes.sum())} file(s) were refused and have no heat map: {listed}.",)
