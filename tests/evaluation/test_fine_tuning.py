"""Fine-tuning: its loss, its parts, soft labels and errors."""

import keras
import numpy as np
import pytest

from keras_clmae.data import ArrayDataset
from keras_clmae.evaluation import ClassificationLoss
from keras_clmae.evaluation import classifier_accuracy
from keras_clmae.evaluation import fine_tune
from keras_clmae.models import ImageClassifier
from keras_clmae.models import ViTEncoder
from keras_clmae.optimizers import LayerDecayAdamW
from tests.once import ONCE

LABELS = np.arange(48) % 2
# Dark and bright images.
IMAGES = np.random.default_rng(0).normal(size=(48, 8, 8, 1))
IMAGES = (IMAGES + 3 * LABELS[:, None, None, None]).astype("float32")


def make_encoder():
    return ViTEncoder((8, 8, 1), 4, 16, 2, 2)


def test_loss_by_hand():
    logits = np.log([[0.5, 0.25, 0.25]]).astype("float32")
    value = float(ClassificationLoss()(np.array([1]), logits))
    assert value == pytest.approx(np.log(4), rel=1e-5)
    # 0.3 / 3 on every class: 0.8 on the second, 0.1 on the others.
    value = float(ClassificationLoss(0.3)(np.array([1]), logits))
    expected = 0.8 * np.log(4) + 0.1 * np.log(4) + 0.1 * np.log(2)
    assert value == pytest.approx(expected, rel=1e-5)
    # Soft labels are taken as they are.
    soft = np.array([[0.5, 0.5, 0.0]], "float32")
    value = float(ClassificationLoss(0.3)(soft, logits))
    assert value == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(4), rel=1e-5)


@pytest.mark.parametrize("ema_momentum", [0.5, pytest.param(None, marks=ONCE)])
def test_learns_and_keeps_the_encoder(ema_momentum):
    encoder = make_encoder()
    before = encoder.get_weights()
    classifier = fine_tune(
        encoder,
        ArrayDataset(IMAGES, LABELS, batch_size=16),
        num_classes=2,
        batch_size=16,
        epochs=8,
        warmup_epochs=1,
        base_learning_rate=0.1,
        ema_momentum=ema_momentum,
    )
    assert classifier_accuracy(classifier, (IMAGES, LABELS)) > 0.9
    for old, new in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    optimizer = classifier.optimizer
    assert isinstance(optimizer, LayerDecayAdamW)
    assert int(optimizer.iterations) == 24
    schedule = optimizer._learning_rate
    rates = [float(schedule(step)) for step in (0, 3, 24)]
    assert rates == pytest.approx([0, 0.1 / 16, 1e-6], abs=1e-7)
    assert classifier.encoder.drop_path_rate == 0.1


@ONCE
def test_soft_labels_and_another_image_size(tmp_path):
    soft = np.eye(2, dtype="float32")[LABELS] * 0.9 + 0.05
    larger = np.repeat(np.repeat(IMAGES, 2, axis=1), 2, axis=2)
    dataset = ArrayDataset(larger, soft, batch_size=16)
    classifier = fine_tune(
        make_encoder(),
        dataset,
        num_classes=2,
        batch_size=16,
        epochs=1,
        warmup_epochs=0,
        image_shape=(16, 16, 1),
    )
    classifier.save(tmp_path / "classifier.keras")
    restored = keras.saving.load_model(tmp_path / "classifier.keras")
    evaluated = restored.evaluate(dataset, verbose=0, return_dict=True)
    accuracy = classifier_accuracy(classifier, (larger, LABELS))
    assert float(evaluated["accuracy"]) == pytest.approx(accuracy, abs=1e-6)


@ONCE
def test_errors():
    dataset = ArrayDataset(IMAGES, LABELS + 1, batch_size=16)
    arguments = {"num_classes": 2, "batch_size": 16, "warmup_epochs": 0}
    with pytest.raises(ValueError, match=r"`y`.*\[0, 2\).*from 1 to 2"):
        fine_tune(make_encoder(), dataset, **arguments)
    with pytest.raises(ValueError, match="`train_dataset` must know"):
        fine_tune(make_encoder(), iter(()), **arguments)
    with pytest.raises(ValueError, match="`label_smoothing`"):
        ClassificationLoss(1.0)
    classifier = ImageClassifier(make_encoder(), 2)
    with pytest.raises(ValueError, match="`dataset`.*from 1 to 2"):
        classifier_accuracy(classifier, dataset)
