"""Describe models by their sizes, before they are made."""

from typing import NamedTuple

from keras_clmae.maskers.masking_module import MaskingModule
from keras_clmae.models.clmae import CLMAE
from keras_clmae.models.decoder import Decoder
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.image_classifier import ImageClassifier
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder

_LOSS_WEIGHTS = (
    "gaussian_loss_weight",
    "kl_loss_weight",
    "diversity_loss_weight",
)


class Stack(NamedTuple):
    """Sizes of a stack of transformer blocks."""

    hidden_dim: int
    num_layers: int
    num_heads: int
    mlp_dim: int
    layer_norm_epsilon: float = 1e-6


class Sizes(NamedTuple):
    """Sizes of an encoder, and of a decoder, masking module and head.

    Attributes:
        image_shape: tuple of int. (height, width, channels), in pixels.
        patch_size: int.
        encoder: `Stack`.
        decoder: `Stack`, or `None`.
        masking_module: `Stack`, or `None`, also for a masking layer of the
            user's own.
        masking_head: As `MaskingModule` takes it.
        num_classes: int, or `None` for what is no classifier.
        pooling: As `ImageClassifier` takes it.
        head_norm: As `ImageClassifier` takes it.
        learned_positions: As `ViTEncoder` takes it.
    """

    image_shape: tuple
    patch_size: int
    encoder: Stack
    decoder: Stack | None = None
    masking_module: Stack | None = None
    masking_head: str = "class_token"
    num_classes: int | None = None
    pooling: str = "class_token"
    head_norm: str = "none"
    learned_positions: bool = False

    @property
    def channels(self):
        return self.image_shape[2]

    @property
    def grid_size(self):
        """(rows, columns) of patches."""
        height, width, _ = self.image_shape
        return height // self.patch_size, width // self.patch_size

    @property
    def num_tokens(self):
        rows, columns = self.grid_size
        return rows * columns

    @property
    def patch_dim(self):
        return self.patch_size**2 * self.channels


def sizes_of(model):
    """Reads the `Sizes` of a model.

    Args:
        model: `ViTEncoder`, `MaskedAutoencoder`, `CLMAE` or `ImageClassifier`.

    Raises:
        ValueError: If it is anything else.
    """
    if isinstance(model, ViTEncoder):
        return Sizes(model.image_shape, model.patch_size, _stack_of(model))
    if isinstance(model, MaskedAutoencoder):
        sizes = sizes_of(model.encoder)
        return sizes._replace(decoder=_stack_of(model.decoder))
    if isinstance(model, CLMAE):
        sizes = sizes_of(model.autoencoder)
        module = model.masking_module
        # No format has a place for a masking layer of the user's own.
        if not isinstance(module, MaskingModule):
            return sizes
        hidden_dim = module.width or sizes.encoder.hidden_dim
        return sizes._replace(
            masking_module=Stack(
                hidden_dim,
                module.num_layers,
                module.num_heads,
                module.mlp_dim or 4 * hidden_dim,
                module.layer_norm_epsilon,
            ),
            masking_head=module.head,
        )
    if isinstance(model, ImageClassifier):
        return sizes_of(model.encoder)._replace(
            num_classes=model.num_classes,
            pooling=model.pooling,
            head_norm=model.head_norm,
        )
    raise ValueError(
        "`model` must be a CLMAE, a MaskedAutoencoder, a ViTEncoder or an "
        f"ImageClassifier. Received: model={model!r}"
    )


def build_model(sizes, dtype=None, drop_path_rate=0.0, **arguments):
    """Makes the model that has these sizes.

    Args:
        sizes: `Sizes`.
        dtype: str. Dtype or policy of all parts.
        drop_path_rate: float. Of the encoder.
        **arguments: Further arguments of the class.

    Returns:
        A `CLMAE` where there is a masking module, a `MaskedAutoencoder` where
        there is a decoder, an `ImageClassifier` where there are classes, else a
        `ViTEncoder`.
    """
    stack = sizes.encoder
    encoder = ViTEncoder(
        sizes.image_shape,
        sizes.patch_size,
        **stack._asdict(),
        drop_path_rate=drop_path_rate,
        learned_positions=sizes.learned_positions,
        dtype=dtype,
        name="encoder",
    )
    if sizes.num_classes is not None:
        return ImageClassifier(
            encoder,
            sizes.num_classes,
            pooling=sizes.pooling,
            head_norm=sizes.head_norm,
            **arguments,
        )
    if sizes.decoder is None:
        return encoder
    decoder = Decoder(
        sizes.grid_size,
        sizes.patch_dim,
        **sizes.decoder._asdict(),
        dtype=dtype,
        name="decoder",
    )
    if sizes.masking_module is None:
        return MaskedAutoencoder(encoder, decoder, dtype=dtype, **arguments)
    loss_weights = {
        k: arguments.pop(k) for k in _LOSS_WEIGHTS if k in arguments
    }
    autoencoder = MaskedAutoencoder(
        encoder, decoder, dtype=dtype, **{"name": "autoencoder", **arguments}
    )
    stack = sizes.masking_module._asdict()
    del stack["hidden_dim"]
    masking_module = MaskingModule(
        **stack, head=sizes.masking_head, dtype=dtype, name="masking_module"
    )
    return CLMAE(autoencoder, masking_module, **loss_weights)


def count_layers(shapes, prefix):
    """Counts the numbers that follow a prefix, such as `"blocks."`."""
    return len(
        {
            name.removeprefix(prefix).split(".")[0]
            for name in shapes
            if name.startswith(prefix)
        }
    )


def shape_of(weights, name, rank):
    """Finds the shape of an array that the sizes depend on.

    Raises:
        ValueError: If it is not there, of another rank, or has a side of 0.
    """
    shape = weights.shapes.get(name)
    prefixes = sorted(
        each.removesuffix(name)
        for each in weights.shapes
        if each.endswith(f".{name}")
    )
    if shape is None and prefixes:
        raise ValueError(
            "`prefix` must say how the names of the weights start: "
            f"{' or '.join(map(repr, prefixes[:8]))}. Received: "
            f"{weights.source!r}, without {name!r} as it is"
        )
    if shape is None or len(shape) != rank or 0 in shape:
        first = ", ".join(repr(name) for name in list(weights.shapes)[:3])
        problem = "without" if shape is None else f"of shape {shape} for"
        raise ValueError(
            f"`path` must hold the weights of a Vision Transformer. Received: "
            f"{weights.source!r}, {problem} {name!r}; it starts with {first}"
        )
    return shape


def _stack_of(part):
    return Stack(
        part.hidden_dim,
        part.num_layers,
        part.num_heads,
        part.mlp_dim,
        part.layer_norm_epsilon,
    )
