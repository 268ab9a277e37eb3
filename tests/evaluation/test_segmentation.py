"""Segmentation: scores by hand, fine-tuning, and that pretraining shows."""

import keras
import numpy as np
import pytest

from keras_clmae.data import ArrayDataset
from keras_clmae.data import load_digits_arrays
from keras_clmae.evaluation import fine_tune_segmenter
from keras_clmae.evaluation import segmentation_scores
from keras_clmae.evaluation import segmenter_mean_iou
from keras_clmae.evaluation import untrained_copy
from keras_clmae.models import ImageSegmenter
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.optimizers import AdamW
from keras_clmae.optimizers import LayerDecayAdamW
from keras_clmae.optimizers import warmup_cosine
from tests.once import ONCE

IMAGES = np.random.default_rng(0).normal(size=(12, 8, 8, 1))
MASKS = np.zeros((12, 8, 8), "uint8")
MASKS[::2] = 1
# Dark and bright images.
IMAGES = (IMAGES + 3 * MASKS[..., None]).astype("float32")


def make_encoder():
    return ViTEncoder((8, 8, 1), 4, 16, 1, 2)


@ONCE
def test_scores_by_hand(monkeypatch):
    segmenter = ImageSegmenter(make_encoder(), 3)
    masks = np.full((2, 8, 8), 255, "uint8")
    masks[0, 0, :4] = [0, 0, 0, 1]
    predicted = np.full((2, 8, 8), 2)
    predicted[0, 0, :4] = [0, 0, 1, 1]
    pairs = iter(predicted[:, None])
    monkeypatch.setattr(
        segmenter, "predict_classes", lambda images, batch_size: next(pairs)
    )
    # One image per batch, the second one all ignored.
    scores = segmentation_scores(segmenter, (IMAGES[:2], masks), batch_size=1)
    # Two of three pixels of class 0; one of two in either of class 1.
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores["pixel_accuracy"] == 0.75
    assert scores["class_iou"][:2] == pytest.approx([2 / 3, 1 / 2])
    assert np.isnan(scores["class_iou"][2])


def test_learns_and_keeps_the_encoder():
    encoder = make_encoder()
    before = encoder.get_weights()
    dataset = ArrayDataset(IMAGES, MASKS, batch_size=4)
    segmenter = fine_tune_segmenter(
        encoder,
        dataset,
        num_classes=2,
        batch_size=4,
        epochs=12,
        warmup_epochs=1,
        base_learning_rate=1.0,
    )
    score = segmenter_mean_iou(segmenter, (IMAGES, MASKS))
    # One class everywhere gives 0.25. The lowest of the backends reaches 0.77.
    assert score > 0.65
    # The metric that `fit` shows is the same.
    logged = segmenter.evaluate(dataset, verbose=0, return_dict=True)
    assert float(logged["mean_iou"]) == pytest.approx(score, abs=1e-5)
    for old, new in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    optimizer = segmenter.optimizer
    assert isinstance(optimizer, LayerDecayAdamW)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 3, 36)]
    assert rates == pytest.approx([0, 1 / 64, 1e-6], abs=1e-7)
    assert segmenter.encoder.drop_path_rate == 0.1


@ONCE
def test_errors():
    segmenter = ImageSegmenter(make_encoder(), 2)
    with pytest.raises(ValueError, match="`dataset` must give pairs"):
        segmentation_scores(segmenter, IMAGES)
    with pytest.raises(ValueError, match=r"`dataset`.*\[0, 2\).*: 2"):
        segmentation_scores(segmenter, (IMAGES, MASKS * 2))
    with pytest.raises(ValueError, match="`dataset` must hold pixels"):
        segmentation_scores(segmenter, (IMAGES, np.full_like(MASKS, 255)))
    arguments = {"num_classes": 2, "batch_size": 16, "warmup_epochs": 0}
    with pytest.raises(ValueError, match="`train_dataset` must know"):
        fine_tune_segmenter(make_encoder(), iter(()), **arguments)
    with pytest.raises(ValueError, match="`y`.*: 2"):
        dataset = ArrayDataset(IMAGES, MASKS * 2)
        fine_tune_segmenter(make_encoder(), dataset, **arguments)


def canvases(split, number, seed):
    """Pairs of scans side by side; ink has the class of its digit."""
    images, labels = load_digits_arrays()[split]
    images, labels = images[labels < 5], labels[labels < 5]
    drawn = np.random.default_rng(seed).integers(len(images), size=(number, 2))
    pixels = np.concatenate([images[drawn[:, 0]], images[drawn[:, 1]]], axis=2)
    classes = 1 + labels[drawn].repeat(8, axis=1)[:, np.newaxis]
    # A quarter of the way from paper to full ink.
    paper, full = images.min(), images.max()
    ink = pixels[..., 0] > paper + 0.25 * (full - paper)
    return pixels, np.where(ink, classes, 0)


@ONCE
@pytest.mark.slow
def test_pretraining_shows_on_few_labels():
    pytest.importorskip("sklearn")
    model = MaskedAutoencoder.from_sizes(
        image_shape=(8, 16, 1),
        patch_size=2,
        hidden_dim=48,
        num_layers=2,
        num_heads=4,
        decoder_hidden_dim=32,
        decoder_num_layers=1,
        decoder_num_heads=4,
        mask_ratio=0.5,
        seed=0,
    )
    schedule = warmup_cosine(4e-3, 575, 47)
    model.compile(AdamW(schedule, weight_decay=0.05, beta_2=0.95))
    unlabelled, _ = canvases(0, 1500, seed=0)
    model.fit(unlabelled, batch_size=64, epochs=25, verbose=0)
    test = canvases(1, 200, seed=99)
    gains = []
    for seed in range(3):
        few = canvases(0, 32, seed=1000 + seed)
        dataset = ArrayDataset(
            *few, batch_size=16, seed=seed, drop_remainder=True
        )
        scores = []
        for make in (lambda encoder: encoder, untrained_copy):
            keras.utils.set_random_seed(seed)
            segmenter = fine_tune_segmenter(
                make(model.encoder),
                dataset,
                num_classes=6,
                batch_size=16,
                epochs=30,
                base_learning_rate=6e-3 * 256 / 16,
                layer_decay=0.8,
                drop_path_rate=0.0,
            )
            scores.append(segmenter_mean_iou(segmenter, test, 50))
        gains.append(scores[0] - scores[1])
    # Measured on PyTorch: 0.33, 0.30 and 0.36 from the pretrained encoder, and
    # 0.26, 0.29 and 0.27 from scratch.
    assert np.mean(gains) > 0.02
