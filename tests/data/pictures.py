"""Made-up pictures for the tests."""

import numpy as np
from PIL import Image


def epoch_numbers(dataset):
    """Identifies the pictures of an epoch by their means."""
    means = [np.mean(batch, axis=(1, 2, 3)) for batch in dataset]
    return np.concatenate(means).round(4).tolist()


def smooth_picture(height=48, width=64, channels=3, seed=0):
    """A uint8 picture without sharp edges."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, channels)).astype("uint8")
    planes = [
        Image.fromarray(plane).resize((width, height), Image.BICUBIC)
        for plane in np.moveaxis(coarse, -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def save_picture(path, mode="RGB", seed=0, size=(48, 64), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(smooth_picture(*size, seed=seed)).convert(mode)
    picture.save(path, **options)
    return picture
