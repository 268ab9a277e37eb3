"""Examples of a data set come from all over it."""

import numpy as np
import pytest

from keras_clmae.data import ArrayDataset
from keras_clmae.data import EvaluationTransform
from keras_clmae.data import example_images
from keras_clmae.data import image_folder
from tests.data.pictures import save_picture
from tests.once import ONCE

pytestmark = ONCE


def numbered(count=10):
    return np.tile(
        np.arange(count, dtype="float32")[:, None, None, None], (1, 4, 4, 1)
    )


@pytest.mark.parametrize("labels", [None, np.arange(10)])
def test_of_arrays(labels):
    dataset = ArrayDataset(numbered(), labels, batch_size=4, shuffle=False)
    chosen = example_images(dataset, 5)[:, 0, 0, 0]
    assert chosen.tolist() == [1, 3, 5, 7, 9]
    assert len(example_images(dataset, 12)) == 10
    assert dataset.epoch == 0


def test_of_a_sorted_folder(tmp_path):
    for label in range(4):
        for number in range(6):
            save_picture(tmp_path / str(label) / f"{number}.png", seed=label)
    transform = EvaluationTransform((48, 64), crop_fraction=1.0)
    dataset = image_folder(tmp_path, (48, 64), 24, transform=transform)
    (images,) = list(dataset)
    examples = example_images(dataset, 4)
    np.testing.assert_allclose(examples, np.asarray(images)[3::6], atol=1e-6)
    # One that cannot be read any more is left out.
    (tmp_path / "1" / "3.png").write_bytes(b"")
    assert len(example_images(dataset, 4)) == 3


def test_of_a_folder_in_random_order(tmp_path):
    for number in range(6):
        save_picture(tmp_path / f"{number}.png", seed=number)
    datasets = [image_folder(tmp_path, 16, 2) for _ in range(2)]
    example_images(datasets[0], 3)
    for one, other in zip(*datasets, strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_other_iterables():
    batches = [{"image": numbered(3)}, {"image": numbered(3)}]
    assert example_images(batches, 2).shape == (2, 4, 4, 1)


@pytest.mark.filterwarnings("ignore")
def test_of_shards_and_tables_in_random_order(tmp_path):
    for module in ("datasets", "webdataset", "pyarrow"):
        pytest.importorskip(module)
    from tests.data import source_places

    source_places.write_sources(tmp_path)
    for kind in source_places.KINDS:
        column = {} if kind == "webdataset" else {"image_column": "photo"}
        dataset = source_places.make(tmp_path, kind, **column)
        shown = example_images(dataset, 5)
        # The damaged one may be among them.
        assert len(shown) in (4, 5) and shown.shape[1:] == (8, 8, 3), kind
        levels = shown[:, 0, 0, 0]
        assert np.abs(np.diff(np.sort(levels))).min() > 0.01
        batches = np.concatenate([np.asarray(batch) for batch in dataset])
        distances = np.abs(levels[:, None] - batches[:, 0, 0, 0])
        assert distances.min(axis=1).max() < 1e-3, kind
