"""Put the notebooks, which lie outside of docs/, into the pages."""

import pathlib

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]


# Before the plugin that renders notebooks looks for them.
@event_priority(100)
def on_files(files, config):
    """Adds the notebooks to the files of the site.

    Args:
        files: `mkdocs.structure.files.Files`.
        config: configuration of MkDocs.

    Returns:
        The files.
    """
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(
            File(
                f"notebooks/{path.name}",
                str(ROOT),
                config["site_dir"],
                config["use_directory_urls"],
            )
        )
    return files
