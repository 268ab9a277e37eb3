"""`keras-clmae convert`."""

import json
import re

import keras
import numpy as np
import pytest

from keras_clmae import cli
from keras_clmae.conversion import checking
from keras_clmae.conversion import formats
from keras_clmae.conversion import to_timm
from keras_clmae.data import digits_normalization
from keras_clmae.data.normalization import imagenet_normalization
from keras_clmae.evaluation import extract_features
from keras_clmae.models import ImageClassifier
from keras_clmae.runs.normalization import source_normalization
from tests.conversion.reference_models import array
from tests.conversion.reference_models import assert_near
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae

pytest.importorskip("jsonargparse")
pytest.importorskip("rich")

pytestmark = ONCE
if keras.backend.backend() != "torch":
    pytest.skip("the same on every backend", allow_module_level=True)

SQUARE = {"image_shape": (8, 8, 3)}
HEADS = ("--num_heads=2", "--decoder_num_heads=2")


@pytest.fixture
def convert(monkeypatch, capsys):
    """Runs the program; gives its exit status and what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        status = 0
        try:
            cli.run(["convert", *map(str, arguments)])
        except SystemExit as ended:
            status = ended.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


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


def test_which_weights_of_a_file(convert, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    model = tiny_autoencoder(**SQUARE)
    to_timm(model.encoder, tmp_path / "plain.pth")
    plain = torch.load(tmp_path / "plain.pth", weights_only=True)["model"]
    teacher = {f"backbone.{name}": value for name, value in plain.items()}
    student = {name: 0 * value for name, value in teacher.items()}
    path = tmp_path / "both.pth"
    torch.save({"student": student, "teacher": teacher}, path)
    target = tmp_path / "vit.keras"
    heads = HEADS[:1]
    status, printed = convert(path, target, *heads)
    assert status == 1 and "`key` must say" in printed
    status, printed = convert(path, target, *heads, "--key=teacher")
    assert status == 1 and "`prefix` must say" in printed
    which = ("--key=teacher", "--prefix=backbone.")
    status, printed = convert(path, target, *heads, *which, "--check")
    assert status == 0, printed
    encoder = keras.saving.load_model(target)
    for one, other in zip(encoder.weights, model.encoder.weights, strict=True):
        np.testing.assert_array_equal(array(one), array(other))
    # The commands that use an encoder take the same options.
    # Uniform, so that the central window is the whole image.
    images = np.ones((4, 8, 8, 3), "uint8")
    images *= np.arange(0, 200, 50, "uint8")[:, None, None, None]
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        np.save(tmp_path / "images" / f"{number}.npy", image)
    features = tmp_path / "features.npy"
    words = ["embed", str(path), str(tmp_path / "images"), *heads, *which]
    cli.run([*words, f"--output={features}", "--verbose=0"])
    expected = extract_features(
        model.encoder, imagenet_normalization(3)(images), verbose=0
    )[0]
    assert_near(np.load(features), expected)
    folder = tmp_path / "vit"
    cli.run(
        ["export", str(path), "huggingface", *heads, *which]
        + [f"--output={folder}"]
    )
    assert (folder / "config.json").exists()


def test_nothing_is_dropped_silently(convert, tmp_path):
    tiny_clmae(**SQUARE).save(tmp_path / "a.keras")
    target = tmp_path / "vit.safetensors"
    status, printed = convert(tmp_path / "a.keras", target)
    assert status == 1 and "--allow_missing" in printed
    assert "masking_module" in printed or "decoder" in printed
    assert not target.exists()
    status, printed = convert(tmp_path / "a.keras", target, "--allow-missing")
    assert status == 0 and target.exists()
    assert "without a place in the target, dropped" in printed
    printed = " ".join(printed.split())
    assert re.search(r"the masking module \(\d\d weights\)$", printed)
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


def test_errors_are_one_line(convert, tmp_path, monkeypatch):
    tiny_autoencoder(**SQUARE).save(tmp_path / "a.keras")
    a = tmp_path / "a.keras"
    for arguments, message in (
        (("nowhere", "x"), "`source` must be a .keras"),
        ((a, "x", "--source_format=odd"), "`source_format` must be"),
        ((a, tmp_path / "vit.safetensor"), "`target` must end in .keras,"),
        ((a, tmp_path / "x", "--mean=[0.5]"), "`mean` and `std` must be given"),
        (
            (a, tmp_path / "x.pth", "--mean=[0.5]", "--std=[0.5]"),
            "`normalization` has a place in a folder of Hugging Face only",
        ),
        (("hf://../x", "x"), "`preset` must have the form hf://USER/MODEL"),
    ):
        status, printed = convert(*arguments)
        *before, last = printed.splitlines()
        assert status and last.startswith("error: ") and message in last
        # Of the license.
        assert len(before) <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.keras"]

    def fails(*_):
        raise RuntimeError("this library\n\tdoes not like it")

    monkeypatch.setattr(checking, "outputs_by_library", fails)
    status, printed = convert(a, tmp_path / "b.keras", "--check")
    assert status == 1
    last = printed.splitlines()[-1]
    assert last == "error: this library does not like it"


def processor(folder):
    text = (folder / "preprocessor_config.json").read_text()
    content = json.loads(text)
    return content["image_mean"], content["image_std"]


def test_the_mean_and_deviation_of_the_training(convert, tmp_path):
    pytest.importorskip("safetensors")
    run = tmp_path / "run"
    run.mkdir()
    tiny_autoencoder(**SQUARE).encoder.save(run / "model.keras")
    # Nothing is known.
    _, printed = convert(run / "model.keras", tmp_path / "a")
    assert "has ImageNet's mean" in printed
    assert processor(tmp_path / "a")[0] == [0.485, 0.456, 0.406]
    # A run says it, by its folder and by a file in it.
    (run / "normalization.json").write_text(
        '{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}'
    )
    for source in (run, run / "model.keras"):
        _, printed = convert(source, tmp_path / "b")
        assert "has the mean 0.1, 0.2, 0.3" in printed
        assert processor(tmp_path / "b") == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    # From one folder of Hugging Face to another, and by hand.
    convert(tmp_path / "b", tmp_path / "c")
    assert processor(tmp_path / "c") == processor(tmp_path / "b")
    given = ("--mean=[0.7, 0.8, 0.9]", "--std=[0.1, 0.1, 0.1]")
    convert(run, tmp_path / "d", *given)
    assert processor(tmp_path / "d") == ([0.7, 0.8, 0.9], [0.1, 0.1, 0.1])


def test_the_mean_and_deviation_of_runs_without_a_file(convert, tmp_path):
    pytest.importorskip("sklearn")
    path = tmp_path / "config.yaml"
    expected = digits_normalization()
    for text, channels, mean in (
        ("data: digits", 1, expected.mean),
        ("data: folder:photos", 3, [0.485, 0.456, 0.406]),
        ("data: folder:photos\nstatistics: imagenet", 3, [0.485, 0.456, 0.406]),
        ("data: folder:photos\nstatistics: from_data", 3, None),
        ("data: folder:photos", 5, None),
        ("model_type: vit", 3, None),
    ):
        path.write_text(text)
        found = source_normalization(str(tmp_path), channels)
        if mean is None:
            assert found is None, text
        else:
            np.testing.assert_allclose(found.mean, mean, rtol=1e-6)


def test_presets_on_a_hub(convert, tmp_path, monkeypatch):
    """Whatever is there: a preset of ours, or a model of Hugging Face's."""
    encoder = tiny_autoencoder(**SQUARE).encoder
    encoder.save_to_preset(str(tmp_path / "preset"))
    monkeypatch.setattr(
        formats, "download_preset", lambda handle: str(tmp_path / "preset")
    )
    for handle in ("hf://me/tiny", "hf://me/tiny@v1", "kaggle://me/a/keras/b"):
        status, printed = convert(handle, tmp_path / "e.pth", "--check")
        assert status == 0 and "CC BY-NC" not in printed, printed
    (tmp_path / "preset" / "config.json").write_text('{"model_type": "vit"}')
    assert formats.local_source("hf://me/tiny") == "hf://me/tiny"


@pytest.mark.parametrize(
    "name",
    ["ViTForImageClassification", "ViTModel", "ViTForPreTraining"],
)
def test_check_takes_the_revision(name):
    """Every model of transformers is loaded at the revision that was asked."""
    asked = []

    class Fake:
        architectures = [name]

        @classmethod
        def from_pretrained(cls, path, revision=None, **_):
            asked.append((path, revision))
            if len(asked) > 1:
                raise LookupError
            return cls()

    class Transformers:
        AutoConfig = ViTForImageClassification = ViTModel = ViTMAEModel = Fake

    images = np.zeros((1, 8, 8, 3), "float32")
    with pytest.raises(LookupError):
        checking._by_transformers(
            Transformers, "hf://a/b@v1", None, images, images
        )
    assert asked == [("a/b", "v1")] * 2


def test_endings_of_targets(tmp_path):
    encoder = tiny_autoencoder(**SQUARE).encoder
    (tmp_path / "v1.5").mkdir()
    for name, expected in (
        ("a.keras", "keras"),
        ("a.safetensors", "timm"),
        ("a.pt", "published"),
        ("my-vit", "huggingface"),
        ("my-vit/", "huggingface"),
        ("v1.5", "huggingface"),
    ):
        target = str(tmp_path / name)
        assert formats.guess_target_format(target, encoder) == expected
    for name in ("vit.safetensor", "vit.onnx", "v1.6"):
        with pytest.raises(ValueError, match="`target` must end in .keras"):
            formats.guess_target_format(str(tmp_path / name), encoder)
