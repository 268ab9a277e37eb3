"""`ImageClassifier`: heads, freezing, other image sizes, fit and saving."""

import keras
import numpy as np
import pytest

from keras_clmae.data import ArrayDataset
from keras_clmae.evaluation import classifier_accuracy
from keras_clmae.models import ImageClassifier
from keras_clmae.models import ViTEncoder
from keras_clmae.models import copy_encoder
from keras_clmae.models import interpolate_position_table
from keras_clmae.optimizers import LARS
from keras_clmae.optimizers import LayerDecayAdamW
from tests.once import ONCE

RANDOM = np.random.default_rng(0)
LABELS = np.arange(24) % 3
# Images that a linear head can tell apart by their brightness.
IMAGES = RANDOM.normal(size=(24, 8, 8, 1)) + LABELS[:, None, None, None] * 2
IMAGES = IMAGES.astype("float32")


def make_encoder(**kwargs):
    return ViTEncoder((8, 8, 1), 2, 16, 2, 2, **kwargs)


def compiled(optimizer=None, **kwargs):
    classifier = ImageClassifier(make_encoder(), 3, **kwargs)
    classifier.compile(
        optimizer or LayerDecayAdamW(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return classifier


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@ONCE
def test_head_starts_as_in_mae():
    classifier = ImageClassifier(make_encoder(), 1000)
    assert np.std(array(classifier.head.kernel)) == pytest.approx(
        2e-5, rel=0.05
    )
    assert not np.any(array(classifier.head.bias))
    assert classifier.head_norm == "layer_norm"
    probe = ImageClassifier(make_encoder(), 1000, head_stddev=0.01)
    assert np.std(array(probe.head.kernel)) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    "pooling", ["mean", pytest.param("class_token", marks=ONCE)]
)
def test_logits_by_hand(pooling):
    encoder = make_encoder()
    classifier = ImageClassifier(encoder, 3, pooling=pooling, head_stddev=1.0)
    tokens = array(encoder(IMAGES))
    features = (
        tokens[:, 0] if pooling == "class_token" else tokens[:, 1:].mean(axis=1)
    )
    expected = features @ array(classifier.head.kernel)
    np.testing.assert_allclose(
        array(classifier(IMAGES)), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.usefixtures("untraced_test")
def test_fit_moves_a_copy_and_all_that_is_used():
    encoder = make_encoder()
    before = encoder.get_weights()
    classifier = ImageClassifier(encoder, 3, head_stddev=0.1)
    start = classifier.get_weights()
    classifier.compile(
        LayerDecayAdamW(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = classifier.fit(IMAGES, LABELS, epochs=12, verbose=0).history
    assert float(history["accuracy"][-1]) > float(history["accuracy"][0])
    for old, new in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    unmoved = {
        "/".join(variable.path.split("/")[-2:])
        for old, variable in zip(start, classifier.weights, strict=True)
        if np.array_equal(old, array(variable))
    }
    # Fixed positions, and the final norm that `head_norm` replaces.
    assert unmoved == {
        "position_embedding/position_table",
        "class_token/position",
        "norm/gamma",
        "norm/beta",
    }


@pytest.mark.parametrize(
    "optimizer", [pytest.param(LARS, marks=ONCE), keras.optimizers.AdamW]
)
@pytest.mark.usefixtures("untraced_test")
def test_a_frozen_encoder_does_not_move(optimizer):
    classifier = compiled(
        optimizer(0.1),
        pooling="class_token",
        head_norm="batch_norm",
        freeze_encoder=True,
        head_stddev=0.01,
    )
    before = classifier.encoder.get_weights()
    classifier.fit(IMAGES, LABELS, epochs=2, verbose=0)
    for old, new in zip(before, classifier.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(classifier.trainable_variables) == 2


def test_drop_path_is_on_in_training_only_and_off_when_frozen():
    active, frozen = (
        ImageClassifier(
            make_encoder(),
            3,
            drop_path_rate=0.9,
            head_stddev=1.0,
            freeze_encoder=freeze,
        )
        for freeze in (False, True)
    )
    quiet, loud = array(active(IMAGES)), array(active(IMAGES, training=True))
    np.testing.assert_array_equal(quiet, array(active(IMAGES)))
    assert not np.allclose(quiet, loud)
    np.testing.assert_allclose(
        array(frozen(IMAGES)), array(frozen(IMAGES, training=True)), rtol=1e-5
    )


@pytest.mark.parametrize(
    "head_norm",
    ["batch_norm", *(pytest.param(n, marks=ONCE) for n in (None, "none"))],
)
@pytest.mark.usefixtures("untraced_test")
def test_saved_with_its_optimizer(tmp_path, head_norm):
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 20)
    classifier = compiled(
        LayerDecayAdamW(schedule, layer_decay=0.65), head_norm=head_norm
    )
    fit = {"epochs": 1, "verbose": 0, "shuffle": False, "batch_size": 8}
    classifier.fit(IMAGES, LABELS, **fit)
    classifier.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        array(restored(IMAGES)), array(classifier(IMAGES)), rtol=1e-5
    )
    for each in (classifier, restored):
        each.fit(IMAGES, LABELS, **fit)
    np.testing.assert_allclose(
        array(restored(IMAGES)),
        array(classifier(IMAGES)),
        rtol=1e-4,
        atol=1e-5,
    )


@ONCE
@pytest.mark.usefixtures("untraced_test")
def test_exponential_moving_average():
    classifier = compiled(LayerDecayAdamW(1e-2, use_ema=True, ema_momentum=0.9))
    classifier.fit(
        IMAGES,
        LABELS,
        validation_data=(IMAGES, LABELS),
        epochs=2,
        verbose=0,
        callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    )
    averages = classifier.optimizer._model_variables_moving_average
    assert not np.allclose(array(averages[-1]), 0)


@ONCE
@pytest.mark.usefixtures("untraced_test")
def test_soft_labels_and_label_smoothing():
    classifier = compiled()
    classifier.compile(
        LayerDecayAdamW(1e-2),
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1
        ),
    )
    classifier.fit(IMAGES, np.eye(3, dtype="float32")[LABELS], verbose=0)


@ONCE
def test_config_round_trip():
    classifier = ImageClassifier(
        make_encoder(),
        3,
        pooling="mean",
        head_norm="batch_norm",
        freeze_encoder=True,
        head_stddev=0.5,
        drop_path_rate=0.25,
        image_shape=(8, 12, 1),
    )
    config = classifier.get_config()
    restored = ImageClassifier.from_config(config)
    assert restored.get_config() == config
    assert restored.encoder.drop_path_rate == 0.25


@ONCE
def test_other_image_size():
    encoder = make_encoder()
    classifier = ImageClassifier(encoder, 3, image_shape=(16, 12, 1))
    assert classifier(np.zeros((2, 16, 12, 1), "float32")).shape == (2, 3)
    copy = copy_encoder(encoder)
    np.testing.assert_array_equal(array(copy(IMAGES)), array(encoder(IMAGES)))


def test_interpolation_agrees_with_torch():
    torch = pytest.importorskip("torch")
    table = RANDOM.normal(size=(4 * 5, 8)).astype("float32")
    for grid in ((7, 3), (8, 10), (4, 5)):
        image = torch.tensor(table.reshape(1, 4, 5, 8).transpose(0, 3, 1, 2))
        expected = torch.nn.functional.interpolate(
            image, size=grid, mode="bicubic", align_corners=False
        )
        expected = np.array(expected.tolist()).transpose(0, 2, 3, 1)
        np.testing.assert_allclose(
            interpolate_position_table(table, (4, 5), grid),
            expected.reshape(-1, 8),
            atol=1e-5,
        )


@ONCE
def test_interpolation_keeps_a_constant():
    table = np.full((6, 4), 2.5)
    got = interpolate_position_table(table, (2, 3), (5, 9))
    np.testing.assert_allclose(got, 2.5, rtol=1e-6)


@ONCE
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 0}, "`num_classes`"),
        ({"pooling": "max"}, "`pooling`.*'max'"),
        ({"head_norm": "group"}, "`head_norm`.*'group'"),
        ({"encoder": "vit"}, "`encoder` must be a ViTEncoder"),
        ({"image_shape": (8, 8, 3)}, "`image_shape`.*channels, 1"),
        ({"drop_path_rate": 1.0}, "`drop_path_rate`"),
    ],
)
def test_errors(arguments, message):
    arguments = {"encoder": make_encoder(), "num_classes": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        ImageClassifier(**arguments)


@ONCE
def test_labels_that_do_not_fit():
    classifier = compiled()
    for method in (classifier.fit, classifier.evaluate):
        with pytest.raises(ValueError, match=r"`y`.*\[0, 3\).*from 0 to 3"):
            method(IMAGES, np.arange(24) % 4, verbose=0)
        with pytest.raises(ValueError, match=r"`y`.*from -1 to 1"):
            method(IMAGES, np.arange(24)[:, None] % 3 - 1, verbose=0)
        with pytest.raises(ValueError, match=r"`y`.*shape \(24, 5\)"):
            method(IMAGES, np.eye(5)[np.arange(24) % 5], verbose=0)
        with pytest.raises(ValueError, match="`y`.*from 0 to 3"):
            method(ArrayDataset(IMAGES, np.arange(24) % 4), verbose=0)
        # As `image_folder` and `tfds_dataset` tell it.
        dataset = ArrayDataset(IMAGES, LABELS)
        dataset.num_classes = 4
        with pytest.raises(ValueError, match="`y`.*data set of 4 classes"):
            method(dataset, verbose=0)
    for validation in (
        (IMAGES, LABELS + 1),
        ArrayDataset(IMAGES, LABELS + 1),
    ):
        with pytest.raises(ValueError, match="`validation_data`.*from 1 to 3"):
            classifier.fit(
                IMAGES, LABELS, validation_data=validation, verbose=0
            )


@ONCE
def test_classes_numbered_differently():
    train, validation = (ArrayDataset(IMAGES, LABELS) for _ in range(2))
    train.class_names, validation.class_names = list("abc"), list("bcd")
    with pytest.raises(ValueError, match="`validation_data` must number"):
        compiled().fit(train, validation_data=validation, verbose=0)


class Unseen(keras.utils.PyDataset):
    """Batches whose labels nobody sees before they are read."""

    def __init__(self, labels, class_names=None):
        super().__init__()
        self.y = labels
        if class_names is not None:
            self.class_names = class_names

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return IMAGES[rows], self.y[rows]


def dict_batches(labels=LABELS):
    """Batches as TensorFlow Datasets and Hugging Face give them."""

    class Dicts(Unseen):
        def __getitem__(self, index):
            images, labels = super().__getitem__(index)
            return {"image": images, "label": labels}

    return Dicts(labels)


@pytest.mark.usefixtures("untraced_test")
def test_batches_of_dicts_train_as_pairs():
    pairs, dicts = compiled(), compiled()
    dicts.set_weights(pairs.get_weights())
    expected = pairs.fit(
        Unseen(LABELS),
        shuffle=False,
        validation_data=Unseen(LABELS),
        verbose=0,
    )
    history = dicts.fit(
        dict_batches(), shuffle=False, validation_data=dict_batches(), verbose=0
    )
    assert history.history.keys() == expected.history.keys()
    for name, values in expected.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=1e-5)
    np.testing.assert_allclose(
        dicts.predict(dict_batches(), verbose=0),
        dicts.predict(IMAGES, batch_size=8, verbose=0),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match=r"in \[0, 3\).*Received: 8 labels"):
        dicts.evaluate(dict_batches(LABELS + 1), verbose=0)
    with pytest.raises(ValueError, match=r"`y`.*\[0, 3\).*from 1 to 3"):
        dicts.fit({"image": IMAGES, "label": LABELS + 1}, verbose=0)
    with pytest.raises(ValueError, match="keys 'image', 'images'"):
        dicts.predict({"photo": IMAGES}, verbose=0)


@ONCE
def test_raw_pixels_are_warned_of():
    classifier, raw = compiled(), 200 * np.abs(IMAGES)
    for use in (classifier.fit, classifier.evaluate):
        with pytest.warns(UserWarning, match="do not look normalized"):
            use(raw, LABELS, verbose=0)
    with pytest.warns(UserWarning, match="do not look normalized"):
        classifier.predict(raw, verbose=0)


@pytest.mark.parametrize("wrong", [9, pytest.param(-1, marks=ONCE)])
def test_labels_that_only_a_compiled_step_sees(wrong):
    classifier = compiled()
    labels = LABELS.copy()
    labels[5:7] = wrong
    message = r"in \[0, 3\).*Received: 2 labels"
    with pytest.raises(ValueError, match=message):
        classifier.evaluate(Unseen(labels), verbose=0)
    with pytest.raises(ValueError, match=message):
        classifier.fit(Unseen(labels), verbose=0)
    with pytest.raises(ValueError, match=message):
        classifier.fit(
            Unseen(labels), validation_data=(IMAGES, LABELS), verbose=0
        )
    with pytest.raises(ValueError, match=message):
        classifier.fit(
            Unseen(LABELS), validation_data=Unseen(labels), verbose=0
        )
    # The count is in no log.
    logs = classifier.evaluate(Unseen(LABELS), verbose=0, return_dict=True)
    assert sorted(logs) == ["accuracy", "loss"]
    assert "foreign_labels" not in classifier.metrics_names
    assert len(classifier.evaluate(IMAGES, LABELS, verbose=0)) == 2


@ONCE
@pytest.mark.usefixtures("untraced_test")
def test_class_names_are_remembered(tmp_path):
    classifier = compiled()
    classifier.fit(Unseen(LABELS, ["a", "b", "c"]), verbose=0)
    assert classifier.class_names == ["a", "b", "c"]
    classifier.save(tmp_path / "classifier.keras")
    restored = keras.saving.load_model(tmp_path / "classifier.keras")
    for each in (classifier, restored):
        each.evaluate(Unseen(LABELS, ("a", "b", "c")), verbose=0)
        # As of a folder in which `b` is absent.
        other = Unseen(LABELS // 2, ["a", "c"])
        for method in (each.fit, each.evaluate, each.predict):
            with pytest.raises(ValueError, match=r"\['a', 'c'\].*'b', 'c'\]"):
                method(other, verbose=0)
        with pytest.raises(ValueError, match="`class_names=classifier"):
            classifier_accuracy(each, other)
    with pytest.raises(ValueError, match="`class_names`.*`num_classes` is 3"):
        compiled(class_names=list("abcd"))


@ONCE
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "sparse_categorical_crossentropy"}, "`loss`.*from_logits"),
        ({"loss": keras.losses.CategoricalCrossentropy()}, "`loss`"),
        ({"loss": keras.losses.BinaryCrossentropy}, "`loss`"),
        ({"loss": keras.losses.categorical_crossentropy}, "`loss`"),
        ({"loss": ["binary_focal_crossentropy"]}, "`loss`"),
        ({"loss": "crossentropy"}, "`loss`"),
        ({"loss": "kl_divergence"}, "`loss`.*: kl_divergence$"),
        ({"loss": keras.losses.KLDivergence()}, "`loss`.*: KLDivergence$"),
        ({"metrics": ["sparse_categorical_crossentropy"]}, "`metrics`"),
        ({"metrics": [keras.metrics.BinaryCrossentropy()]}, "`metrics`"),
    ],
)
def test_losses_of_probabilities_are_refused(arguments, message):
    classifier = ImageClassifier(make_encoder(), 3)
    with pytest.raises(ValueError, match=message):
        classifier.compile("sgd", **arguments)
    with pytest.warns(UserWarning, match="not compiled: `loss`"):
        classifier.compile_from_config(
            {"optimizer": "sgd", "loss": "categorical_crossentropy"}
        )
    classifier.compile("sgd", "mse", metrics=["accuracy"])
