"""Check what an image file of a figure shows."""

import numpy as np
import pytest

# Pixels: no letter is as wide and as high.
LETTERS = 60


def drawn_panels(path, letters=LETTERS):
    """Count the panels of a figure in a file.

    A panel is a connected area that differs from the background, the color of
    the corner, and is larger than the letters of a title.

    Args:
        path: Path of an image file.
        letters: int. Pixels that no letter reaches in both directions.

    Returns:
        The number of colors in the file, and the number of panels.
    """
    image = pytest.importorskip("PIL.Image")
    ndimage = pytest.importorskip("scipy.ndimage")
    with image.open(path) as file:
        channels = np.asarray(file.convert("RGB"), "uint32")
    pixels = channels @ np.array([65536, 256, 1], "uint32")
    colors = len(np.unique(pixels))
    labels, _ = ndimage.label(pixels != pixels[0, 0])
    boxes = ndimage.find_objects(labels)
    panels = [
        box
        for box in boxes
        if all(side.stop - side.start >= letters for side in box)
    ]
    return colors, len(panels)
