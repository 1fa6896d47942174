"""Executes the five notebooks on synthetic images and writes them as pages with their figures.

The notebooks stay as they are, without outputs: copies run in the build folder, one after the other, since the later
ones read the run that the second one trained.

    python docs/execute_notebooks.py build/docs/tutorial
"""

import argparse
import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import TagRemovePreprocessor

FOLDER = Path(__file__).resolve().parent.parent
SECONDS_A_CELL = 1800
# What TensorFlow's libraries write of themselves when they start, and nothing in Python can silence.
START_UP = re.compile(r"^(?:WARNING: All log messages before absl|[IWE]\d{4} ).*\n?", re.M)


def without_start_up(notebook: nbformat.NotebookNode) -> None:
    """Takes TensorFlow's start-up lines out of the outputs of an executed notebook.

    Args:
        notebook: With its outputs, which change.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output["text"] = START_UP.sub("", output["text"])
        if "outputs" in cell:
            cell["outputs"] = [each for each in cell["outputs"] if each.get("name") != "stderr" or each["text"].strip()]


def page_of(notebook: nbformat.NotebookNode, name: str, to: Path) -> Path:
    """Writes an executed notebook as a Markdown page, its figures beside it.

    Args:
        notebook: With its outputs.
        name: File name of the page, without suffix.
        to: Folder of the pages.
    """
    exporter = MarkdownExporter()
    exporter.register_preprocessor(TagRemovePreprocessor(remove_all_outputs_tags={"no-output"}), enabled=True)
    text, resources = exporter.from_notebook_node(notebook, resources={"output_files_dir": f"{name}_files"})
    for file, content in resources["outputs"].items():
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        (to / file).write_bytes(content)
    text = text.replace(".ipynb)", ".md)")
    page = to / f"{name}.md"
    page.write_text(text, encoding="utf-8")
    return page


def main() -> None:
    """Executes all notebooks, or only converts them with `--no-run`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("to", type=Path, help="folder for the pages; data and run go to a folder beside it")
    parser.add_argument("--no-run", action="store_true", help="convert without executing: code, but no figures")
    asked = parser.parse_args()
    to = asked.to.resolve()
    to.mkdir(parents=True, exist_ok=True)
    workplace = to.parent / "notebooks"
    workplace.mkdir(exist_ok=True)
    # Copies of one's own images or of a run elsewhere have no place on the pages.
    for variable in ("CHEXKERAS_DATA", "CHEXKERAS_RUN", "CHEXKERAS_DICOM"):
        os.environ.pop(variable, None)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
    for path in sorted((FOLDER / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if not asked.no_run:
            NotebookClient(
                notebook,
                timeout=SECONDS_A_CELL,
                kernel_name="python3",
                resources={"metadata": {"path": str(workplace)}},
            ).execute()
            without_start_up(notebook)
        page_of(notebook, path.stem, to)


if __name__ == "__main__":
    main()
