"""Training from every source, and what works without TensorFlow."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_clmae import optional_imports
from keras_clmae.curriculum import LinearCurriculum
from keras_clmae.data import load
from keras_clmae.models import ImageClassifier
from keras_clmae.optimizers import AdamW
from tests.data.pictures import save_picture
from tests.once import ONCE
from tests.tiny_models import tiny_clmae


def small_model():
    return tiny_clmae(image_shape=(32, 32, 3), patch_size=8)


def pretrain(dataset, epochs=1):
    model = small_model()
    total_steps = dataset.steps_per_epoch * epochs
    model.compile(
        AdamW(1e-3),
        curriculum=LinearCurriculum(total_steps),
    )
    history = model.fit(dataset, epochs=epochs, shuffle=False, verbose=0)
    return model, {name: float(v[-1]) for name, v in history.history.items()}


def test_pretraining_from_the_cifar10_folder(cifar10):
    dataset = load(f"folder:{cifar10.parent}", 32, batch_size=16, channels=3)
    assert dataset.num_examples == 50 and dataset.steps_per_epoch == 3
    model, logs = pretrain(dataset, epochs=2)
    assert np.isfinite(list(logs.values())).all()
    # The curriculum has just arrived at its end.
    assert logs["curriculum_factor"] < 0
    features = model.encoder.predict(dataset, verbose=0)
    assert features.shape[0] == 48


@ONCE
def test_pretraining_from_imagenet_examples():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=8):
        dataset = load("tfds:imagenet2012", 32, batch_size=4)
        _, logs = pretrain(dataset)
    assert np.isfinite(list(logs.values())).all()


@ONCE
def test_fine_tuning_from_the_cifar10_folder(cifar10):
    model = small_model()
    classifier = ImageClassifier(model.encoder, num_classes=10)
    classifier.compile(
        AdamW(1e-3),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    training, validation = load(
        f"folder:{cifar10}",
        32,
        batch_size=10,
        transform="fine_tune",
        labels=True,
        validation_split=0.2,
        subset="both",
        channels=3,
    )
    history = classifier.fit(
        training, validation_data=validation, shuffle=False, verbose=0
    )
    assert np.isfinite(float(history.history["val_loss"][-1]))


@ONCE
@pytest.mark.parametrize(
    ("spec", "arguments", "message"),
    [
        ("digit", {}, "`spec`"),
        ("folder:", {"image_size": 8}, "`spec`"),
        ("folder:pictures", {}, "`image_size`"),
        ("digits", {"image_size": 32}, "`image_size`"),
        ("folder:pictures", {"image_size": 8, "split": "test"}, "`split`"),
    ],
)
def test_bad_specifications(spec, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(spec, **arguments)


def split_names(tmp_path, names):
    """Classes, or none, of `data.load` for folders of these names."""
    for name in names:
        save_picture(tmp_path / name / "x" / "p.png")
        save_picture(tmp_path / name / "y" / "p.png")
    dataset = load(f"folder:{tmp_path}", 8, batch_size=1, labels=True)
    return dataset.class_names


@ONCE
@pytest.mark.parametrize(
    "others", [(), ("test",), ("val", "test2", "train_extra"), ("Validation",)]
)
def test_a_folder_train_among_splits(tmp_path, others):
    assert split_names(tmp_path, ("train", *others)) == ["x", "y"]


@ONCE
def test_a_folder_train_among_classes(tmp_path):
    with pytest.warns(UserWarning, match="'train' lies 'bus'.*alone pass"):
        names = split_names(tmp_path, ("train", "bus", "car"))
    assert names == ["bus", "car", "train"]


@ONCE
def test_digits_by_name():
    dataset = load("digits", split="test", transform="evaluation")
    np.testing.assert_array_equal(dataset[0], load("digits", split="test")[0])


@ONCE
@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="is TensorFlow"
)
def test_arrays_and_digits_need_no_tensorflow():
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import keras_clmae.data as data\n"
        "assert len(data.digits()) and 'keras_cv' not in sys.modules\n"
        "data.image_folder('.', 8, 1)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert 'pip install "keras-clmae[data]"' in process.stderr


@ONCE
def test_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(optional_imports._EXTRAS, "no_such_package", "data")
    with pytest.raises(ImportError, match=r"`no_such_package`.*\[data\]"):
        optional_imports.require("no_such_package", "A test")


def test_gpus_are_hidden_from_tensorflow(monkeypatch):
    tf = optional_imports.require("tensorflow", "A test")
    hidden = []
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda *each: hidden.append(each)
    )
    assert optional_imports.require("tensorflow", "A test") is tf
    runs_on_it = keras.backend.backend() == "tensorflow"
    assert hidden == ([] if runs_on_it else [([], "GPU")])
