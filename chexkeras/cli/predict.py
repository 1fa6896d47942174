"""``chexkeras predict``."""

import contextlib
import dataclasses
import math
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chexkeras.cli.app import (
    Address,
    Executor,
    Profile,
    app,
    command_line,
    errors_for_people,
    fail,
    leave,
    place_at,
    starting_tensorflow,
    tell,
)
from chexkeras.cli.archive import archive_of, films_of, owner_s_folder, store_objects
from chexkeras.cli.destination import check_place

if TYPE_CHECKING:
    import pandas as pd

    from chexkeras.delivery.dicom_output import DicomOutput
    from chexkeras.dicom.profiles import Profile as GateProfile
    from chexkeras.runs.run import Run
    from chexkeras.storage import Place

_REFUSED = 3


@app.command()
@errors_for_people
def predict(
    run: Annotated[Path, typer.Option(help="Run folder whose model and threshold are used.")],
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with DICOM, PNG or JPEG files, told apart by content; also an address such as "
            "s3://bucket/films (extra remote)."
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Where to write; the ending says how: .csv has one row a file and finding, .jsonl one line a file. "
            "Also an address such as s3://bucket/results.csv (extra remote)."
        ),
    ] = Path("results.csv"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what an interrupted or earlier run into --out did; score the rest.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Leave out of --out what it holds on files that are not in FOLDER (otherwise an error), and, without "
            "--resume, discard what an interrupted run did.",
        ),
    ] = False,
    profile: Profile = "clinical",
    unlike: Annotated[
        str,
        typer.Option(
            help="What becomes of an image unlike the training images, where the run can tell: 'profile' does as the "
            "profile says (a warning), 'reject' refuses it, 'warn' scores it with a warning, 'off' says nothing."
        ),
    ] = "profile",
    names: Annotated[
        str,
        typer.Option(help="How files are named: 'path', or 'hashed' under the key in CHEXKERAS_HASH_KEY."),
    ] = "path",
    engine: Annotated[
        str, typer.Option(help="What computes the scores: 'keras', 'openvino' or 'onnx' (extras of these names).")
    ] = "keras",
    precision: Annotated[
        str, typer.Option(help="'float32', or 'bf16' with OpenVINO: faster, its difference from Keras is shown.")
    ] = "float32",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read files; 0 reads in this one, unprotected. Default: half the cores, 2 to 8. With "
            "--executor ray: processors of the cluster that read and score; default: all."
        ),
    ] = None,
    memory: Annotated[float, typer.Option(help="Memory that a file may take in a worker, GiB (Linux).")] = 2.0,
    timeout: Annotated[float, typer.Option(help="Time that a file may take to be read, seconds.")] = 60.0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the results with the run too, for its report.")] = False,
    heatmaps: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a PNG of every scored file with its heat map, a new one; only heat maps that 'chexkeras "
            "explain' found to depend on the model are drawn. --overwrite replaces earlier ones."
        ),
    ] = None,
    heatmap_finding: Annotated[
        list[str] | None, typer.Option(help="Finding to draw, again for others; default: the one that was checked.")
    ] = None,
    heatmap_method: Annotated[
        str | None, typer.Option(help="Method of the heat maps; default: the one that was checked.")
    ] = None,
    unchecked_heatmaps: Annotated[
        bool, typer.Option("--unchecked-heatmaps", help="Draw heat maps that were not checked; each image says so.")
    ] = False,
    dicom_out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results as DICOM objects, a new one. They carry the films' patient and study "
            "identifiers and are readable by you alone (extra dicom-out). --overwrite replaces earlier ones, --resume "
            "goes on."
        ),
    ] = None,
    kinds: Annotated[
        str,
        typer.Option(
            help="DICOM objects to write: 'sr' structured report, 'sc' secondary capture, 'pr' presentation state."
        ),
    ] = "sr,sc,pr",
    worklist: Annotated[
        list[Path] | None,
        typer.Option(
            help="File for the order in which films are worth reading, again for others: .csv names nobody; .hl7 and "
            ".json (FHIR) name patients and are readable by you alone. See 'chexkeras worklist'."
        ),
    ] = None,
    dicomweb: Annotated[
        str | None,
        typer.Option(
            help="Score films of an archive instead of a folder: the address of its DICOMweb service, such as "
            "https://pacs.example.org/dicom-web (extra dicomweb). Credentials come from CHEXKERAS_DICOMWEB_USER and "
            "CHEXKERAS_DICOMWEB_PASSWORD, from CHEXKERAS_DICOMWEB_TOKEN or from .netrc."
        ),
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option(help="With --dicomweb: a study to fetch, by its UID; again for others.")
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(help="With --dicomweb: all CR and DX studies of a day, YYYYMMDD, or of days, FROM-TO."),
    ] = None,
    store_results: Annotated[
        bool,
        typer.Option("--store-results", help="With --dicomweb: store the results in the archive as DICOM objects."),
    ] = False,
    dicomweb_ca: Annotated[
        Path | None,
        typer.Option(help="With --dicomweb: certificates of who signed the server's, PEM; default: well-known ones."),
    ] = None,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="With --dicomweb: go unencrypted to another machine, too.")
    ] = False,
    most_films: Annotated[int, typer.Option(help="With --dicomweb: most films that are fetched.")] = 1_000,
    executor: Executor = "processes",
    address: Address = None,
) -> None:
    """Scores a folder, or films of an archive: a decision or a reasoned refusal for every file.

    Exit status: 0 if every file was scored, 3 if any was refused, 2 for a mistake in the call, 130 if interrupted, 143
    if the system ended it (SIGTERM).
    """
    from chexkeras.checks import one_of
    from chexkeras.dicom.profiles import find_profile
    from chexkeras.dicom.rules import OFF, REJECT, UNLIKE, WARN
    from chexkeras.dicom.workers.options import ReadOptions
    from chexkeras.files import typed_place
    from chexkeras.inference.results_file import FORMATS
    from chexkeras.inference.score_folder import score_folder
    from chexkeras.parallel import WorkersUnavailable
    from chexkeras.runs.run import Run
    from chexkeras.storage import NotUploaded, Remote

    archive = archive_of(
        dicomweb, folder, study or [], date,
        authorities=dicomweb_ca, allow_http=allow_http, films=most_films, stores=store_results,
    )  # fmt: skip
    drawn = {"--heatmaps": heatmaps, "--dicom-out": dicom_out}
    unread = [option for option, place in drawn.items() if place is not None]
    if folder is not None and unread and isinstance(typed_place(folder, "FOLDER"), Remote):
        raise ValueError(
            f"{unread[0]} is made of files of this machine; copy the folder here, or leave {unread[0]} out."
        )
    own = {suffix: form.is_own for suffix, form in FORMATS.items()}
    written = check_place(out, "--out", own, [suffix for suffix, form in FORMATS.items() if form.is_folder])
    lists: list[Place] = []
    if worklist:
        from chexkeras.cli.delivery.worklist import check_outputs, tell_worklist

        lists = check_outputs(worklist, folder, "--worklist", (out,), fetched=archive is not None)
    for limit, option in ((memory, "--memory"), (timeout, "--timeout")):
        if not 0.0 < limit < math.inf:
            raise ValueError(f"{option} {limit:g} must be a number above 0.")
    judged_by: str | GateProfile = profile
    if one_of(unlike, ("profile", REJECT, WARN, OFF), "--unlike") != "profile":
        chosen = find_profile(profile)
        others = tuple(entry for entry in chosen.overrides if entry[0] != UNLIKE)
        judged_by = dataclasses.replace(
            chosen, name=f"{chosen.name}, {UNLIKE} {unlike}", overrides=(*others, (UNLIKE, unlike))
        )
    place = place_at(executor, address)
    loaded, read_options = Run.load(run), ReadOptions(workers, int(memory * 2**30), timeout)
    loaded.check_model()
    asked: dict[str, Any] = {
        "finding": heatmap_finding or None, "method": heatmap_method, "unchecked": unchecked_heatmaps,
    }  # fmt: skip
    can_draw = heatmaps is not None and _can_draw(loaded, heatmaps, folder, overwrite, asked)
    if keep and can_draw and (unchecked_heatmaps or loaded.heatmaps is None):
        raise ValueError(
            "--keep tells the run's report that heat maps are part of the output, and a report speaks of checked ones "
            "only: run 'chexkeras explain' first and leave out --unchecked-heatmaps, or leave out --keep."
        )
    if dicom_out is not None:
        from chexkeras.delivery.dicom_output import objects_folder

        objects_folder(dicom_out, folder, replaces=resume or overwrite, name="--dicom-out")
    output = _object_writer(loaded, kinds, judged_by) if dicom_out is not None or store_results else None
    with contextlib.ExitStack() as open_until_done:
        folder = open_until_done.enter_context(films_of(folder, archive, study or [], date, resume=resume))
        starting_tensorflow()
        start = perf_counter()
        try:
            results = score_folder(
                loaded,
                folder,
                judged_by,
                keep=keep,
                out=str(written),
                resume=resume,
                overwrite=overwrite,
                names=names,
                read_options=read_options,
                engine=engine,
                precision=precision,
                executor=place,
            )
        except KeyboardInterrupt as interruption:
            kept = _kept(written)
            leave(interruption, kept or "nothing done", _going_on() if kept else "")
        except (WorkersUnavailable, OSError) as error:
            # An error of the system, in the middle of the work; one that we found before it has no number.
            is_late = isinstance(error, (WorkersUnavailable, NotUploaded)) or error.errno is not None
            kept = _kept(written) if is_late else ""
            fail(error, kept, _going_on() if kept else "")
        for caution in loaded.cautions:
            tell(f"Caution: {caution}")
        refused = _show_results(results)
        tell(f"done in {perf_counter() - start:.1f} s; written: {written}")
        if lists:
            from chexkeras.delivery.worklist.write import write_worklist
            from chexkeras.inference.results_file import records_of

            for path in lists:
                entries = write_worklist(loaded, records_of(results), str(path), films=folder, names=names)
            tell_worklist(Counter(entry.group for entry in entries), lists)
        if heatmaps is not None and can_draw and (results["verdict"] != "reject").any():
            from chexkeras.plots import save_heatmaps

            table = save_heatmaps(
                loaded, folder, heatmaps, results=results, names=names, profile=judged_by, read_options=read_options,
                overwrite=overwrite, **asked,
            )  # fmt: skip
            tell(f"heat maps of {table['image'].nunique()} files: {heatmaps}")
        if output is not None:
            from chexkeras.delivery.dicom_output import write_objects

            objects = dicom_out or Path(open_until_done.enter_context(owner_s_folder())) / "objects"
            try:
                with output:
                    count = write_objects(
                        output, folder, objects, results, names=names, resume=resume, overwrite=overwrite
                    )
            except KeyboardInterrupt as interruption:
                kept = (
                    "the results, and the objects that were written, are kept" if dicom_out else "the results are kept"
                )
                leave(interruption, kept, _going_on())
            if dicom_out is not None:
                tell(f"{count} DICOM objects, with identifiers of patients: {dicom_out}")
            if archive is not None and store_results:
                store_objects(archive, objects)
    if keep:
        from chexkeras.explanation.of_files import note_output

        note_output(loaded, drawn=can_draw)
    if refused:
        raise typer.Exit(_REFUSED)


def _can_draw(run: "Run", heatmaps: Path, folder: Path | None, overwrite: bool, asked: dict[str, Any]) -> bool:
    """Returns whether heat maps will be drawn, and says why if none are; before anything is scored."""
    from chexkeras.explanation.of_files import drawable_maps
    from chexkeras.plots.explanation.scored_files import heatmaps_folder

    heatmaps_folder(heatmaps, folder, overwrite=overwrite, name="--heatmaps")
    reason = drawable_maps(run, **asked).reason
    if reason:
        tell(f"--heatmaps: {reason}")
    return not reason


def _object_writer(run: "Run", kinds: str, profile: "str | GateProfile") -> "DicomOutput":
    """Returns what makes DICOM objects, once it is sure that they can be made; before anything is fetched or scored."""
    from chexkeras.delivery.dicom_output import DicomOutput

    return DicomOutput(run, tuple(kind.strip() for kind in kinds.split(",")), profile=profile)


def _show_results(results: "pd.DataFrame") -> int:
    """Prints how many files were accepted and refused, why, and what was decided; returns how many were refused."""
    per_file = results.drop_duplicates("file")
    refused = per_file[per_file["verdict"] == "reject"]
    warned = int((per_file["verdict"] == "warn").sum())
    tell(f"{len(per_file) - len(refused)} accepted ({warned} with a warning), {len(refused)} refused")
    for code, count in refused["code"].value_counts().items():
        tell(f"  refused {count:5}  {code}")
    if per_file["novelty_threshold"].notna().any():
        flagged = int((per_file["novelty"] > per_file["novelty_threshold"]).sum())
        tell(f"  {flagged} unlike the training images")
    elif len(per_file) > len(refused):
        tell("  whether images are like the training images: not measured in this run")
    scored = results[results["verdict"] != "reject"]
    for finding, rows in scored.groupby("finding", sort=False):
        positive = int((rows["decision"] == "positive").sum())
        threshold = rows["threshold"].iloc[0]
        uncertain = int((rows["decision"] == "uncertain").sum())
        left_open = f", {uncertain} uncertain" if uncertain else ""
        negative = len(rows) - positive - uncertain
        tell(f"  {finding}: {positive} positive, {negative} negative{left_open} at the threshold {threshold:.3g}")
    return len(refused)


def _kept(out: "Place") -> str:
    """Returns what an unfinished run into a file has left; empty if it left nothing."""
    from chexkeras.inference.results_file import Journal

    done = len(Journal(out).read())
    return f"the results of {done} files are kept" if done else ""


def _going_on() -> str:
    return command_line(adding=("--resume",))
