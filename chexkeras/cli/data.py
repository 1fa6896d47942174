"""``chexkeras datasets``, ``audit`` and ``prepare``: what can be read, looking images over, decoding them once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chexkeras import storage
from chexkeras.checks import one_of
from chexkeras.cli.app import (
    Address,
    Executor,
    Profile,
    Workers,
    app,
    command_line,
    errors_for_people,
    leave,
    place_at,
    tell,
)
from chexkeras.cli.destination import check_place, object_with
from chexkeras.cli.image_options import Load, Missing, Root, with_image_options
from chexkeras.storage import Remote


@app.command()
@errors_for_people
def datasets(
    name: Annotated[str | None, typer.Argument(help="One of them, to show what its findings mean here.")] = None,
) -> None:
    """Lists the data sets that are read: size, terms, where to get them, and which of NIH's findings they label."""
    from chexkeras import plain
    from chexkeras.data.datasets.overview import list_data_sets, list_findings

    if name is None:
        for entry in list_data_sets().to_dict("records"):
            tell(f"{entry['name']}: {entry['size']}")
            told = {
                "images of": entry["images_of"],
                "layouts": entry["layouts"],
                "labels": entry["labels"],
                "terms": entry["license"],
                "get it": entry["page"],
                "cite": entry["citation"],
            }
            for what, text in told.items():
                if text:
                    tell(plain.wrapped(f"{what}: {text}", "  ", "    "))
        return
    found = list_findings(name)
    columns = {"its name": "name", "here": "here", "NIH's labels": "nih", "why not NIH's": "why"}
    tell(plain.table({shown: found[column].tolist() for shown, column in columns.items()}))


@app.command()
@errors_for_people
@with_image_options
def audit(
    load: Load,
    root: Root,
    finding: Annotated[
        list[str] | None,
        typer.Option(help="Finding whose shortcuts are measured, by default every common one; repeat for several."),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="Saved split (.csv) to check for patients and copies.")] = None,
    pixels: Annotated[
        bool, typer.Option("--pixels/--no-pixels", help="Open every image, or check labels alone.")
    ] = True,
    corrections: Annotated[
        Path | None, typer.Option(help="CSV of labels corrected by hand, which are applied before labels are audited.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file to write the full audit to; also s3://bucket/audit.json.")
    ] = None,
    workers: Workers = None,
    executor: Executor = "processes",
    address: Address = None,
) -> None:
    """Looks images over: unusable, equal and odd ones, labels, patients, and shortcuts that a model may learn."""
    from chexkeras import files
    from chexkeras.data.audit.audit import audit as audit_images
    from chexkeras.data.splits.splits import Splits

    written = None if out is None else check_place(out, "--out", {".json": object_with("issues", "decoded")})
    place = place_at(executor, address)
    # A split belongs to the images that were there when it was made.
    table = load(root, missing="skip" if split else "keep")
    if corrections is not None:
        from chexkeras.data.corrections import apply_corrections

        corrected = apply_corrections(table, corrections)
        tell(f"Caution: {corrected.source.cautions[-1]}")
        table = corrected
    splits = Splits.load(split, table) if split else None
    checked = audit_images(
        table, splits, targets=finding, decode=pixels, missing="skip", processes=workers, executor=place
    )
    tell(checked.summary)
    if written is not None:
        tell(f"written: {files.write_json(written, checked.to_dict())}")


@app.command()
@errors_for_people
@with_image_options
def prepare(
    load: Load,
    root: Root,
    store: Annotated[
        Path,
        typer.Option(
            help="Folder of the store: a new one, or one to go on with; also an address such as "
            "s3://bucket/images.store (extra remote)."
        ),
    ],
    size: Annotated[int, typer.Option(help="Height and width to store, pixels: the recipe's image_size.")] = 224,
    missing: Missing = "error",
    profile: Profile = "clinical",
    part: Annotated[
        str | None,
        typer.Option(
            help="With a store in an object store: decode this part of the images, such as 1/4, beside other machines "
            "that do the rest; the last one to be ready makes the store whole."
        ),
    ] = None,
    workers: Workers = None,
    executor: Executor = "processes",
    address: Address = None,
) -> None:
    """Decodes every image once, for 'chexkeras train --store'; started again, it goes on where it stopped."""
    from chexkeras.data.image_table import source_of
    from chexkeras.data.store.prepare import prepare as prepare_store
    from chexkeras.data.store.prepare import prepare_part
    from chexkeras.files import typed_place

    one_of(missing, ("error", "skip"), "--missing")
    place, to = place_at(executor, address), typed_place(store, "--store")
    numbers = None if part is None else _part(part)
    if isinstance(to, Remote):
        # The list of images takes its time.
        storage.check_writable(to / "manifest.json", "--store")
    table = load(root, missing=missing)
    options: dict[str, Any] = {
        "size": size, "missing": missing, "profile": profile, "workers": workers, "executor": place,
    }  # fmt: skip
    try:
        if numbers is not None:
            is_whole = prepare_part(table, str(to), numbers, **options)
            tell(f"store: {to}" if is_whole else f"part {part} is in {to}; other parts are to come")
            return
        made = prepare_store(table, str(to), **options)
    except KeyboardInterrupt as interruption:
        is_there = isinstance(to, Remote) or to.is_dir()
        kept = "what was decoded is kept" if is_there else "nothing done"
        leave(interruption, kept, command_line() if is_there else "")
    if source_of(table).left_out:
        tell(f"{len(source_of(table).left_out):,} rows of the table have no image and are not in the store")
    for image_id, code in made.left_out.items():
        tell(f"left out: {image_id} ({code})")
    tell(f"store: {to}")
    if isinstance(to, Remote):
        tell(f"copy on this machine, from which it is read here: {made.folder}")


def _part(text: str) -> tuple[int, int]:
    """Returns the numbers in a text such as "1/4"."""
    number, _, parts = text.partition("/")
    if not (number.isascii() and number.isdigit() and parts.isascii() and parts.isdigit() and len(text) < 20):
        raise ValueError(f"--part {text!r} is no part; write which one and of how many, such as 1/4.")
    return int(number), int(parts)
