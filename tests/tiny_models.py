"""Models small enough to compile in seconds, and images for them."""

import functools

import keras
import numpy as np

from keras_clmae import LinearCurriculum
from keras_clmae.maskers import Masker
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import MaskingModule
from keras_clmae.objectives import PatchErrorObjective
from keras_clmae.optimizers import AdamW

# Neither square nor of three channels: what is hard-coded shows.
SIZES = {
    "image_shape": (8, 12, 2),
    "patch_size": 4,
    "hidden_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_hidden_dim": 8,
    "decoder_num_layers": 1,
    "decoder_num_heads": 2,
    "mask_ratio": 0.5,
}


# For `compile` where no compiled step is the subject: TensorFlow traces for
# seconds.
QUICK = {"run_eagerly": keras.backend.backend() == "tensorflow"}


def tiny_clmae(head="class_token", **overrides):
    return CLMAE.from_sizes(
        masking_module=MaskingModule(
            num_layers=1,
            num_heads=2,
            head=head,
            name="masking_module",
            dtype=overrides.get("dtype"),
        ),
        **{**SIZES, **overrides},
    )


def predicting_clmae(**overrides):
    """A tiny model whose masking module predicts the errors of patches."""
    return CLMAE.from_sizes(
        masking_module=MaskingModule(
            num_layers=1,
            num_heads=2,
            head="per_token",
            width=4,
            activation="linear",
            name="masking_module",
        ),
        objective=PatchErrorObjective(seed=0),
        **{**SIZES, **overrides},
    )


@keras.saving.register_keras_serializable(package="tests")
class FixedMasker(Masker):
    """The same scores for all images, on every backend."""

    def call(self, tokens):
        places = keras.ops.arange(tokens.shape[1], dtype="float32")
        return keras.ops.zeros_like(tokens[..., 0]) + keras.ops.sin(places)


def tiny_autoencoder(**overrides):
    return MaskedAutoencoder.from_sizes(**{**SIZES, **overrides})


def tiny_images(number=12, seed=0):
    shape = (number, *SIZES["image_shape"])
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def adamw(learning_rate=1e-3, **arguments):
    return AdamW(learning_rate, weight_decay=0.05, beta_2=0.95, **arguments)


def compiled_clmae(optimizer=None, model=None, total_steps=6, **arguments):
    model = model or tiny_clmae()
    arguments.setdefault("curriculum", LinearCurriculum(total_steps))
    model.compile(optimizer or adamw(), **arguments)
    return model


@functools.cache
def _shared():
    model = compiled_clmae()
    model.optimizer.build(model.trainable_variables)
    return model, state_of(model)


def shared_clmae():
    """The one model of `compiled_clmae()` of all modules, as if it were new.

    Its steps, for batches of 4, are traced and compiled once per session.
    """
    model, state = _shared()
    rewind(model, state)
    return model


def compiled_mae(**arguments):
    model = tiny_autoencoder()
    model.compile(adamw(), **arguments)
    return model


def to_numpy(values):
    return [keras.ops.convert_to_numpy(value) for value in values]


def state_of(model):
    """Weights, random states and both optimizers, as arrays."""
    return to_numpy([*model.variables, *model.optimizer.variables])


def rewind(model, state):
    """Makes `state_of(model)` what it was; a new model would compile again."""
    variables = [*model.variables, *model.optimizer.variables]
    for variable, value in zip(variables, state, strict=True):
        variable.assign(value)


def assert_same_bits(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
