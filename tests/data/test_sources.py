"""All sources of files of records alike, and Hugging Face data sets."""

import datetime
import io
import shutil
import sys

import datasets
import numpy as np
import pytest
import tensorflow as tf
import webdataset as wds
from PIL import Image

import keras_clmae
from keras_clmae.data import hf_dataset
from keras_clmae.data import load
from tests.data.source_places import COUNT
from tests.data.source_places import KINDS
from tests.data.source_places import WHOLE
from tests.data.source_places import encoded
from tests.data.source_places import make
from tests.data.source_places import make_table
from tests.data.source_places import numbers
from tests.data.test_scientific import dicom
from tests.once import ONCE

pytestmark = [
    ONCE,
    # `datasets` writes files in a process of its own kind while TensorFlow's
    # threads run.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*(cannot be read|Skipped)")
class TestEverySource:
    def test_order_is_that_of_seed_and_epoch(self, places, kind):
        dataset = make(places, kind, labels=True, seed=3)
        assert (dataset.num_examples, dataset.batch_size) == (COUNT, 4)
        assert len(dataset) == dataset.steps_per_epoch == 6
        assert dataset.class_names == ["even", "odd"]
        assert dataset.num_classes == 2
        epochs = [numbers(dataset, labels=True) for _ in range(2)]
        assert epochs[0] != epochs[1]
        for epoch in epochs:
            # In the place of the damaged one comes another.
            assert len(epoch) == COUNT
            assert set(epoch) == set(range(COUNT)) - {5}
        resumed = make(places, kind, seed=3)
        resumed.set_epoch(1)
        assert numbers(resumed) == epochs[1]
        assert numbers(make(places, kind, seed=4)) != epochs[0]

    def test_processes_share_the_images(self, places, kind):
        shares = [
            make(places, kind, process_index=index, process_count=2)
            for index in range(2)
        ]
        orders = [
            share.records.numbers[sampler_order(share)] for share in shares
        ]
        whole = shares[0].records.numbers
        assert sorted(np.concatenate(orders)) == sorted(whole)
        found = [set(numbers(share)) for share in shares]
        assert found[0] | found[1] == set(range(COUNT)) - {5}
        assert not found[0] & found[1]

    def test_fixed_order(self, places, kind):
        dataset = make(places, kind, shuffle=False, labels=True)
        expected = [number for number in range(COUNT) if number != 5]
        assert numbers(dataset, labels=True) == expected
        assert dataset.num_examples == COUNT - 1
        assert dataset.labels.tolist() == [n % 2 for n in expected]
        assert len(dataset.skipped) == 1
        assert len(set(dataset.records.names)) == COUNT - 1


def sampler_order(dataset):
    """The order of the first epoch, which `set_epoch` belongs to."""
    return dataset.set_epoch.__self__.order(0)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_once_and_counted(places, kind):
    with pytest.warns(UserWarning) as caught:
        dataset = make(places, kind, seed=1)
        numbers(dataset)
        numbers(dataset)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2 and f"1 of {COUNT}" in texts[1]
    place = {
        "hf-dataset": "record 5",
        "webdataset": "000.tar, 0005.jpg",
        "parquet": "train-0.parquet, row 5",
    }[kind]
    assert place in texts[0] and str(places / kind) in texts[0]
    with pytest.raises((ValueError, tf.errors.OpError), match=place):
        numbers(make(places, kind, on_error="raise"))


@pytest.mark.filterwarnings("ignore:.*(cannot be read|Skipped)")
def test_fine_tuning_gray_and_measured(places):
    dataset = load(
        f"parquet:{places}/parquet",
        8,
        4,
        transform=keras_clmae.data.FineTuneTransform(8, magnitude=0),
        labels=True,
        channels=1,
        statistics="from_data",
    )
    images, labels = next(iter(dataset))
    assert images.shape == (4, 8, 8, 1) and labels.shape == (4, 2)
    levels = [n * 10 / 255 for n in range(COUNT) if n != 5]
    assert abs(dataset.normalization.mean[0] - np.mean(levels)) < 2e-3
    assert abs(dataset.normalization.std[0] - np.std(levels)) < 2e-3


def test_hf_dataset_objects_and_columns(places):
    table = make_table()
    arguments = {"labels": True, "transform": WHOLE, "shuffle": False}
    chosen = table.select([9, 2, 4]).with_format("numpy")
    dataset = hf_dataset(chosen, "train", 8, 3, **arguments)
    assert numbers(dataset, labels=True) == [9, 2, 4]
    loaded = hf_dataset(f"{places}/hf-dataset/test", "train", 8, 3)
    assert loaded.num_examples == COUNT
    assert (
        load(f"hf-dataset:{places}/hf-dataset", 8, 3, split="test").num_examples
        == COUNT
    )
    arrays = datasets.Dataset.from_dict(
        {
            "img": [np.full((8, 8, 3), 10 * n, "uint8") for n in range(4)],
            "label": ["b", "a", "b", "a"],
        },
        features=datasets.Features(
            {
                "img": datasets.Array3D((8, 8, 3), "uint8"),
                "label": datasets.Value("string"),
            }
        ),
    )
    dataset = hf_dataset(arrays, "train", 8, 4, **arguments)
    ((images, labels),) = list(dataset)
    assert images.shape == (4, 8, 8, 3)
    assert labels.numpy().tolist() == [1, 0, 1, 0]
    assert dataset.class_names == ["a", "b"]
    again = hf_dataset(
        arrays, "train", 8, 4, class_names=["z", "b", "a"], **arguments
    )
    assert next(iter(again))[1].numpy().tolist() == [1, 2, 1, 2]
    with pytest.raises(ValueError, match="`class_names`"):
        hf_dataset(arrays, "train", 8, 4, class_names=["a"], **arguments)
    with pytest.raises(ValueError, match="`num_classes`.*2 classes"):
        hf_dataset(arrays, "train", 8, 4, num_classes=1, **arguments)


def test_hf_dataset_of_a_folder(tmp_path, monkeypatch):
    (tmp_path / "0.png").write_bytes(encoded(7))
    paths = datasets.Dataset.from_dict({"image": [f"{tmp_path}/0.png"]})
    dataset = hf_dataset(paths, "train", 8, 1, transform=WHOLE)
    assert numbers(dataset) == [7]
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "c")
    (tmp_path / "data").mkdir()
    make_table().to_parquet(tmp_path / "data" / "train.parquet")
    dataset = load(f"hf-dataset:{tmp_path}/data:train[:4]", 8, 2)
    assert dataset.num_examples == 4
    with pytest.raises(ValueError, match="`split`.*'test'"):
        load(f"hf-dataset:{tmp_path}/data", 8, 2, split="test")


def test_hf_dataset_bad_arguments(places):
    table = make_table()
    with pytest.raises(ValueError, match="`split`.*'test', 'train'"):
        hf_dataset(f"{places}/hf-dataset", "dev", 8, 4)
    with pytest.raises(ValueError, match="`image_column` must be a column"):
        hf_dataset(table, "train", 8, 4, image_column="file")
    with pytest.raises(ValueError, match="`image_column`.*none found"):
        hf_dataset(table.remove_columns("photo"), "train", 8, 4)
    with pytest.raises(ValueError, match="`label_column`.*none found"):
        hf_dataset(table.remove_columns("kind"), "train", 8, 4, labels=True)
    dates = datasets.Dataset.from_dict({"image": [datetime.date(2020, 1, 1)]})
    with pytest.raises(ValueError, match="`image_column` must hold images"):
        hf_dataset(dates, "train", 8, 4)
    with pytest.raises(ValueError, match="`dataset`.*IterableDataset"):
        hf_dataset(table.to_iterable_dataset(), "train", 8, 4)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def odd_images():
    """Files of unlike kinds, labels, and levels of the first pixel."""
    fine = np.full((8, 8), 1001, "uint16")
    return (
        (png(np.full((8, 8, 3), 51, "uint8")), 0, 51 / 255),
        (png(np.full((8, 8), 102, "uint8")), 1, 102 / 255),
        (png(fine), 2, 1001 / 65535),
        (dicom(fine), 3, 1001 / 4095),
        # Without a class, damaged, and of an unknown white.
        (png(np.zeros((8, 8, 3), "uint8")), -1, None),
        (png(np.zeros((8, 8, 3), "uint8"))[:50], 1, None),
        (npy(np.full((8, 8, 3), 200.0)), 1, None),
    )


def npy(pixels):
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_odd_images_are_right_or_left_out(tmp_path, kind):
    files, labels, levels = zip(*odd_images(), strict=True)
    place = tmp_path / kind
    if kind == "webdataset":
        place.mkdir()
        with wds.TarWriter(str(place / "0.tar")) as writer:
            for number, (file, label) in enumerate(
                zip(files, labels, strict=True)
            ):
                ending = {3: "dcm", 6: "npy"}.get(number, "png")
                writer.write(
                    {"__key__": f"{number}", ending: file, "cls": str(label)}
                )
    else:
        table = datasets.Dataset.from_dict(
            {"image": [{"bytes": file} for file in files], "label": labels},
            datasets.Features(
                {"image": datasets.Image(), "label": datasets.Value("int64")}
            ),
        )
        if kind == "parquet":
            place.mkdir()
            table.to_parquet(place / "0.parquet")
        else:
            table.save_to_disk(place)
    label_key = {"label_key": "cls"} if kind == "webdataset" else {}
    with pytest.warns(UserWarning) as caught:
        dataset = load(
            f"{kind}:{place}",
            8,
            4,
            transform=WHOLE,
            shuffle=False,
            labels=True,
            statistics=([0.0] * 3, [1.0] * 3),
            **label_key,
        )
        ((images, found),) = dataset.as_numpy_iterator()
    assert found.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(images[:, 0, 0, 0], levels[:4], rtol=1e-5)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    texts = " ".join(str(warning.message) for warning in caught)
    assert "it has no label" in texts and "truncated or damaged" in texts
    assert "float64 from 200 to 200" in texts and "3 of 7" in texts
    assert "to RGB" in texts


def test_missing_packages_name_the_extra(monkeypatch, places, tmp_path):
    # Elsewhere, since indices of shards are kept in memory.
    copies = shutil.copytree(places, tmp_path / "copies")
    for module in ("datasets", "pyarrow.parquet", "webdataset.tariterators"):
        monkeypatch.setitem(sys.modules, module, None)
    for kind in KINDS:
        with pytest.raises(ImportError, match=r"keras-clmae\[sources\]"):
            make(copies, kind)
