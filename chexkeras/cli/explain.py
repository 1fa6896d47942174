"""``chexkeras explain``: heat maps of a run's test images, checked, and compared with boxes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.checks import one_of, typed_path
from chexkeras.cli.app import RunFolder, app, errors_for_people, starting_tensorflow, tell
from chexkeras.cli.image_options import ROOT, Load, with_image_options

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.explanation.study import StudiedMaps

_STUDY, _PEAKS, _AGREEMENT = "heatmaps.json", "peaks.csv", "boxes.csv"


@app.command()
@errors_for_people
@with_image_options
def explain(
    load: Load,
    run: RunFolder,
    data: Annotated[Path, typer.Option("--data", help=ROOT)],
    out: Annotated[Path, typer.Option(help="Folder for figures and tables, a new one or an earlier one's.")],
    finding: Annotated[
        str | None, typer.Option(help="Which of the run's findings; needed where it has several.")
    ] = None,
    method: Annotated[str, typer.Option(help="'gradcam', 'gradcam++', 'hirescam' or 'cam'.")] = "gradcam",
    layer: Annotated[
        str | None, typer.Option(help="Layer to map; default: the last one with rows and columns.")
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="Boxes as NIH, RSNA's challenge, VinDr-CXR or CheXlocalize publish them; default: BBox_List_2017.csv "
            "in the folder of --data, if it is there."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Store of 'chexkeras prepare', or its address; the images are then not opened."),
    ] = None,
    sample: Annotated[int, typer.Option(min=10, help="About how many test images without a box to look at.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the result with the run, for its report.")
    ] = True,
    keep_images: Annotated[
        bool | None,
        typer.Option(
            "--keep-images/--no-keep-images",
            help="Keep small copies of the gallery's images with the run for its report; default: synthetic ones only.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what the run and the folder hold.")] = False,
) -> None:
    """Shows where a run looks: heat maps of test images, whether they depend on the model, and how they meet boxes.

    Writes figures of images drawn at random, the peaks of all maps, and the comparison with boxes.
    """
    from chexkeras import files
    from chexkeras.data.datasets.boxes import load_boxes
    from chexkeras.data.datasets.nih import BOX_FILE
    from chexkeras.data.store.store import Store
    from chexkeras.explanation.methods import METHODS
    from chexkeras.runs.analysis import one_finding
    from chexkeras.runs.run import HEATMAPS, Run
    from chexkeras.runs.writer import refuse_second

    loaded, opened = Run.load(run), Store.load(store) if store is not None else None
    one_of(method, METHODS, "--method")
    one_finding(loaded, finding, "--finding")
    if keep:
        refuse_second(loaded, HEATMAPS, overwrite)
    folder = files.output_folder(typed_path(out, "--out"), "--out", _STUDY, "heat maps", overwrite=overwrite)
    loaded.check_model()
    root = typed_path(data, "--data")
    beside = (root if root.is_dir() else root.parent) / BOX_FILE
    table = load(data, missing="keep")
    drawn = None
    if boxes is not None:
        drawn = load_boxes(boxes, table=table, findings=loaded.recipe.targets)
    elif beside.is_file():
        drawn = load_boxes(beside, kind="nih")
    starting_tensorflow()
    from chexkeras.explanation.study import study_heatmaps

    made = study_heatmaps(
        loaded,
        table,
        finding=finding,
        method=method,
        layer=layer,
        boxes=drawn,
        store=opened,
        images=sample,
        seed=seed,
        keep=keep,
        keep_images=keep_images,
        overwrite=overwrite,
    )
    for caution in made.study.cautions:
        tell(f"Caution: {caution}")
    tell(made.study)
    _write(made, drawn, folder)
    tell(f"written: {out}")


def _write(made: "StudiedMaps", boxes: "pd.DataFrame | None", folder: Path) -> None:
    from chexkeras import files
    from chexkeras.plots import heatmap, heatmap_gallery, style

    folder.mkdir(parents=True, exist_ok=True)
    study, maps = made.study, made.maps
    px = float(boxes.attrs["image_px"]) if boxes is not None else None
    files.write_csv(folder / _PEAKS, maps.marks(study.finding, image_px=px))
    if study.localization is not None:
        files.write_csv(folder / _AGREEMENT, study.localization.numbers())
    shown = [entry["image_id"] for entry in study.examples]
    rows = made.table.set_index("image_id", drop=False).loc[shown]
    has_files = "path" in rows and all(Path(path).is_file() for path in rows["path"].astype(str))
    if shown and has_files:
        titles = [_title(entry) for entry in study.examples]
        drawn, (ax,) = style.figure(width=10.4, height=2.95 * -(-len(shown) // 4) + 1.2)
        heatmap_gallery(maps, rows, finding=study.finding, boxes=boxes, titles=titles, threshold=study.threshold, ax=ax)
        style.save(drawn, folder / "gallery.png")
        for image, path in zip(shown, rows["path"], strict=True):
            drawn, (ax,) = style.figure(width=6.4, height=6.2)
            heatmap(maps, image, str(path), finding=study.finding, boxes=boxes, ax=ax)
            style.save(drawn, folder / f"{Path(image).stem}.png")
    elif shown:
        tell("no figures: the images themselves are not on disk.")
    # Last: a folder with it is whole.
    files.write_json(folder / _STUDY, study.to_dict())


def _title(entry: dict[str, Any]) -> str:
    hit = {True: ", box hit", False: ", box missed"}.get(entry["hit"], "")
    return f"{entry['outcome']}{hit}"
