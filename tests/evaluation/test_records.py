"""Stored scores and the table that is made of them."""

import contextlib
import importlib.metadata
import json

import pytest

from keras_clmae.evaluation import make_record
from keras_clmae.evaluation import markdown_table
from keras_clmae.evaluation import read_records
from keras_clmae.evaluation import run_name
from keras_clmae.evaluation import write_record
from tests.once import ONCE

pytestmark = ONCE


def record(accuracy, seed=0, name="mae", random=None, **settings):
    scores = {"pretrained": {"accuracy": accuracy}}
    if random is not None:
        scores["random"] = {"accuracy": random}
    settings = {"seed": seed, "source": f"{name}_seed{seed}", **settings}
    return make_record(name, "knn k=20", "cifar10", scores, settings, 1.5)


def rows(records):
    return markdown_table(records).splitlines()[2:]


def test_mean_and_spread_over_seeds_by_hand():
    records = [
        record(accuracy, seed=seed, random=0.3)
        for seed, accuracy in enumerate((0.40, 0.42, 0.44))
    ]
    assert rows(records) == [
        "| mae | cifar10 | knn k=20 |  | 3 | 42.0 ± 2.0 | 30.0 ± 0.0 |"
    ]


def test_runs_of_other_settings_get_a_row_that_says_so():
    records = [record(0.4, k=20, pooling="mean"), record(0.5, k=20)]
    records[1]["settings"]["pooling"] = "class_token"
    assert rows(records) == [
        "| mae | cifar10 | knn k=20 | pooling=class_token | 1 | 50.0 |  |",
        "| mae | cifar10 | knn k=20 | pooling=mean | 1 | 40.0 |  |",
    ]


def test_seeds_share_a_row_wherever_they_were_saved():
    records = [
        record(0.4, seed=seed, save=f"{seed}.keras", cache=None)
        for seed in (0, 1)
    ]
    assert len(rows(records)) == 1 and "| 2 |" in rows(records)[0]


def test_rows_are_sorted_by_name():
    got = rows([record(0.5, name="mae"), record(0.6, name="clmae")])
    assert [row.split(" | ")[0] for row in got] == ["| clmae", "| mae"]


def test_the_same_run_twice():
    assert len(rows([record(0.4), record(0.4)])) == 1
    assert "| 1 |" in rows([record(0.4), record(0.4)])[0]
    with pytest.raises(ValueError, match="recorded twice.*'mae'"):
        rows([record(0.4), record(0.5)])


def test_the_same_run_with_and_without_its_baseline():
    records = [
        record(0.4, random=0.3, baseline="random"),
        record(0.4, baseline=None),
    ]
    for order in (records, records[::-1]):
        assert rows(order) == [
            "| mae | cifar10 | knn k=20 |  | 1 | 40.0 | 30.0 |"
        ]


def test_files(tmp_path):
    paths = [str(tmp_path / "deep" / f"{i}.json") for i in range(2)]
    for seed, path in enumerate(paths):
        write_record(record(0.4 + seed / 10, seed=seed), path)
    (tmp_path / "deep" / "other.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "deep" / "broken.json").write_text("{")
    records = read_records([str(tmp_path)])
    assert [each["settings"]["seed"] for each in records] == [0, 1]
    assert read_records(paths) == records
    assert {"keras_clmae", "keras", "numpy", "backend"} <= set(
        records[0]["versions"]
    )
    installed = records[0]["versions"]
    for package in ("jax", "tensorflow", "torch", "scikit-learn", "keras-cv"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            expected = importlib.metadata.version(package)
            assert installed[package] == expected
    assert records[0]["finished"].endswith("+00:00")
    with pytest.raises(ValueError, match="`paths`.*other.json"):
        read_records([str(tmp_path / "deep" / "other.json")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="`paths`.*at least one score"):
        read_records([str(tmp_path / "empty")])


@pytest.mark.parametrize(
    "source, name",
    [
        ("runs/cifar10_seed3", "runs/cifar10"),
        ("runs/cifar10-seed-3/model.keras", "runs/cifar10"),
        ("runs/digits/", "runs/digits"),
        ("clmae.pth", "clmae.pth"),
    ],
)
def test_run_name(source, name):
    assert run_name(source) == name
