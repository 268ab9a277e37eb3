"""Pictures for the tests: the two archives, and a folder of damaged files."""

import os
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
_ARCHIVES = pathlib.Path(
    os.environ.get(
        "KERAS_CLMAE_TEST_DATA", _REPOSITORY.parent / "shared" / "data"
    )
)


def _unpack(name, folder, wanted):
    archive = _ARCHIVES / name
    if not archive.exists():
        pytest.skip(f"needs {name} in the folder KERAS_CLMAE_TEST_DATA")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if wanted(member)]
        tar.extractall(folder, members, filter="data")
    return folder


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Folder with the first 40 photographs of the ImageNet samples."""
    folder = tmp_path_factory.mktemp("photographs")
    names = iter(range(40))
    return _unpack(
        "imagenet_samples.tar",
        folder,
        lambda member: member.isfile() and next(names, None) is not None,
    )


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory):
    """Folder `train` of CIFAR-10, 20 pictures of each of the 10 classes."""
    folder = tmp_path_factory.mktemp("cifar10")
    _unpack(
        "cifar10_images.tar.gz",
        folder,
        lambda member: (
            member.name.startswith("train/")
            and member.name[-8:-4].isdigit()
            and int(member.name[-8:-4]) < 20
        ),
    )
    return folder / "train"


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


@pytest.fixture
def picture_folder(tmp_path):
    """Three classes with four JPEG pictures each."""
    root = tmp_path / "pictures"
    for number in range(12):
        name = f"class {number % 3}/{number:02}.jpg"
        save_picture(root / name, seed=number)
    return root
