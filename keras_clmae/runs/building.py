"""Make and compile the model that the settings of a run describe."""

import contextlib

import keras

from keras_clmae import models
from keras_clmae.curriculum import ConstantCurriculum
from keras_clmae.curriculum import CosineCurriculum
from keras_clmae.curriculum import LinearCurriculum
from keras_clmae.kernels.bfloat16 import settle_precision
from keras_clmae.optimizers import AdamW
from keras_clmae.optimizers import scale_learning_rate
from keras_clmae.optimizers import warmup_cosine
from keras_clmae.runs.parts import make_objective
from keras_clmae.runs.parts import make_part


@contextlib.contextmanager
def precision(policy):
    """Makes layers in a dtype policy, inside a block.

    Args:
        policy: str. As in `Settings`.
    """
    policy = settle_precision(policy)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_model(settings, image_shape):
    """Makes the model that settings describe.

    Args:
        settings: `Settings`.
        image_shape: tuple of int. (height, width, channels) of the images.

    Returns:
        A `CLMAE` or `MaskedAutoencoder`.

    Raises:
        ValueError: if the sizes do not fit each other.
    """
    model_class = {"clmae": models.CLMAE, "mae": models.MaskedAutoencoder}[
        settings.method
    ]
    sizes = {**settings.model, "image_shape": tuple(image_shape)}
    if settings.masker is None:
        sizes["seed"] = settings.seed
    else:
        sizes["masker"] = make_part(
            "masker", settings.masker, seed=settings.seed
        )
    if model_class.learns_masks:
        sizes |= _learned_masks(settings, sizes)
    if settings.preset is None:
        return model_class.from_sizes(**sizes)
    return model_class.from_preset(settings.preset, load_weights=False, **sizes)


def _learned_masks(settings, sizes):
    """The arguments of a model that learns masks, as far as they are given."""
    arguments = {}
    objective = make_objective(settings)
    if objective is not None:
        arguments["objective"] = objective
    if settings.masking_module:
        # As the module that CLMAE makes itself.
        arguments["masking_module"] = make_part(
            "masking_module",
            settings.masking_module,
            **getattr(objective, "default_masker_arguments", {}),
            gradient_checkpointing=sizes.get("gradient_checkpointing", False),
            name="masking_module",
        )
    return arguments


def highest_learning_rate(settings):
    """The learning rate after warm-up, of the global batch."""
    if not settings.scale_learning_rate:
        return settings.base_learning_rate
    return scale_learning_rate(settings.base_learning_rate, settings.batch_size)


def compile_model(model, settings, steps_per_epoch):
    """Compiles with MAE's optimizer and the curriculum of the settings.

    Args:
        model: what `build_model` gave.
        settings: `Settings`.
        steps_per_epoch: int.
    """
    total_steps = settings.epochs * steps_per_epoch

    def adamw(learning_rate):
        return AdamW(
            learning_rate, weight_decay=settings.weight_decay, beta_2=0.95
        )

    optimizer = adamw(
        warmup_cosine(
            highest_learning_rate(settings),
            total_steps,
            settings.num_warmup_epochs * steps_per_epoch,
        )
    )
    common = {
        "jit_compile": settings.jit_compile,
        "steps_per_execution": settings.steps_per_execution,
    }
    if not model.learns_masks:
        model.compile(optimizer, **common)
        # Restoring needs its variables to exist.
        optimizer.build(model.trainable_variables)
        return
    masking_optimizer = None
    if settings.masking_learning_rate is not None:
        masking_optimizer = adamw(settings.masking_learning_rate)
    model.compile(
        optimizer,
        masking_optimizer,
        curriculum=make_curriculum(settings, total_steps, steps_per_epoch),
        masking_update_period=settings.masking_update_period,
        update=settings.update,
        random_mask_share=settings.random_mask_share,
        **common,
    )


def make_curriculum(settings, total_steps, steps_per_epoch):
    """Makes the curriculum that the settings name."""
    if settings.curriculum == "constant":
        return ConstantCurriculum(settings.initial_factor)
    ends = (settings.initial_factor, settings.final_factor)
    if settings.curriculum == "cosine":
        return CosineCurriculum(total_steps, *ends)
    per_epoch = settings.curriculum == "linear_per_epoch"
    return LinearCurriculum(
        total_steps,
        *ends,
        steps_per_epoch=steps_per_epoch if per_epoch else None,
    )
