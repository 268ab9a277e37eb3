"""Weights from and to the published CL-MAE and MAE checkpoint format.

A file holds `{"model": state_dict}`. Names and layouts are PyTorch's: linear
weights are (out, in), the patch projection is a convolution.
"""

import argparse
import os
import pickle
import warnings

import numpy as np

from keras_clmae.conversion.state_dict_map import parts_of
from keras_clmae.models.clmae import CLMAE
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder
from keras_clmae.models.masking_module import MaskingModule


def load_torch_checkpoint(path, *, num_heads, decoder_num_heads, **arguments):
    """Makes a model from a published CL-MAE or MAE checkpoint file.

    Sizes are read from the weights; only numbers of heads cannot be. The file
    is read with `weights_only=True`: it cannot run code. Needs PyTorch, on any
    Keras backend.

    Args:
        path: path of a .pth file.
        num_heads: int. Attention heads of the encoder.
        decoder_num_heads: int. Attention heads of the decoder.
        **arguments: further arguments of the model, such as `mask_ratio`,
            `normalize_targets`, `gaussian_loss_weight`; `image_shape`, which is
            square when it is not given; `masking_num_heads`, 4 by default; for
            files without a decoder `decoder_hidden_dim` and
            `decoder_num_layers`, 512 and 8 by default as in MAE.

    Returns:
        A `CLMAE` for a file with a masking module, else a `MaskedAutoencoder`.
        Of an encoder-only file the decoder keeps its initial values, and a
        warning says so.

    Raises:
        ValueError: if the file is missing, damaged, or of another format.

    Example:

    ```python
    model = keras_clmae.conversion.load_torch_checkpoint(
        "clmae.pth", num_heads=12, decoder_num_heads=16
    )
    ```
    """
    state_dict = read_state_dict(path)
    image_shape = arguments.pop("image_shape", None)
    masking_num_heads = arguments.pop("masking_num_heads", 4)
    sizes = _encoder_sizes(state_dict, image_shape)
    sizes |= {"num_heads": num_heads, "decoder_num_heads": decoder_num_heads}
    if "decoder_embed.weight" in state_dict:
        sizes["decoder_hidden_dim"] = len(state_dict["decoder_embed.weight"])
        sizes["decoder_num_layers"] = _count(state_dict, "decoder_blocks.")
    else:
        sizes |= {"decoder_hidden_dim": 512, "decoder_num_layers": 8}
    sizes |= arguments
    if any(name.startswith("masking_net.") for name in state_dict):
        masking_module = MaskingModule(
            num_layers=_count(state_dict, "masking_net.blocks."),
            num_heads=masking_num_heads,
            name="masking_module",
            dtype=sizes.get("dtype"),
        )
        model = CLMAE.from_sizes(masking_module=masking_module, **sizes)
    else:
        model = MaskedAutoencoder.from_sizes(**sizes)
    _assign(model, state_dict)
    return model


def load_torch_weights(path, model):
    """Loads a published checkpoint file into a model that exists.

    Parts of the model that the file lacks altogether (the decoder, the masking
    module) keep their values, and a warning names them.

    Args:
        path: path of a .pth file.
        model: `CLMAE`, `MaskedAutoencoder` or `ViTEncoder` of the same sizes.

    Raises:
        ValueError: if the file is missing, damaged, of another format or of
            other sizes. The model is then as it was.

    Example:

    ```python
    model = keras_clmae.models.CLMAE.from_preset(
        "clmae_base_patch16_224", load_weights=False
    )
    keras_clmae.conversion.load_torch_weights("mae_pretrain.pth", model)
    ```
    """
    _assign(model, read_state_dict(path))


def save_torch_checkpoint(model, path):
    """Writes a model in the published checkpoint format.

    Loading the file gives the same weights back, bit for bit. Needs PyTorch, on
    any Keras backend.

    Args:
        model: `CLMAE`, `MaskedAutoencoder` or `ViTEncoder`.
        path: path of the .pth file. It is replaced whole or not at all.

    Example:

    ```python
    keras_clmae.conversion.save_torch_checkpoint(model, "clmae.pth")
    ```
    """
    torch = _import_torch()
    state_dict = {}
    for entries in parts_of(model).values():
        for entry in entries:
            array = np.ascontiguousarray(entry.to_array())
            state_dict[entry.name] = torch.from_numpy(array)
    unfinished = f"{path}.unfinished"
    torch.save({"model": state_dict}, unfinished)
    os.replace(unfinished, path)


def read_state_dict(path):
    """Reads the state dict of a checkpoint file as NumPy arrays.

    Args:
        path: path of a .pth file with `{"model": state_dict}` or a state dict.

    Returns:
        A dict from names to float32 arrays.

    Raises:
        ValueError: if the file is missing, damaged, or of another format.
    """
    torch = _import_torch()
    if not os.path.isfile(path):
        raise ValueError(
            f"`path` must be an existing .pth file. Received: path={path!r}"
        )
    try:
        # Published files carry their command line, a plain Namespace.
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(),
        ):
            # A pickle of another kind ends in the error below.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        IndexError,
        OverflowError,
        pickle.UnpicklingError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            "`path` must be a PyTorch checkpoint whole and with weights "
            f"only. Received: path={path!r} ({reason})"
        ) from None
    state_dict = content.get("model") if isinstance(content, dict) else None
    if state_dict is None:
        state_dict = content
    if (
        not isinstance(state_dict, dict)
        or not state_dict
        or not all(isinstance(v, torch.Tensor) for v in state_dict.values())
    ):
        raise ValueError(
            '`path` must hold {"model": state_dict}, tensors by name. '
            f"Received: path={path!r}, which holds {_describe(content)}"
        )
    return {
        name: value.to(torch.float32).numpy()
        for name, value in state_dict.items()
    }


def _import_torch():
    try:
        import torch
    except ImportError:
        raise ImportError(
            "Reading and writing .pth files needs PyTorch: "
            "pip install keras-clmae[torch]"
        ) from None
    return torch


def _describe(content):
    if isinstance(content, dict):
        keys = ", ".join(repr(key) for key in list(content)[:5])
        return f"a dict with the keys {keys or '(none)'}"
    return f"an object of type {type(content).__name__}"


def _count(state_dict, prefix):
    indices = {
        name.removeprefix(prefix).split(".")[0]
        for name in state_dict
        if name.startswith(prefix)
    }
    return len(indices)


def _encoder_sizes(state_dict, image_shape):
    needed = ("pos_embed", "patch_embed.proj.weight")
    missing = [name for name in needed if name not in state_dict]
    if missing:
        raise ValueError(
            "`path` must hold an MAE or CL-MAE state dict. Received one "
            f"without {missing[0]!r}; it starts with "
            f"{', '.join(repr(name) for name in list(state_dict)[:3])}"
        )
    hidden_dim, channels, patch_size, _ = state_dict[needed[1]].shape
    if image_shape is None:
        num_tokens = state_dict["pos_embed"].shape[1] - 1
        side = round(num_tokens**0.5)
        if side * side != num_tokens:
            raise ValueError(
                "`image_shape` must be given: the positions are not those of a "
                f"square image. Received: {num_tokens} tokens"
            )
        image_shape = (side * patch_size, side * patch_size, channels)
    return {
        "image_shape": image_shape,
        "patch_size": patch_size,
        "hidden_dim": hidden_dim,
        "num_layers": _count(state_dict, "blocks."),
    }


def _assign(model, state_dict):
    """Checks everything, then assigns: a refused file changes nothing."""
    parts = parts_of(model)
    entries = {e.name: e for part in parts.values() for e in part}
    foreign = sorted(set(state_dict) - set(entries))
    if foreign:
        raise ValueError(
            "The checkpoint holds weights that the model has no place for: "
            f"{', '.join(foreign[:5])}{', ...' if len(foreign) > 5 else ''}"
        )
    absent_parts = []
    for part, part_entries in parts.items():
        missing = [e.name for e in part_entries if e.name not in state_dict]
        if missing and part != "encoder" and len(missing) == len(part_entries):
            absent_parts.append(part)
        elif missing:
            raise ValueError(
                f"The checkpoint lacks weights of the {part}: "
                f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
            )
    for name, array in state_dict.items():
        expected = entries[name].to_array().shape
        if array.shape != expected:
            raise ValueError(
                f"The checkpoint's {name!r} must be of shape {expected} to fit "
                f"the model. Received: {array.shape}"
            )
    for name, array in state_dict.items():
        entries[name].assign(array)
    if absent_parts:
        warnings.warn(
            f"The checkpoint has no {' and no '.join(absent_parts)}: "
            "the initial values stay.",
            stacklevel=3,
        )
