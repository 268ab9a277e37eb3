"""`ImageSegmenter`: its head, loss, metric, labels, image sizes and files."""

import keras
import numpy as np
import pytest

from keras_clmae.data import ArrayDataset
from keras_clmae.models import ImageSegmenter
from keras_clmae.models import MeanIoU
from keras_clmae.models import ViTEncoder
from keras_clmae.optimizers import LayerDecayAdamW
from keras_clmae.saving.keras_files import load_keras_model
from tests.once import ONCE

RANDOM = np.random.default_rng(0)
# The class of a pixel is the brightness of its patch.
COARSE = RANDOM.integers(0, 3, (16, 2, 3))
MASKS = np.kron(COARSE, np.ones((4, 4), int)).astype("uint8")
IMAGES = RANDOM.normal(size=(16, 8, 12, 2)) + 2.0 * MASKS[..., None]
IMAGES = IMAGES.astype("float32")
MASKS[:, 0] = 255


def make_encoder(**kwargs):
    return ViTEncoder((8, 12, 2), 4, 16, 1, 2, **kwargs)


def compiled(optimizer=None, **kwargs):
    segmenter = ImageSegmenter(make_encoder(), 3, **kwargs)
    segmenter.compile(optimizer or LayerDecayAdamW(1e-2))
    return segmenter


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_mean_iou_by_hand():
    metric = MeanIoU(4, ignore_class=255)
    masks = np.array([[[0, 0, 1, 1], [2, 2, 2, 255]]], "uint8")
    predicted = np.array([[[0, 1, 1, 1], [2, 0, 0, 2]]])
    metric.update_state(masks, np.eye(4, dtype="float32")[predicted])
    # Class 0: 1 of 4 pixels in either; 1: 2 of 3; 2: 1 of 3. There is no 3,
    # and the pixel that is ignored makes no false positive of class 2.
    expected = (1 / 4 + 2 / 3 + 1 / 3) / 3
    assert float(metric.result()) == pytest.approx(expected, abs=1e-5)
    # Batches add up: class 3 comes in, twice right.
    masks, predicted = np.full((1, 1, 2), 3), np.full((1, 1, 2), 3)
    metric.update_state(masks, np.eye(4, dtype="float32")[predicted])
    expected = (1 / 4 + 2 / 3 + 1 / 3 + 1) / 4
    assert float(metric.result()) == pytest.approx(expected, abs=1e-5)
    again = MeanIoU.from_config(metric.get_config())
    assert again.get_config() == metric.get_config()


def test_loss_by_hand():
    segmenter = compiled()
    logits = np.zeros((1, 8, 12, 3), "float32")
    logits[..., 1] = np.log(2)
    masks = np.full((1, 8, 12), 255, "uint8")
    masks[0, 0, :4] = [0, 1, 1, 2]
    loss = segmenter.compute_loss(y=keras.ops.array(masks), y_pred=logits)
    # Probabilities are 1/4, 1/2, 1/4: of four pixels, none of the ignored.
    expected = (2 * np.log(4) + 2 * np.log(2)) / 4
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@ONCE
def test_head_by_hand():
    """Two layers: every token becomes four by four pixels of its own."""
    encoder = make_encoder()
    segmenter = ImageSegmenter(encoder, 3)
    assert segmenter.num_upsampling_layers == 2
    # Files hold the state of optimizers in this order.
    head = segmenter.trainable_variables[-10:]
    assert [variable.path.split("/")[-2] for variable in head] == [
        *("upsampling_0", "upsampling_0"),
        *("upsampling_norm_0", "upsampling_norm_0"),
        *("upsampling_1", "upsampling_1"),
        *("upsampling_norm_1", "upsampling_norm_1"),
        *("head", "head"),
    ]
    grid = array(encoder(IMAGES))[:, 1:].reshape(16, 2, 3, 16)
    for layer, norm in zip(
        segmenter.upsampling, segmenter.upsampling_norms, strict=True
    ):
        # (row, column, out, in) of a kernel as large as its stride.
        grid = np.einsum("bijd,rsod->birjso", grid, array(layer.kernel))
        batch, rows, _, columns, _, width = grid.shape
        grid = grid.reshape(batch, 2 * rows, 2 * columns, width)
        grid = norm(grid + array(layer.bias))
        grid = array(keras.ops.gelu(grid, approximate=False))
    expected = grid @ array(segmenter.head.kernel)
    np.testing.assert_allclose(
        array(segmenter(IMAGES)), expected, rtol=1e-4, atol=1e-5
    )


def test_logits_of_large_patches_are_interpolated():
    encoder = ViTEncoder((8, 8, 1), 8, 8, 1, 2)
    segmenter = ImageSegmenter(encoder, 1, num_upsampling_layers=1)
    images = RANDOM.normal(size=(1, 8, 8, 1)).astype("float32")
    logits = array(segmenter(images))[0, :, :, 0]
    # Corners hold the four values; between them they mix by distance.
    (a, b), (c, d) = logits[::7, ::7]
    share = np.array([0, 0, 1, 3, 5, 7, 8, 8]) / 8
    top, bottom = a + share * (b - a), c + share * (d - c)
    expected = top + share[:, None] * (bottom - top)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_fit_learns_remembers_names_and_is_saved(tmp_path):
    segmenter = compiled()
    before = segmenter.encoder.get_weights()
    dataset = ArrayDataset(IMAGES, MASKS, batch_size=8)
    dataset.class_names = ["dark", "medium", "bright"]
    history = segmenter.fit(
        dataset, epochs=20, verbose=0, validation_data=(IMAGES, MASKS)
    ).history
    assert float(history["mean_iou"][-1]) > float(history["mean_iou"][0])
    assert float(history["val_mean_iou"][-1]) > 0.6
    assert any(
        not np.array_equal(old, new)
        for old, new in zip(
            before, segmenter.encoder.get_weights(), strict=True
        )
    )
    segmenter.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.class_names == dataset.class_names
    assert restored.get_config() == segmenter.get_config()
    expected = segmenter.evaluate(IMAGES, MASKS, verbose=0)
    np.testing.assert_allclose(
        restored.evaluate(IMAGES, MASKS, verbose=0), expected, rtol=1e-4
    )
    dataset.class_names = ["bright", "medium", "dark"]
    with pytest.raises(ValueError, match="`y` must number its classes"):
        restored.evaluate(dataset, verbose=0)


class Unseen(keras.utils.PyDataset):
    """Masks that only a compiled step sees."""

    def __init__(self, masks):
        super().__init__()
        self.masks = masks

    def __len__(self):
        return 2

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        return IMAGES[part], self.masks[part]


@pytest.mark.parametrize("ignore_label", [255, -1])
def test_labels_that_only_a_compiled_step_sees(ignore_label):
    segmenter = compiled(ignore_label=ignore_label)
    masks = MASKS.astype("int32")
    masks[masks == 255] = ignore_label
    wrong = masks.copy()
    wrong[5, 3, 2:5] = [3, 9, -2]
    message = rf"in \[0, 3\) or `ignore_label`, {ignore_label}.*: 3 labels"
    with pytest.raises(ValueError, match=message):
        segmenter.evaluate(Unseen(wrong), verbose=0)
    logs = segmenter.evaluate(Unseen(masks), verbose=0, return_dict=True)
    assert sorted(logs) == ["loss", "mean_iou"]
    with pytest.raises(ValueError, match=message):
        segmenter.fit(Unseen(wrong), verbose=0)
    with pytest.raises(ValueError, match=message):
        segmenter.fit(Unseen(masks), validation_data=Unseen(wrong), verbose=0)


@ONCE
@pytest.mark.usefixtures("untraced_test")
def test_a_frozen_encoder_does_not_move():
    segmenter = ImageSegmenter(make_encoder(), 3, freeze_encoder=True)
    segmenter.compile(keras.optimizers.AdamW(1e-2))
    before = segmenter.encoder.get_weights()
    segmenter.fit(IMAGES, MASKS, verbose=0)
    for old, new in zip(before, segmenter.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # Two transposed convolutions and norms, and the linear layer.
    assert len(segmenter.trainable_variables) == 10


@ONCE
def test_other_image_sizes():
    segmenter = ImageSegmenter(make_encoder(), 3, image_shape=(16, 8, 2))
    images = np.zeros((3, 16, 8, 2), "float32")
    assert segmenter.predict(images, verbose=0).shape == (3, 16, 8, 3)
    back = segmenter.with_image_shape((8, 12, 2))
    for own, others in zip(back._head(), segmenter._head(), strict=True):
        for one, other in zip(
            own.get_weights(), others.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    same = segmenter.with_image_shape((16, 8, 2))
    np.testing.assert_array_equal(array(same(images)), array(segmenter(images)))


@ONCE
def test_classes_are_predicted_in_batches():
    segmenter = ImageSegmenter(make_encoder(), 3)
    expected = segmenter.predict(IMAGES, verbose=0).argmax(axis=-1)
    for batch_size in (5, 100):
        classes = segmenter.predict_classes(IMAGES, batch_size)
        assert classes.dtype == "int32"
        np.testing.assert_array_equal(classes, expected)
    with pytest.raises(ValueError, match="`images`"):
        segmenter.predict_classes(IMAGES[:0])


@ONCE
def test_presets(tmp_path):
    segmenter = ImageSegmenter(make_encoder(), 100, class_names=None)
    segmenter.save_to_preset(str(tmp_path / "segmenter"))
    restored = ImageSegmenter.from_preset(str(tmp_path / "segmenter"))
    np.testing.assert_array_equal(
        array(restored(IMAGES)), array(segmenter(IMAGES))
    )
    with pytest.raises(ValueError, match="`overrides`"):
        ImageSegmenter.from_preset(str(tmp_path / "segmenter"), num_classes=2)
    segmenter.encoder.save_to_preset(str(tmp_path / "encoder"))
    new = ImageSegmenter.from_preset(str(tmp_path / "encoder"), num_classes=2)
    assert new.num_classes == 2
    sized = ImageSegmenter.from_preset(
        "vit_tiny_patch4_32",
        load_weights=False,
        num_classes=5,
        num_layers=1,
        ignore_label=-1,
    )
    assert sized.ignore_label == -1 and sized.encoder.num_layers == 1
    segmenter.save(tmp_path / "model.keras")
    # The reader that allocates nothing before it has looked at the sizes.
    assert load_keras_model(tmp_path / "model.keras").num_classes == 100


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 0}, "`num_classes`"),
        ({"encoder": "vit"}, "`encoder` must be a ViTEncoder"),
        ({"ignore_label": 2}, r"`ignore_label`.*\[0, 3\)"),
        ({"ignore_label": 255.0}, "`ignore_label`"),
        ({"class_names": ["a", "b"]}, "`class_names` must hold 3"),
        ({"class_names": ["a", "b", "b"]}, "`class_names`"),
        ({"num_upsampling_layers": 3}, "`num_upsampling_layers`.*0 to 2"),
        ({"image_shape": (8, 12, 3)}, "`image_shape`.*channels, 2"),
    ],
)
@ONCE
def test_errors(arguments, message):
    arguments = {"encoder": make_encoder(), "num_classes": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        ImageSegmenter(**arguments)


@ONCE
@pytest.mark.parametrize(
    "loss, message",
    [
        ("sparse_categorical_crossentropy", "`loss` must take logits"),
        (
            keras.losses.SparseCategoricalCrossentropy(ignore_class=255),
            "from_logits=False",
        ),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "ignore_class=None",
        ),
        (keras.losses.sparse_categorical_crossentropy, "from_logits=False"),
        (keras.losses.CategoricalFocalCrossentropy(), "from_logits=False"),
    ],
)
def test_losses_that_do_not_fit(loss, message):
    with pytest.raises(ValueError, match=message):
        ImageSegmenter(make_encoder(), 3).compile("sgd", loss)


@ONCE
def test_a_metric_of_probabilities():
    with pytest.raises(ValueError, match="`metrics` must take logits"):
        compiled_with = ImageSegmenter(make_encoder(), 3)
        compiled_with.compile(
            "sgd", metrics=["sparse_categorical_crossentropy"]
        )


@pytest.mark.usefixtures("untraced_test")
def test_batches_of_dicts_train_as_pairs():
    pairs, dicts = compiled(), compiled()
    dicts.set_weights(pairs.get_weights())
    expected = pairs.fit(IMAGES, MASKS, shuffle=False, verbose=0)
    history = dicts.fit(
        {"pixel_values": IMAGES, "labels": MASKS}, shuffle=False, verbose=0
    )
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=1e-5)
    with pytest.raises(ValueError, match=r"`y`.*255.*3, 4 in the 16"):
        wrong = MASKS + np.uint8(2) * (MASKS < 3)
        dicts.fit({"image": IMAGES, "label": wrong}, verbose=0)


@ONCE
def test_raw_pixels_are_warned_of():
    with pytest.warns(UserWarning, match="do not look normalized"):
        compiled().fit(100 * IMAGES, MASKS, verbose=0)


@ONCE
def test_masks_that_do_not_fit():
    segmenter = compiled()
    for method in (segmenter.fit, segmenter.evaluate):
        with pytest.raises(ValueError, match=r"`y`.*255.*3, 4 in the 16"):
            method(IMAGES, MASKS + np.uint8(2) * (MASKS < 3), verbose=0)
        with pytest.raises(ValueError, match=r"`y`.*\(batch, 8, 12\).*12, 1\)"):
            method(IMAGES, MASKS[..., None], verbose=0)
        with pytest.raises(ValueError, match=r"`y`.*dtype=float32"):
            method(IMAGES, MASKS.astype("float32"), verbose=0)
        with pytest.raises(ValueError, match="`y`.*: -1"):
            method(ArrayDataset(IMAGES, MASKS.astype(int) - 1), verbose=0)
        dataset = ArrayDataset(IMAGES, MASKS)
        dataset.num_classes = 4
        with pytest.raises(ValueError, match="`y`.*data set of 4 classes"):
            method(dataset, verbose=0)
        dataset.num_classes, dataset.ignore_label = 3, 0
        with pytest.raises(ValueError, match="`y`.*ignore_label=0"):
            method(dataset, verbose=0)
    with pytest.raises(ValueError, match="`validation_data`.*3"):
        wrong = np.full_like(MASKS, 3)
        segmenter.fit(IMAGES, MASKS, validation_data=(IMAGES, wrong), verbose=0)
    with pytest.raises(ValueError, match="`y` must be integer masks.*None"):
        segmenter.fit(IMAGES, verbose=0)
