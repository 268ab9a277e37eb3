"""Tiny models of other libraries with random weights, and their outputs."""

import numpy as np
import pytest
from keras import ops

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# Two shapes; neither has the widths, depths or heads of the other.
SHAPES = {
    "small": {
        "image_size": 16,
        "patch_size": 8,
        "num_channels": 3,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    },
    "one channel": {
        "image_size": 12,
        "patch_size": 4,
        "num_channels": 1,
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "intermediate_size": 40,
    },
}
DECODERS = {
    "small": {
        "decoder_hidden_size": 8,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 12,
        "mask_ratio": 0.5,
    },
    "one channel": {
        "decoder_hidden_size": 12,
        "decoder_num_hidden_layers": 2,
        "decoder_num_attention_heads": 3,
        "decoder_intermediate_size": 20,
        "mask_ratio": 0.75,
    },
}


def draw(model, seed=0):
    """Every parameter anew: none is 0 or 1, so that none can be mixed up."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.2 * torch.randn(parameter.shape, generator=generator)
            )
    return model.eval()


def vit_mae(shape, **overrides):
    config = transformers.ViTMAEConfig(
        **{**SHAPES[shape], **DECODERS[shape], **overrides}
    )
    return draw(transformers.ViTMAEForPreTraining(config))


def vit(shape, model_class="ViTModel", **overrides):
    arguments = {**SHAPES[shape], **overrides}
    config = transformers.ViTConfig(**arguments)
    if model_class == "ViTModel":
        return draw(transformers.ViTModel(config, add_pooling_layer=False))
    return draw(getattr(transformers, model_class)(config))


def images_for(config, number=3):
    size = config.image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    shape = (number, height, width, config.num_channels)
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def channels_first(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def features(model, images):
    with torch.no_grad():
        return model(channels_first(images)).last_hidden_state.numpy()


def array(tensor):
    return ops.convert_to_numpy(tensor)


def assert_near(actual, expected, tolerance=1e-5):
    """Largest difference, relative to the largest expected number."""
    actual = array(actual)
    assert actual.shape == tuple(expected.shape)
    scale = max(np.abs(expected).max(), 1.0)
    assert np.abs(actual - expected).max() <= tolerance * scale
