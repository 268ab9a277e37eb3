"""Put the notebooks, which lie outside of docs/, into the pages."""

import pathlib
import re

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As the notebooks name pages and each other, from the folder they lie in.
_LINK = re.compile(r'href="(?:\.\./docs/)?([\w/]+\.(?:md|ipynb))(#[\w-]+)?"')


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


# After that plugin.
@event_priority(-100)
def on_page_content(html, page, config, files):
    """Turns the links of notebooks to files into links to pages.

    Args:
        html: str. The page.
        page: `mkdocs.structure.pages.Page`.
        config: configuration of MkDocs.
        files: `mkdocs.structure.files.Files`.

    Returns:
        str. The page.

    Raises:
        FileNotFoundError: if a link names no page.
    """
    if not page.file.src_uri.endswith(".ipynb"):
        return html

    def resolve(found):
        path = found[1] if found[1].endswith(".md") else f"notebooks/{found[1]}"
        target = files.get_file_from_path(path)
        if target is None:
            raise FileNotFoundError(f"{page.file.src_uri} links to {found[0]}")
        url = target.url_relative_to(page.file)
        return f'href="{url}{found[2] or ""}"'

    return _LINK.sub(resolve, html)
