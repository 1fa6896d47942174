"""Executes the five notebooks on synthetic images and writes them as pages with their figures.

The notebooks stay as they are, without outputs: copies run in the build folder, one after the other, since the later
ones read the run that the second one trained.

    python docs/execute_notebooks.py build/docs/tutorial
"""

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import TagRemovePreprocessor

FOLDER = Path(__file__).resolve().parent.parent
SECONDS_A_CELL = 1800
# What a page leaves out: the cell that installs the library where it is not, and outputs marked so.
INSTALL, NO_OUTPUT = "install", "no-output"


def page_of(notebook: nbformat.NotebookNode, name: str, to: Path) -> Path:
    """Writes an executed notebook as a Markdown page, its figures beside it.

    Args:
        notebook: With its outputs.
        name: File name of the page, without suffix.
        to: Folder of the pages.
    """
    exporter = MarkdownExporter()
    left_out = TagRemovePreprocessor(remove_cell_tags={INSTALL}, remove_all_outputs_tags={NO_OUTPUT})
    exporter.register_preprocessor(left_out, enabled=True)
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
    # One's own images or a run elsewhere have no place on the pages.
    for variable in [name for name in os.environ if name.startswith("CHEXKERAS_")]:
        del os.environ[variable]
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
        page_of(notebook, path.stem, to)


if __name__ == "__main__":
    main()
