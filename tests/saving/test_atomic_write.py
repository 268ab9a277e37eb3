import os

import pytest

from keras_clmae.saving import atomic_write
from tests.once import ONCE

pytestmark = ONCE


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path):
    target = tmp_path / "scores.json"
    target.write_text("old")
    with atomic_write(target) as unfinished:
        write(unfinished, "new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["scores.json"]


def test_the_old_file_stays_if_the_block_raises(tmp_path):
    target = tmp_path / "scores.json"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"):
        with atomic_write(target) as unfinished:
            write(unfinished, "ne")
            raise RuntimeError("halfway")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.json"]


def test_nothing_is_left_if_nothing_was_written(tmp_path):
    with pytest.raises(FileNotFoundError):
        with atomic_write(tmp_path / "scores.json"):
            pass
    assert os.listdir(tmp_path) == []


def test_the_unfinished_file_keeps_the_endings(tmp_path):
    with atomic_write(tmp_path / "model.weights.h5") as unfinished:
        assert unfinished.endswith("model.weights.h5")
        write(unfinished, "x")
