"""Execute notebooks and keep their outputs, figures made small.

    python scripts/execute_notebooks.py notebooks/3_fine_tune.ipynb

Each runs in a folder of its own, so that nothing is left beside it.
"""

import argparse
import os
import pathlib
import tempfile

import nbclient
import nbformat

# Sets the resolution before the first figure; it is not kept.
_SMALL = "%config InlineBackend.print_figure_kwargs = {'dpi': 72}"
ROOT = pathlib.Path(__file__).parents[1]


def execute(path):
    """Executes a notebook and writes it back.

    Args:
        path: `pathlib.Path`.
    """
    notebook = nbformat.read(path, as_version=4)
    settings = nbformat.v4.new_code_cell(_SMALL)
    notebook.cells.insert(0, settings)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(
            notebook,
            timeout=3600,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        ).execute()
    notebook.cells.remove(settings)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [kept for kept in map(clean, cell.outputs) if kept]
    nbformat.write(notebook, path)


def clean(output):
    """Leaves out warnings, counts and the reprs beside figures.

    Args:
        output: output of a cell.

    Returns:
        The output, or `None`.
    """
    if output.output_type == "stream" and output.name == "stderr":
        return None
    if "execution_count" in output:
        output.execution_count = None
    if "image/png" in output.get("data", {}):
        output.data = {"image/png": output.data["image/png"]}
    return output


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    # The kernel finds the package of this clone.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), os.environ.get("PYTHONPATH", "")]
    )
    for path in parser.parse_args().paths:
        execute(path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
