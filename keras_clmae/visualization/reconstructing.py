"""Reconstruct images as arrays, for the figures to draw."""

import weakref

import keras
import numpy as np

from keras_clmae.argument_validation import check_choice
from keras_clmae.kernels import compiled

# Of each model what it was compiled for and the function. On JAX one operation
# after the other would take seconds for each figure, and at first a minute.
_programs = weakref.WeakKeyDictionary()


def reconstruct_arrays(model, images, masks="learned"):
    """Reconstructs images under learned or random masks, as NumPy arrays.

    Draws nothing from the model's own random state: a training goes on as if
    nobody had looked.

    Args:
        model: `CLMAE`, or `MaskedAutoencoder` with random masks.
        images: float array of shape (batch, height, width, channels).
        masks: str. `"learned"`, or `"random"` for the same random masks at
            every call. Defaults to `"learned"`.

    Returns:
        A dict of float32 arrays: `reconstruction` (batch, height, width,
        channels), with the visible patches pasted in; `mask` (batch, tokens),
        1 = removed; and `keep_scores` (batch, tokens) with learned masks.

    Raises:
        ValueError: If learned masks are asked of a model without a masking
            module.

    Example:

    >>> model = keras_clmae.models.MaskedAutoencoder.from_preset(
    ...     "mae_tiny_patch4_32", load_weights=False, num_layers=1
    ... )
    >>> arrays = keras_clmae.visualization.reconstruct_arrays(
    ...     model, np.zeros((2, 32, 32, 3), "float32"), masks="random"
    ... )
    >>> arrays["reconstruction"].shape, arrays["mask"].shape
    ((2, 32, 32, 3), (2, 64))
    """
    check_choice("masks", masks, ("learned", "random"))
    images = np.asarray(images, "float32")
    if masks == "random":
        autoencoder = getattr(model, "autoencoder", model)
        shape = (len(images), autoencoder.encoder.num_tokens)
        scores = np.random.default_rng(0).random(shape, "float32")
        outputs = _reconstruct(autoencoder, images, scores)
    elif not hasattr(model, "masking_module"):
        raise ValueError(
            '`masks` must be "random" for a model without a masking module. '
            f"Received: masks={masks!r}, model={model!r}"
        )
    else:
        outputs = _reconstruct(model, images)
    arrays = {
        "reconstruction": outputs["images"],
        "mask": outputs["mask"],
    }
    if "keep_scores" in outputs:
        arrays["keep_scores"] = outputs["keep_scores"]
    return {
        name: keras.ops.convert_to_numpy(value)
        for name, value in arrays.items()
    }


def _reconstruct(model, *arguments):
    # By these the function is another one.
    state = [getattr(model, name, None) for name in ("curriculum", "optimizer")]
    known, function = _programs.get(model, (None, None))
    if known is None or any(
        one is not other for one, other in zip(known, state, strict=True)
    ):
        function = _program(weakref.ref(model))
        _programs[model] = state, function
    return function(*arguments)


def _program(model):
    """Compiles `reconstruct` without keeping the model."""

    def variables():
        optimizer = getattr(model(), "optimizer", None)
        # The curriculum asks the optimizer for its step.
        return [
            *model().variables,
            *(() if optimizer is None else optimizer.variables),
        ]

    return compiled(
        lambda *arguments: model().reconstruct(*arguments), variables
    )
