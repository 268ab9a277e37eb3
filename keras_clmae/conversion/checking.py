"""Compare a converted model with the target library."""

import importlib

import numpy as np
from keras import ops

from keras_clmae.conversion.formats import read_model
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.layers.token_selection import gather_tokens
from keras_clmae.layers.token_selection import keep_top_tokens
from keras_clmae.saving.weight_files import open_weights


def outputs_by_library(path, path_format, model, images, noise):
    """Computes the outputs of a converted model in the target library.

    Args:
        path: str. Path of what was converted.
        path_format: str. One of `formats.FORMATS`.
        model: the model of ours that it stands for, for sizes.
        images: float32 array of shape (batch, height, width, channels).
        noise: float32 array of shape (batch, tokens): MAE keeps the tokens
            with the lowest.

    Returns:
        The name of the library that computed, and a dict of arrays: `features`
        (batch, tokens + 1, hidden_dim) or, of classifiers, `logits`, and of
        autoencoders `prediction` (batch, tokens, patch_dim). Where the library
        does not import, ours reads the path and computes.
    """
    compute = {
        "huggingface": ("transformers", _by_transformers),
        "timm": ("timm", _by_timm),
        "keras_hub": ("keras_hub", _by_keras_hub),
    }.get(path_format)
    if compute is not None:
        library, function = compute
        try:
            module = importlib.import_module(library)
        # Beside a torchvision that does not load, timm ends in a RuntimeError.
        except (ImportError, RuntimeError):
            module = None
        if module is not None:
            return library, function(module, path, model, images, noise)
    again = _read_again(path, path_format, model)
    return "keras_clmae", outputs_of(again, images, noise, like=model)


def outputs_of(model, images, noise, like=None):
    """Computes the same outputs by a model of this package.

    Args:
        model: model of ours.
        images: As above.
        noise: As above.
        like: model whose number of visible tokens is taken, which some formats
            do not hold. Defaults to `None`: `model` itself.

    Returns:
        A dict of float32 arrays by the names of the outputs.
    """
    sizes = sizes_of(model)
    if sizes.num_classes is not None:
        return {"logits": _array(model(images, training=False))}
    encoder = getattr(model, "encoder", model)
    outputs = {"features": _array(encoder(images))}
    # An encoder is read back with a decoder of which nobody knows anything.
    if sizes.decoder is not None and _autoencoder(like or model):
        autoencoder = _autoencoder(model)
        selection = keep_top_tokens(
            ops.convert_to_tensor(-noise),
            _autoencoder(like or model).num_visible,
        )
        visible = gather_tokens(encoder.embed(images), selection.keep_indices)
        prediction = autoencoder.decoder(
            encoder.encode(visible), selection.restore_indices
        )
        outputs["prediction"] = _array(prediction)
    return outputs


def _autoencoder(model):
    """Finds the masked autoencoder in a model, or `None`."""
    model = getattr(model, "autoencoder", model)
    return model if hasattr(model, "decoder") else None


def largest_difference(first, second):
    """Computes the largest relative difference of outputs that both have.

    Args:
        first: dict of arrays.
        second: dict of arrays.

    Returns:
        A dict from names to floats: largest difference over largest number.
    """
    return {
        name: float(
            np.abs(first[name] - second[name]).max()
            / max(np.abs(first[name]).max(), 1e-12)
        )
        for name in first
        if name in second
    }


def _read_again(path, path_format, model):
    sizes = sizes_of(model)
    return read_model(
        path,
        path_format,
        num_heads=sizes.encoder.num_heads,
        decoder_num_heads=(sizes.decoder or sizes.encoder).num_heads,
        image_shape=sizes.image_shape,
        allow_missing=True,
    )[0]


def _by_transformers(transformers, path, model, images, noise):
    import torch

    options = {}
    if path.startswith("hf://"):
        path, _, revision = path.removeprefix("hf://").partition("@")
        options = {"revision": revision} if revision else {}
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    config = transformers.AutoConfig.from_pretrained(path, **options)
    name = (config.architectures or ["ViTModel"])[0]
    with torch.no_grad():
        if name == "ViTForImageClassification":
            loaded = transformers.ViTForImageClassification.from_pretrained(
                path, **options
            )
            return {"logits": loaded.eval()(pixels).logits.numpy()}
        if name == "ViTModel":
            loaded = transformers.ViTModel.from_pretrained(
                path, add_pooling_layer=False, **options
            ).eval()
            return {"features": loaded(pixels).last_hidden_state.numpy()}
        # Nothing is masked at this ratio, and this noise keeps the order.
        unmasked = transformers.ViTMAEModel.from_pretrained(
            path, mask_ratio=0.0, **options
        ).eval()
        order = torch.arange(noise.shape[1]).expand(noise.shape).float()
        outputs = {
            "features": unmasked(pixels, noise=order).last_hidden_state.numpy()
        }
        if name == "ViTMAEForPreTraining":
            loaded = transformers.ViTMAEForPreTraining.from_pretrained(
                path, **options
            )
            predicted = loaded.eval()(pixels, noise=torch.from_numpy(noise))
            outputs["prediction"] = predicted.logits.numpy()
        return outputs


def _by_timm(timm, path, model, images, noise):
    import torch

    sizes = sizes_of(model)
    stack = sizes.encoder
    mean = sizes.pooling != "class_token"
    loaded = timm.models.vision_transformer.VisionTransformer(
        img_size=sizes.image_shape[:2],
        patch_size=sizes.patch_size,
        in_chans=sizes.channels,
        embed_dim=stack.hidden_dim,
        depth=stack.num_layers,
        num_heads=stack.num_heads,
        mlp_ratio=stack.mlp_dim / stack.hidden_dim,
        num_classes=sizes.num_classes or 0,
        global_pool="avg" if mean else "token",
        fc_norm=sizes.head_norm == "layer_norm",
    ).eval()
    weights = open_weights(path)
    loaded.load_state_dict(
        {name: torch.from_numpy(weights.read(name)) for name in weights.shapes}
    )
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        if sizes.num_classes is not None:
            return {"logits": loaded(pixels).numpy()}
        return {"features": loaded.forward_features(pixels).numpy()}


def _by_keras_hub(keras_hub, path, model, images, noise):
    backbone = keras_hub.models.ViTBackbone.from_preset(path)
    return {"features": _array(backbone(images))}


def _array(tensor):
    return ops.convert_to_numpy(tensor)
