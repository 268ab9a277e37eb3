"""Pictures for the tests: the two archives, and a folder of damaged files."""

import os
import pathlib
import tarfile

import pytest

from tests.data.pictures import save_picture

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
    """Folder `train` of CIFAR-10, 5 pictures of each of the 10 classes."""
    folder = tmp_path_factory.mktemp("cifar10")
    _unpack(
        "cifar10_images.tar.gz",
        folder,
        lambda member: (
            member.name.startswith("train/")
            and member.name[-8:-4].isdigit()
            and int(member.name[-8:-4]) < 5
        ),
    )
    return folder / "train"


@pytest.fixture
def picture_folder(tmp_path):
    """Three classes with four JPEG pictures each."""
    root = tmp_path / "pictures"
    for number in range(12):
        name = f"class {number % 3}/{number:02}.jpg"
        save_picture(root / name, seed=number)
    return root


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Folder with the same images as three sources."""
    # Imports the readers of all sources, which takes seconds.
    from tests.data.source_places import write_sources

    root = tmp_path_factory.mktemp("sources")
    write_sources(root)
    return root
