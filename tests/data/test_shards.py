"""WebDataset shards and parquet files."""

import io
import json
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as wds

from keras_clmae.data import parquet_dataset
from keras_clmae.data import webdataset
from keras_clmae.data.sources.shard_files import shard_files
from tests.data.source_places import COUNT
from tests.data.source_places import WHOLE
from tests.data.source_places import encoded
from tests.data.source_places import numbers
from tests.once import ONCE

pytestmark = [
    ONCE,
    # `datasets` writes files in a process of its own kind while TensorFlow's
    # threads run.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def test_parquet_columns(tmp_path):
    plain = pa.table(
        {
            "mask": [b"no image"] * 6,
            "image": [encoded(n) for n in range(6)],
            "label": pa.array([0, 1, None, 1, 0, -1], "int64"),
        }
    )
    pq.write_table(plain, tmp_path / "a.parquet", row_group_size=2)
    path = tmp_path / "*.parquet"
    dataset = parquet_dataset(path, 8, 3, transform=WHOLE, shuffle=False)
    assert numbers(dataset) == list(range(6))
    with pytest.warns(UserWarning, match="no label|2 of 6"):
        dataset = parquet_dataset(
            path, 8, 4, transform=WHOLE, shuffle=False, labels=True
        )
    assert numbers(dataset, labels=True) == [0, 1, 3, 4]
    with pytest.raises(ValueError, match="`image_column`.*several"):
        pq.write_table(
            plain.rename_columns(["a", "b", "label"]), tmp_path / "b.parquet"
        )
        parquet_dataset(tmp_path / "b.parquet", 8, 4)
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and no more")
    os.remove(tmp_path / "b.parquet")
    with pytest.warns(UserWarning, match="c.parquet|1 of 2 files"):
        assert parquet_dataset(path, 8, 4).num_examples == 6
    with pytest.raises(ValueError, match="c.parquet"):
        parquet_dataset(path, 8, 4, on_error="raise")


def test_row_groups_are_read_once_in_an_epoch(places, monkeypatch):
    read = []
    original = pq.ParquetFile.read_row_group

    def read_row_group(self, number, *arguments, **keywords):
        read.append(number)
        return original(self, number, *arguments, **keywords)

    path = places / "parquet"
    dataset = parquet_dataset(
        path,
        8,
        4,
        transform=WHOLE,
        shuffle=True,
        shuffle_window=6,
        drop_remainder=False,
        channels=3,
    )
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read_row_group)
    with pytest.warns(UserWarning):
        assert len(numbers(dataset)) == COUNT
    # Three files of 8, 7 and 7 rows in groups of 3; one more for the
    # damaged image, whose place the first one of the order takes.
    assert 9 <= len(read) <= 11


def test_webdataset_shards(places, tmp_path):
    shards = f"{places}/webdataset/{{000..001}}.tar"
    index = tmp_path / "index"
    first = webdataset(
        shards,
        8,
        4,
        labels=True,
        transform=WHOLE,
        shuffle=True,
        on_error="skip",
        index_folder=index,
        drop_remainder=False,
    )
    assert first.num_examples == 15 and len(os.listdir(index)) == 2
    # With the tar files' headers out of reach the index is what is read.
    again = webdataset(
        shards,
        8,
        4,
        labels=True,
        transform=WHOLE,
        shuffle=True,
        index_folder=index,
        drop_remainder=False,
    )
    with pytest.warns(UserWarning, match="0005|1 of 15"):
        assert numbers(first, labels=True) == numbers(again, labels=True)
    with pytest.raises(FileNotFoundError, match="003.tar"):
        webdataset(f"{places}/webdataset/{{001..007}}.tar", 8, 4)
    with pytest.raises(ValueError, match="`path` must name files of this"):
        webdataset("https://example.org/{000..001}.tar", 8, 4)


def test_webdataset_damaged_shards(tmp_path):
    def write(name, mode="w"):
        with tarfile.open(tmp_path / name, mode) as tar:
            for number in range(6):
                for kind, data in (
                    ("png", encoded(number)),
                    ("cls", str(number % 2).encode()),
                ):
                    info = tarfile.TarInfo(f"{number}.{kind}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        return tmp_path / name

    path = write("000.tar")
    whole = path.read_bytes()
    arguments = {"labels": True, "transform": WHOLE}
    dataset = webdataset(path, 8, 3, **arguments)
    assert numbers(dataset, labels=True) == list(range(6))
    assert dataset.num_classes == 2 and dataset.class_names is None
    # Cut in the fourth image: its header is there, its end is not.
    for end in (3 * 2048 + 600, 3 * 2048 + 200):
        path.write_bytes(whole[:end])
        with pytest.warns(UserWarning, match="to its end|cannot be read|of 4"):
            dataset = webdataset(path, 8, 3, **arguments)
        assert numbers(dataset, labels=True) == [0, 1, 2]
        with pytest.raises(ValueError, match="000.tar"):
            webdataset(path, 8, 3, on_error="raise", **arguments)
    path.write_bytes(b"no tar")
    write("001.tar", "w:gz")
    write("002.tar")
    with pytest.warns(UserWarning, match="uncompressed|2 of 3 files"):
        assert webdataset(tmp_path, 8, 3).num_examples == 6
    os.remove(tmp_path / "002.tar")
    with pytest.raises(ValueError, match="uncompressed"):
        with pytest.warns(UserWarning):
            webdataset(tmp_path, 8, 3)


def test_split_files(tmp_path):
    names = ["train-0.tar", "train-1.tar", "test/0.tar", "trainer-0.tar"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(split):
        files = shard_files(tmp_path, ".tar", split)
        return [os.path.relpath(file, tmp_path) for file in files]

    assert found("train") == names[:2]
    assert found("test") == [names[2]]
    with pytest.raises(ValueError, match="`split`.*and 3 more"):
        found("validation")
    with pytest.raises(ValueError, match="`split` must be left out"):
        shard_files(f"{tmp_path}/*.tar", ".tar", "test")
    with pytest.raises(FileNotFoundError, match="'.parquet'"):
        shard_files(tmp_path, ".parquet")


def test_json_labels(tmp_path):
    with wds.TarWriter(f"{tmp_path}/a.tar") as writer:
        for number, content in enumerate(
            [{"species": "owl"}, {"species": "cat"}, {}, 3]
        ):
            writer.write(
                {
                    "__key__": str(number),
                    "left.png": encoded(9 - number),
                    "png": encoded(number),
                    "json": json.dumps(content).encode(),
                }
            )
    with pytest.warns(UserWarning, match="no label|1 of 4"):
        dataset = webdataset(
            f"{tmp_path}/a.tar",
            8,
            2,
            labels=True,
            transform=WHOLE,
            label_key="species",
        )
    assert dataset.class_names == ["3", "cat", "owl"]
    assert dataset.labels.tolist() == [2, 1, 0]
    dataset = webdataset(
        f"{tmp_path}/a.tar",
        8,
        4,
        transform=WHOLE,
        image_key="left.png",
        shuffle=False,
    )
    assert numbers(dataset) == [9, 8, 7, 6]
