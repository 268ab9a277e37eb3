"""Which weight of a model goes by which name in a published state dict."""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_clmae.models.clmae import CLMAE
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder


class Entry(NamedTuple):
    """One array of a state dict and the variables that it stands for.

    Attributes:
        name: name in the state dict.
        variables: Keras variables, one or several.
        pack: function from the variables' arrays to the array of the file.
        unpack: its inverse: from that array to a list of arrays.
    """

    name: str
    variables: tuple
    pack: object
    unpack: object

    def to_array(self):
        """The present value, in the file's layout."""
        return self.pack(*(ops.convert_to_numpy(v) for v in self.variables))

    def assign(self, array):
        """Sets the variables from an array in the file's layout."""
        values = self.unpack(array)
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)


def parts_of(model):
    """The entries of a model, by part: encoder, decoder, masking module.

    Args:
        model: `CLMAE`, `MaskedAutoencoder` or `ViTEncoder`.

    Returns:
        A dict from the name of the part to its list of `Entry`.
    """
    if isinstance(model, ViTEncoder):
        return {"encoder": _encoder_entries(model)}
    if isinstance(model, MaskedAutoencoder):
        return {
            **parts_of(model.encoder),
            "decoder": _decoder_entries(model.decoder),
        }
    if isinstance(model, CLMAE):
        return {
            **parts_of(model.autoencoder),
            "masking module": _masking_entries(model.masking_module),
        }
    raise ValueError(
        "`model` must be a CLMAE, a MaskedAutoencoder or a ViTEncoder. "
        f"Received: model={model!r}"
    )


def _encoder_entries(encoder):
    class_token = encoder.class_token
    return [
        _same("cls_token", class_token.token),
        Entry(
            "pos_embed",
            (
                class_token.position,
                encoder.position_embedding.position_table,
            ),
            lambda row, table: np.concatenate([row, table[None]], axis=1),
            lambda array: [array[:, :1], array[0, 1:]],
        ),
        *_patch_projection(
            "patch_embed.proj",
            encoder.patch_embedding.projection,
            encoder.patch_size,
        ),
        *_blocks("blocks", encoder.blocks),
        *_norm("norm", encoder.norm),
    ]


def _decoder_entries(decoder):
    table = decoder.position_embedding.position_table
    return [
        _same("mask_token", decoder.mask_token),
        Entry(
            "decoder_pos_embed",
            (table,),
            lambda value: value[None],
            lambda array: [array[0]],
        ),
        *_dense("decoder_embed", decoder.embedding),
        *_blocks("decoder_blocks", decoder.blocks),
        *_norm("decoder_norm", decoder.norm),
        *_dense("decoder_pred", decoder.pixel_head),
    ]


def _masking_entries(masking_module):
    return [
        _same("masking_net.cls_token", masking_module.class_token.token),
        _same("masking_net.pos_embed", masking_module.class_token.position),
        *_blocks("masking_net.blocks", masking_module.blocks),
        *_norm("masking_net.mlp_head.0", masking_module.norm),
        *_dense("masking_net.mlp_head.1", masking_module.score_head),
    ]


def _blocks(prefix, blocks):
    entries = []
    for index, block in enumerate(blocks):
        name = f"{prefix}.{index}"
        entries += [
            *_norm(f"{name}.norm1", block.attention_norm),
            *_qkv(f"{name}.attn.qkv", block.attention),
            *_dense(f"{name}.attn.proj", block.attention.projection),
            *_norm(f"{name}.norm2", block.mlp_norm),
            *_dense(f"{name}.mlp.fc1", block.mlp_expand),
            *_dense(f"{name}.mlp.fc2", block.mlp_contract),
        ]
    return entries


def _same(name, variable):
    return Entry(name, (variable,), lambda value: value, lambda array: [array])


def _norm(name, layer):
    return [
        _same(f"{name}.weight", layer.gamma),
        _same(f"{name}.bias", layer.beta),
    ]


def _dense(name, layer):
    return [
        Entry(
            f"{name}.weight",
            (layer.kernel,),
            lambda kernel: kernel.T,
            lambda array: [array.T],
        ),
        _same(f"{name}.bias", layer.bias),
    ]


def _qkv(name, attention):
    kernel_shape = attention.qkv_kernel.shape
    bias_shape = attention.qkv_bias.shape
    return [
        Entry(
            f"{name}.weight",
            (attention.qkv_kernel,),
            lambda kernel: kernel.reshape(kernel_shape[0], -1).T,
            lambda array: [array.T.reshape(kernel_shape)],
        ),
        Entry(
            f"{name}.bias",
            (attention.qkv_bias,),
            lambda bias: bias.reshape(-1),
            lambda array: [array.reshape(bias_shape)],
        ),
    ]


def _patch_projection(name, layer, patch_size):
    """A convolution's (out, channels, rows, columns) as a dense kernel."""
    patch_shape = (patch_size, patch_size, -1)

    def pack(kernel):
        kernel = kernel.reshape(*patch_shape, kernel.shape[-1])
        return kernel.transpose(3, 2, 0, 1)

    def unpack(array):
        return [array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])]

    return [
        Entry(f"{name}.weight", (layer.kernel,), pack, unpack),
        _same(f"{name}.bias", layer.bias),
    ]
