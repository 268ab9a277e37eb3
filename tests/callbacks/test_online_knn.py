"""`OnlineKNN` during `fit`: what it logs, and that it disturbs nothing."""

import keras
import numpy as np
import pytest

from keras_clmae.callbacks import OnlineKNN
from keras_clmae.curriculum import LinearCurriculum
from keras_clmae.evaluation import extract_features
from keras_clmae.evaluation import knn_accuracy
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import MaskingModule
from keras_clmae.optimizers import AdamW
from tests.once import ONCE
from tests.tiny_models import rewind
from tests.tiny_models import state_of

pytestmark = pytest.mark.usefixtures("untraced")

SIZES = {
    "image_shape": (8, 8, 1),
    "patch_size": 2,
    "hidden_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_hidden_dim": 16,
    "decoder_num_layers": 1,
    "decoder_num_heads": 2,
}
LABELS = np.arange(40) % 4
IMAGES = np.random.default_rng(0).normal(size=(40, 8, 8, 1))
IMAGES = (IMAGES + LABELS[:, None, None, None]).astype("float32")
BANK, QUERIES = (IMAGES[:30], LABELS[:30]), (IMAGES[30:], LABELS[30:])


def fit(model, callbacks, epochs=3):
    return model.fit(
        IMAGES,
        batch_size=20,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
    ).history


def clmae():
    keras.utils.set_random_seed(1)
    masking_module = MaskingModule(1, 2, name="masking_module")
    model = CLMAE.from_sizes(masking_module=masking_module, **SIZES, seed=3)
    model.compile(AdamW(1e-3), curriculum=LinearCurriculum(6))
    return model


def mae():
    model = MaskedAutoencoder.from_sizes(**SIZES)
    model.compile(AdamW())
    return model


def test_logs_the_accuracy_of_the_present_weights():
    model = mae()
    callback = OnlineKNN(BANK, QUERIES, k=5, batch_size=16)
    history = fit(model, [callback])
    assert len(history["knn_accuracy"]) == len(callback.seconds) == 3
    features = [
        extract_features(model.encoder, data, verbose=0)
        for data in (BANK, QUERIES)
    ]
    assert history["knn_accuracy"][-1] == knn_accuracy(
        *features[0], *features[1], k=5
    )


def test_training_goes_on_as_without_it():
    model = clmae()
    model.optimizer.build(model.trainable_variables)
    initial = state_of(model)
    expected = fit(model, [])
    plain = model.get_weights()
    rewind(model, initial)
    got = fit(model, [OnlineKNN(BANK, QUERIES)])
    np.testing.assert_allclose(
        [float(loss) for loss in got["loss"]],
        [float(loss) for loss in expected["loss"]],
        rtol=1e-5,
    )
    for old, new in zip(plain, model.get_weights(), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-6)


@ONCE
def test_every_second_epoch():
    callback = OnlineKNN(BANK, QUERIES, epochs=2, protocol="clmae", name="knn")
    history = fit(mae(), [callback], epochs=5)
    assert len(history["loss"]) == 5
    assert len(history["knn"]) == 2


@ONCE
def test_reaches_tensorboard(tmp_path):
    pytest.importorskip("tensorflow")
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    callbacks = [
        OnlineKNN(BANK, QUERIES),
        keras.callbacks.TensorBoard(tmp_path, write_graph=False),
    ]
    fit(mae(), callbacks, epochs=2)
    events = accumulator.EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    assert "epoch_knn_accuracy" in events.Tags()["tensors"]


@ONCE
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epochs": 0}, "`epochs`.*epochs=0"),
        ({"k": 31}, "`k`.*images, 30. Received: k=31"),
        ({"protocol": "euclid"}, "`protocol`.*'euclid'"),
        ({"train_data": (IMAGES, LABELS[:3])}, "`train_data`.*3 labels"),
    ],
)
def test_errors(arguments, message):
    arguments = {"train_data": BANK, "test_data": QUERIES, **arguments}
    with pytest.raises(ValueError, match=message):
        OnlineKNN(**arguments)


@ONCE
def test_needs_an_encoder():
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="model with an `encoder`"):
        model.fit(
            IMAGES, LABELS, verbose=0, callbacks=[OnlineKNN(BANK, QUERIES)]
        )
