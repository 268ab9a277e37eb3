"""Check the images of a folder before a long run.

Every image is read and decoded as training would read it.
"""

import collections
import concurrent.futures
import os
import warnings

from rich.console import Console
from rich.progress import track
from rich.table import Table


def check_data(
    path: str,
    labels: bool = False,
    channels: int | None = None,
    num_classes: int | None = None,
    workers: int = os.cpu_count() or 1,
    shown: int = 20,
) -> bool:
    """Checks the images of a folder, and prints what is wrong with them.

    Args:
        path: Folder of images.
        labels: Whether each folder directly below it is a class.
        channels: 1, 3 or 4 if training is to convert to this number.
        num_classes: Largest number of classes that is allowed.
        workers: Images that are read at the same time.
        shown: How many of the damaged images to list.

    Returns:
        bool. Whether all is well.

    Example:

    ```python
    assert keras_clmae.runs.check_data("photos")
    ```
    """
    from keras_clmae.data.damage import diagnose
    from keras_clmae.data.damage import display_name
    from keras_clmae.data.decoding import ImageDecoder
    from keras_clmae.data.folder_source import make_decoder
    from keras_clmae.data.listing import list_images

    console = Console()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            images = list_images(path, labels, num_classes)
        except (ValueError, OSError) as error:
            console.print(str(error), style="red", markup=False)
            return False
        finally:
            for warning in caught:
                message = str(warning.message)
                console.print(message, style="yellow", markup=False)
    problem = None
    try:
        decoder = make_decoder(images, channels)
        found = decoder.channels
    except ValueError as error:
        problem = str(error)
        # What can be read at all is told nevertheless.
        found, decoder = "?", ImageDecoder(3, convert=True)
    paths = images.paths
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        reasons = list(
            track(
                pool.map(lambda path: diagnose(path, decoder), paths),
                description="Reading",
                total=len(paths),
                console=console,
            )
        )
    damaged = [
        (display_name(path), reason)
        for path, reason in zip(paths, reasons, strict=True)
        if reason
    ]
    _print_summary(console, images, found, damaged, shown)
    if problem:
        console.print(problem, style="red", markup=False)
    return not damaged and problem is None


def _print_summary(console, images, channels, damaged, shown):
    table = Table("what", "count")
    table.add_row("images", str(len(images)))
    table.add_row("channels", str(channels))
    if images.class_names is not None:
        table.add_row("classes", str(len(images.class_names)))
        counts = collections.Counter(images.labels.tolist()).values()
        table.add_row("images per class", f"{min(counts)} to {max(counts)}")
    table.add_row("cannot be read", str(len(damaged)))
    for reason, count in collections.Counter(
        reason for _, reason in damaged
    ).most_common():
        table.add_row(f"  {reason}", str(count))
    console.print(table)
    for name, reason in damaged[:shown]:
        console.print(f"{name!r}: {reason}", markup=False, highlight=False)
    if len(damaged) > shown:
        console.print(f"... and {len(damaged) - shown} more")
