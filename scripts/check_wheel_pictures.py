"""Make the pictures that `check_wheel.sh` trains on, and check its results.

Run `python check_wheel_pictures.py` with `make PICTURES`,
`features PICTURES SOURCE features.npz`, or `encoder RUN/encoder`.
"""

import io
import os
import sys

# Textures that fill a shape; each is a kind of pictures.
KINDS = ("checks", "columns", "dots", "rows")
# Pictures of each kind, and sides of the smallest and the largest one.
PER_KIND, SIDES = 24, (56, 80)
SOURCES = ("rgb_jpeg", "gray_png", "tiff_16", "shards")
# The last pictures of each kind are for tests, where a source has splits.
PER_TEST_KIND = 6
# Of the neighbors of all pictures, the share that is to be of their own kind.
# By chance it is 0.24.
LEAST_SHARE = 0.4


def picture(kind, number):
    """Draws a textured ellipse or rectangle on a noisy slope.

    Args:
        kind: int. Number of the texture.
        number: int. Decides about size, place, colors and noise.

    Returns:
        A pair: uint8 array of shape (height, width, 3), and uint8 array of
        shape (height, width), 0 for the ground and `kind + 1` for the shape.
    """
    import numpy as np

    random = np.random.default_rng([kind, number])
    height, width = random.integers(*SIDES, 2, endpoint=True)
    rows, columns = np.indices((height, width))
    center = random.uniform(0.35, 0.65, 2) * (height, width)
    radius = random.uniform(0.22, 0.32, 2) * (height, width)
    y, x = (rows - center[0]) / radius[0], (columns - center[1]) / radius[1]
    inside = y**2 + x**2 < 1 if number % 2 else np.maximum(abs(y), abs(x)) < 1
    up, right = (rows + number) // 4 % 2, (columns + number) // 4 % 2
    texture = (up ^ right, right, up & right, up)[kind]
    # Nearly gray, and light on dark: what tells pictures apart is the texture.
    colors = random.uniform(0, 255, (3, 1)) + random.uniform(-40, 40, (3, 3))
    colors[0] *= 0.4
    colors[1] = 255 - 0.4 * colors[1]
    slope = (rows / height + columns / width)[..., None] / 2
    ground = (0.8 + 0.4 * slope) * (100 + 0.2 * colors[2])
    pixels = np.where(inside[..., None], colors[texture], ground)
    pixels += random.normal(0, 6, pixels.shape)
    mask = np.where(inside, kind + 1, 0)
    return pixels.clip(0, 255).astype("uint8"), mask.astype("uint8")


def make(folder):
    """Writes one source of each sort, and masks of the gray pictures.

    Args:
        folder: str. Must not exist.
    """
    import tifffile
    import webdataset
    from PIL import Image

    samples = []
    for kind, name in enumerate(KINDS):
        for number in range(PER_KIND):
            pixels, mask = picture(kind, number)
            color = Image.fromarray(pixels)
            gray = color.convert("L")
            part = "test" if number < PER_TEST_KIND else "train"
            title = f"{number:02}_{name}"
            places = {
                "rgb": f"rgb_jpeg/{part}/{name}/{number:02}.jpg",
                "gray": f"gray_png/{title}.png",
                "mask": f"masks/{title}.png",
                "tiff": f"tiff_16/{name}/{number:02}.tif",
            }
            for key, place in places.items():
                path = os.path.join(folder, place)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if key == "rgb":
                    color.save(path, quality=90)
                elif key == "gray":
                    gray.save(path)
                elif key == "mask":
                    Image.fromarray(mask).save(path)
                else:
                    # 12 bits, as cameras of microscopes write them.
                    levels = pixels.mean(axis=-1) * 16
                    tifffile.imwrite(path, levels.astype("uint16"))
            file = io.BytesIO()
            color.save(file, "JPEG", quality=90)
            samples.append((number, kind, title, file.getvalue()))
            # To look for it; the shards hold the same bytes.
            if title == "05_rows":
                with open(os.path.join(folder, "query.jpg"), "wb") as query:
                    query.write(file.getvalue())
    samples.sort()
    os.makedirs(os.path.join(folder, "shards"))
    for shard in range(3):
        path = os.path.join(folder, "shards", f"{shard:03}.tar")
        with webdataset.TarWriter(path) as writer:
            for _, kind, title, contents in samples[shard::3]:
                writer.write({"__key__": title, "jpg": contents, "cls": kind})


def check_features(folder, source, path):
    """Checks a file of features: rows, names, numbers and neighbors.

    Args:
        folder: str. What `make` wrote.
        source: str. One of `SOURCES`.
        path: str. The `.npz` file that `keras-clmae embed` wrote.

    Raises:
        SystemExit: if anything is wrong.
    """
    import numpy as np

    loaded = np.load(path)
    names, features = loaded["names"].tolist(), loaded["features"]
    count = PER_KIND - (PER_TEST_KIND if source == "rgb_jpeg" else 0)
    count *= len(KINDS)
    expect(
        features.shape[0] == len(names) == count, f"{count} rows", len(names)
    )
    expect(len(set(names)) == count, "names that differ", names[:3])
    expect(np.isfinite(features).all(), "finite features", features)
    if source != "shards":
        part = "train" if source == "rgb_jpeg" else ""
        place = os.path.join(folder, source, part)
        missing = [
            name
            for name in names
            if not os.path.isfile(os.path.join(place, name))
        ]
        expect(not missing, f"paths below {place}", missing)
    kinds = np.array(
        [next(i for i, k in enumerate(KINDS) if k in name) for name in names]
    )
    if "labels" in loaded:
        expect((loaded["labels"] == kinds).all(), "labels of the kinds", names)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    likeness = units @ units.T
    expect(
        (likeness.argmax(axis=1) == np.arange(count)).all(),
        "each picture nearest to itself",
        likeness,
    )
    np.fill_diagonal(likeness, -1)
    share = (kinds[likeness.argmax(axis=1)] == kinds).mean()
    expect(share > LEAST_SHARE, f"a share above {LEAST_SHARE}", share)
    print(
        f"{count} rows of {features.shape[1]}, "
        f"{share:.0%} of nearest neighbors of the same kind"
    )


def check_encoder(path):
    """Loads the encoder of a run as a preset and calls it.

    Args:
        path: str. The folder `encoder` of a run.

    Raises:
        SystemExit: if the features are not finite, or the package is not that
            of the environment of this program.
    """
    import numpy as np

    import keras_clmae

    place = os.path.dirname(keras_clmae.__file__)
    expect(place.startswith(sys.prefix), f"a package below {sys.prefix}", place)
    encoder = keras_clmae.models.ViTEncoder.from_preset(path)
    images = np.random.default_rng(0).normal(size=(2, *encoder.image_shape))
    tokens = encoder.predict(images.astype("float32"), verbose=0)
    expect(np.isfinite(tokens).all(), "finite tokens", tokens)
    print(f"tokens of shape {tokens.shape}")


def expect(condition, expected, received):
    """Ends the program where a condition does not hold."""
    if not condition:
        sys.exit(f"error: expected {expected}. Received: {received!r}")


if __name__ == "__main__":
    {"make": make, "features": check_features, "encoder": check_encoder}[
        sys.argv[1]
    ](*sys.argv[2:])
