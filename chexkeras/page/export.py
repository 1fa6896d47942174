"""Writes what Hugging Face expects: a Space that serves the page of a run, or a repository of its model.

Nothing is uploaded. What is written names no patient and no image: of a run go the model, its thresholds and results.
"""

import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import chexkeras
from chexkeras import files
from chexkeras.arguments import checked
from chexkeras.checks import typed_path
from chexkeras.page.document import FILE, PageDocument, anonymous
from chexkeras.page.serve import report_pages
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.model_card import card_text
from chexkeras.report.submission import open_run, read_answers
from chexkeras.results import Estimate
from chexkeras.runs.run import MODEL, NOVELTY, Run

PORT = 7860
"""The port at which Hugging Face looks for a Space."""

_OF_THE_RUN = ("recipe.json", "provenance.json", "operating_points.json", "evaluation.json")
_WHERE_KEPT = (NOVELTY, "recalibration.json")
_MARKER = ".chexkeras-export"
_DISCLAIMER = "Not a medical device. For study and research; no decision about a person may rest on it."

_FORGOTTEN = (
    "A film that is uploaded is read in memory, answered and forgotten. Never upload a film of a person to a Space: it "
    "is a computer of somebody else."
)

_APP = '''"""Serves the page of the run that lies beside this file. Not a medical device."""

from pathlib import Path

from chexkeras.page.serve import make_page

if __name__ == "__main__":
    # A Space is reached from outside, and shown in a frame by huggingface.co.
    make_page(
        Path(__file__).parent / "run",
        host="0.0.0.0",
        port={port},
        is_open=True,
        frames="https://huggingface.co",
    ).run()
'''

_DOCKERFILE = """FROM python:{python}-slim
RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH TF_CPP_MIN_LOG_LEVEL=3
COPY --chown=user requirements.txt .
RUN pip install --no-cache-dir --user --requirement requirements.txt
COPY --chown=user . .
EXPOSE {port}
CMD ["python", "app.py"]
"""
_USE = """
## How to use it

```python
import json

import keras
import numpy as np

model = keras.saving.load_model("model.keras")
height, width = model.input_shape[1:3]
# Gray pixels as a viewer shows them, 0 black to 255 white, averaged to the model's size; no other preprocessing.
film = np.zeros((1, height, width, 1), np.float32)
scores = model.predict(film)[0]
for point, score in zip(json.load(open("operating_points.json")), scores):
    print(point["finding"], float(score), "positive" if score >= point["threshold"] else "negative")
```

DICOM files are read, checked and scored as in the tests above with chexkeras (`cx.Predictor`). Do not use any of it to
decide about a person.
"""


@checked
def export_space(
    run: Run | str | Path, out: str | Path, *, license_name: str = "other", overwrite: bool = False
) -> Path:
    """Writes the folder of a Hugging Face Space that serves the page of a run.

    The Space runs in a container (`sdk: docker`): app.py, Dockerfile, requirements.txt with the versions installed
    here, README.md with the Space's metadata, this version of chexkeras, and of the run its model, thresholds, results,
    report and model card. Scores of single images, the image table and the split stay at home; test labels and calls
    go, in another order and with patients numbered anew.

    Args:
        run: The run or its folder.
        out: Folder to write, a new one or an earlier export.
        license_name: Licence for the Space's metadata, as Hugging Face names it.
        overwrite: Whether an earlier export may be replaced.

    Returns:
        The folder.

    Raises:
        FileExistsError: If an earlier export is there and `overwrite` is not given.
        FileNotFoundError: If the run lacks a file.
        ValueError: If the folder holds something else or lies in a run, or a file of the run is damaged.
    """
    loaded, folder = _open(run), _free(out, overwrite)
    document, pages = anonymous(PageDocument.of(loaded)), report_pages(loaded)
    with files.replacing_folder(folder) as made:
        made.mkdir(exist_ok=True)
        _copy_run(loaded, made / "run")
        document.save(made / "run" / FILE)
        for name, text in pages.items():
            files.write_text(made / "run" / f"{name}.html", text)
        source = Path(chexkeras.__file__).parent
        shutil.copytree(source, made / "chexkeras", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        files.write_text(made / "app.py", _APP.format(port=PORT))
        files.write_text(made / "Dockerfile", _DOCKERFILE.format(port=PORT, python=_python()))
        files.write_text(made / "requirements.txt", "\n".join(_requirements()) + "\n")
        files.write_text(made / "README.md", _space_readme(document, license_name))
        files.write_text(made / _MARKER, "space\n")
    return folder


@checked
def export_hub(run: Run | str | Path, out: str | Path, *, license_name: str = "other", overwrite: bool = False) -> Path:
    """Writes the folder of a Hugging Face model repository.

    README.md is the run's model card with the metadata that the Hub reads, every test metric with its interval and n;
    beside it model.keras, which `keras.saving.load_model` reads without chexkeras, the frozen thresholds, the test
    results and the recipe.

    Args:
        run: The run or its folder.
        out: Folder to write, a new one or an earlier export.
        license_name: Licence for the metadata, as Hugging Face names it.
        overwrite: Whether an earlier export may be replaced.

    Returns:
        The folder.

    Raises:
        FileExistsError: If an earlier export is there and `overwrite` is not given.
        FileNotFoundError: If the run lacks a file.
        ValueError: If the folder holds something else or lies in a run, or a file of the run is damaged.
    """
    loaded, folder = _open(run), _free(out, overwrite)
    card = card_text(collect_facts(open_run(loaded), answers=read_answers(None)))
    document = PageDocument.of(loaded)
    with files.replacing_folder(folder) as made:
        made.mkdir(exist_ok=True)
        _copy_run(loaded, made)
        files.write_text(made / "README.md", _front(_hub_metadata(document, license_name)) + card + _USE)
        files.write_text(made / _MARKER, "hub\n")
    return folder


def _open(run: Run | str | Path) -> Run:
    loaded = run if isinstance(run, Run) else Run.load(run)
    loaded.check_model()
    return loaded


def _free(out: str | Path, overwrite: bool) -> Path:
    folder = typed_path(out, "out")
    inside = [parent for parent in folder.resolve().parents if (parent / "recipe.json").is_file()]
    if inside:
        raise ValueError(f"{str(folder)!r} lies in the run folder {inside[0].name!r}; choose a place outside it.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / _MARKER).is_file():
            raise ValueError(f"{str(folder)!r} holds something else than an export; name a new folder.")
        if not overwrite:
            raise FileExistsError(f"{str(folder)!r} holds an earlier export; overwrite=True (--overwrite) replaces it.")
    return folder


def _copy_run(run: Run, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    kept = [name for name in _WHERE_KEPT if (run.folder / name).is_file()]
    for name in (MODEL, *_OF_THE_RUN, *kept):
        shutil.copyfile(run.folder / name, folder / name)


def _python() -> str:
    """Returns the version of Python for which the versions below are known to install."""
    return ".".join(platform.python_version_tuple()[:2])


def _requirements() -> list[str]:
    """Returns what chexkeras and its page need, with the versions installed here."""
    needed = [name.split(";")[0] for name in importlib.metadata.requires("chexkeras") or () if "extra ==" not in name]
    names = [name for entry in needed if (name := _name(entry))]
    found = []
    for name in dict.fromkeys([*names, "uvicorn", "h11"]):
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(name)
    return found


def _name(requirement: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else " " for letter in requirement).split()[0]


def _space_readme(document: PageDocument, license_name: str) -> str:
    metadata = {
        "title": f"{document.name}: chest films",
        "emoji": "\N{STETHOSCOPE}",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "docker",
        "app_port": PORT,
        "pinned": False,
        "license": license_name,
        "short_description": "Research only: a chest film in, a score out",
        "tags": ["chest-x-ray", "keras", "medical-imaging"],
    }
    lines = [f"# {document.name}", "", f"**{_DISCLAIMER}**", ""]
    lines += [f"> **Caution.** {_line(caution)}\n>" for caution in document.cautions]
    lines += ["", _FORGOTTEN, ""]
    return _front(metadata) + "\n".join(lines)


def _hub_metadata(document: PageDocument, license_name: str) -> dict[str, Any]:
    metrics = []
    for entry in document.evaluation.findings:
        for kind, name, estimate in (
            ("roc_auc", "AUROC", entry.auroc),
            ("recall", "sensitivity", entry.sensitivity),
            ("specificity", "specificity", entry.specificity),
        ):
            if estimate.estimable:
                metrics.append(_metric(kind, f"{name}, {entry.finding}", estimate))
    dataset = {
        "type": "other", "name": str(document.facts.get("Data", "")), "split": document.evaluation.split,
        "args": {"synthetic": document.synthetic, "cautions": list(document.cautions)},
    }  # fmt: skip
    results = [
        {"task": {"type": "image-classification", "name": "Chest radiographs"}, "dataset": dataset, "metrics": metrics}
    ]
    return {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "license": license_name,
        "tags": ["chest-x-ray", "medical-imaging", "chexkeras", *(["synthetic-data"] if document.synthetic else [])],
        "model-index": [{"name": document.name, "results": results if metrics else []}],
    }


def _metric(kind: str, name: str, estimate: Estimate) -> dict[str, Any]:
    low, high = round(estimate.low, 4), round(estimate.high, 4)
    words = f"{name} ({estimate.confidence * 100:g} % CI {low:.3f} to {high:.3f}, n = {estimate.n})"
    return {
        "type": kind, "name": words, "value": round(estimate.value, 4), "verified": False,
        "args": {
            "low": low,
            "high": high,
            "confidence": estimate.confidence,
            "n": estimate.n,
            "method": estimate.method,
        },
    }  # fmt: skip


def _front(metadata: dict[str, Any]) -> str:
    """Returns metadata as YAML's front matter; a value in JSON is YAML as well, whatever is in it."""
    lines = [f"{key}: {_quoted(value)}" for key, value in metadata.items()]
    return "---\n" + "\n".join(lines) + "\n---\n\n"


def _quoted(value: Any) -> str:
    # Letters as they are: YAML does not put together the two halves into which JSON escapes some of them.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def _line(text: str) -> str:
    return " ".join(text.split())
