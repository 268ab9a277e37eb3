"""The converter from the command line."""

import importlib
import pathlib
import sys

import keras
import numpy as np
import pytest

from keras_clmae.models import ImageClassifier
from tests.conversion.reference_models import array
from tests.conversion.reference_models import assert_near
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae

pytest.importorskip("jsonargparse")
pytest.importorskip("rich")
if keras.backend.backend() != "torch":
    pytest.skip("the same on every backend", allow_module_level=True)

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
SQUARE = {"image_shape": (8, 8, 3)}
HEADS = ("--num_heads=2", "--decoder_num_heads=2")


@pytest.fixture
def convert(monkeypatch, capsys):
    """Runs the program; gives its exit status and what it printed."""
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setenv("COLUMNS", "200")
    program = importlib.import_module("convert_checkpoint")

    def run(*arguments):
        status = program.main([str(argument) for argument in arguments])
        return status, capsys.readouterr().out

    yield run
    sys.modules.pop("convert_checkpoint")


@pytest.mark.filterwarnings("ignore")
def test_a_round_trip_through_every_format(convert, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("keras_hub")
    model = tiny_autoencoder(**SQUARE)
    model.save(tmp_path / "a.keras")
    steps = [
        ("a.keras", "huggingface"),
        ("huggingface", "mae.pth", "--check"),
        ("mae.pth", "vit.safetensors", "--encoder-only", *HEADS, "--check"),
        ("vit.safetensors", "hub", "--target_format=keras_hub", *HEADS[:1]),
        ("hub", "vit", "--check"),
        ("vit", "vit.keras"),
        ("vit.keras", "preset", "--target_format=keras"),
        ("preset", "b.pth"),
    ]
    for source, target, *options in steps:
        status, printed = convert(
            tmp_path / source, tmp_path / target, *options
        )
        assert status == 0, printed
        assert "encoder.blocks.0.attention.qkv_kernel" in printed
        ours = source.endswith(".keras") or source == "preset"
        assert ("CC BY-NC 4.0" in printed) != ours
        assert ("agree with those" in printed) == ("--check" in options)
    encoder = keras.saving.load_model(tmp_path / "vit.keras")
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    images = images.astype("float32")
    assert_near(encoder(images), array(model.encoder(images)))


def test_nothing_is_dropped_silently(convert, tmp_path):
    tiny_clmae(**SQUARE).save(tmp_path / "a.keras")
    target = tmp_path / "vit.safetensors"
    status, printed = convert(tmp_path / "a.keras", target)
    assert status == 1 and "--allow-missing" in printed
    assert "masking_module" in printed or "decoder" in printed
    assert not target.exists()
    status, printed = convert(tmp_path / "a.keras", target, "--allow-missing")
    assert status == 0 and target.exists()
    assert "without a place in the target, dropped" in printed
    # The other way: a decoder that is not there.
    again = tmp_path / "again.keras"
    tiny_autoencoder(**SQUARE).encoder.save(tmp_path / "e.keras")
    convert(tmp_path / "e.keras", tmp_path / "e.pth")
    arguments = (tmp_path / "e.pth", again, "--source_format=published", *HEADS)
    status, printed = convert(*arguments)
    assert status == 1 and "lacks mask_token" in printed
    assert not again.exists()
    status, printed = convert(*arguments, "--allow-missing")
    assert status == 0 and "missing in the source, at random" in printed


def test_another_image_size(convert, tmp_path):
    tiny_autoencoder(**SQUARE).save(tmp_path / "a.keras")
    target = tmp_path / "larger.keras"
    status, _ = convert(
        tmp_path / "a.keras", target, "--image_shape=[12,16,3]", "--check"
    )
    assert status == 0
    assert keras.saving.load_model(target).image_shape == (12, 16, 3)


def test_check_finds_a_difference(convert, tmp_path, monkeypatch):
    from keras_clmae.conversion import checking

    classifier = ImageClassifier(
        tiny_autoencoder(**SQUARE).encoder, 3, pooling="class_token"
    )
    classifier.save(tmp_path / "a.keras")
    arguments = (tmp_path / "a.keras", tmp_path / "vit.pth", "--check")
    assert convert(*arguments)[0] == 0
    monkeypatch.setattr(
        checking,
        "outputs_by_library",
        lambda *_: ("other", {"logits": np.ones((2, 3), "float32")}),
    )
    status, printed = convert(*arguments)
    assert status == 1 and "DIFFER" in printed


def test_errors_are_one_line(convert, tmp_path):
    for arguments, message in (
        (("nowhere", "x"), "`source` must be a .keras"),
        (("nowhere", "x", "--source_format=odd"), "`source_format` must be"),
    ):
        status, printed = convert(*arguments)
        assert status == 1 and message in printed.replace("\n", " ")
