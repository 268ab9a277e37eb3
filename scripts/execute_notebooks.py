"""Execute notebooks and keep their outputs, figures made small.

    python scripts/execute_notebooks.py notebooks/3_fine_tune.ipynb

Each runs in a folder of its own, so that nothing is left beside it.
"""

import argparse
import base64
import io
import os
import pathlib
import tempfile

import nbclient
import nbformat
import PIL.Image

# Sets the resolution before the first figure; it is not kept.
_SMALL = "%config InlineBackend.print_figure_kwargs = {'dpi': 72}"
_MAX_LINES = 12
_LARGE = 150_000  # Bytes.
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
            cell.outputs = clean(cell.outputs)
    nbformat.write(notebook, path)


def clean(outputs):
    """Keeps what a reader sees: printed lines, results and small figures.

    Args:
        outputs: list of outputs of a cell.

    Returns:
        A list of outputs: what was printed as one, without lines that were
        written over, and without warnings, counts and the reprs of figures.
    """
    printed = "".join(
        output.text
        for output in outputs
        if output.output_type == "stream" and output.name == "stdout"
    )
    # Not `splitlines`, which takes "\r" for the end of a line.
    lines = [line.split("\r")[-1].rstrip() for line in printed.split("\n")]
    if not lines[-1]:
        lines.pop()
    if len(lines) > _MAX_LINES:
        lines = ["...", *lines[-_MAX_LINES:]]
    kept = []
    if lines:
        text = "\n".join([*lines, ""])
        kept.append(nbformat.v4.new_output("stream", name="stdout", text=text))
    for output in outputs:
        if output.output_type == "stream":
            continue
        if "execution_count" in output:
            output.execution_count = None
        data = output.get("data", {})
        if "image/png" in data:
            output.data = {"image/png": few_colors(data["image/png"])}
        elif "image/gif" in data:
            # As HTML: the site leaves out what is of this type.
            source = "".join(data["image/gif"].split())
            image = f'<img src="data:image/gif;base64,{source}">'
            output.data = {"text/html": image}
        kept.append(output)
    return kept


def few_colors(png):
    """Stores a large figure, which holds photographs, in 256 colors."""
    content = base64.b64decode(png)
    if len(content) < _LARGE:
        return png
    buffer = io.BytesIO()
    figure = PIL.Image.open(io.BytesIO(content)).convert("RGB")
    figure.quantize(256).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


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
