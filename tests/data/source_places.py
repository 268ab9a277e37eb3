"""Write the same images as three sources: arrow files, shards, parquet."""

import io

import datasets
import numpy as np
import webdataset as wds
from PIL import Image

from keras_clmae.data import EvaluationTransform
from keras_clmae.data import load

WHOLE = EvaluationTransform(8, crop_fraction=1.0)
COUNT = 22
KINDS = ("hf-dataset", "webdataset", "parquet")


def encoded(number, kind="PNG"):
    """An image file that is gray of the level 10 * number."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (10 * number,) * 3).save(file, kind)
    return file.getvalue()


def contents(number):
    """An image file; that of number 5 is damaged."""
    if number == 5:
        return encoded(number)[:40]
    return encoded(number, "JPEG" if number % 2 else "PNG")


def image_feature(number):
    return {"bytes": contents(number), "path": f"{number}.png"}


def make_table():
    return datasets.Dataset.from_dict(
        {
            "caption": [f"number {number}" for number in range(COUNT)],
            "photo": [image_feature(number) for number in range(COUNT)],
            "kind": [number % 2 for number in range(COUNT)],
        },
        features=datasets.Features(
            {
                "caption": datasets.Value("string"),
                "photo": datasets.Image(),
                "kind": datasets.ClassLabel(names=["even", "odd"]),
            }
        ),
    )


def write_sources(root):
    """Write the same images as three sources, in folders."""
    table = make_table()
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(
        root / "hf-dataset"
    )
    (root / "parquet").mkdir()
    for part in range(3):
        rows = table.shard(3, part, contiguous=True)
        rows.to_parquet(root / f"parquet/train-{part}.parquet", batch_size=3)
    (root / "parquet/test-0.parquet").write_bytes(
        (root / "parquet/train-0.parquet").read_bytes()
    )
    (root / "webdataset").mkdir()
    for part, numbers in enumerate(np.array_split(np.arange(COUNT), 3)):
        with wds.TarWriter(f"{root}/webdataset/{part:03}.tar") as writer:
            for number in numbers:
                kind = "jpg" if number % 2 else "png"
                writer.write(
                    {
                        "__key__": f"{number:04}",
                        kind: contents(int(number)),
                        "json": {"label": "odd" if number % 2 else "even"},
                        "txt": "a caption",
                    }
                )


def make(places, kind, **arguments):
    arguments = {"shuffle": True, "drop_remainder": False, **arguments}
    return load(f"{kind}:{places / kind}", 8, 4, transform=WHOLE, **arguments)


def numbers(dataset, labels=False):
    """The images of an epoch, by their gray level."""
    std, mean = dataset.normalization.std[0], dataset.normalization.mean[0]
    found = []
    for batch in dataset:
        images, targets = batch if labels else (batch, None)
        levels = np.asarray(images)[:, 0, 0, 0] * std + mean
        chosen = np.rint(levels * 25.5).astype(int).tolist()
        if labels:
            assert [n % 2 for n in chosen] == np.asarray(targets).tolist()
        found += chosen
    return found
