"""Models of a few hundred numbers, whose files are small."""

import pytest

from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import MaskingModule


@pytest.fixture(scope="module")
def model():
    return MaskedAutoencoder.from_sizes(
        image_shape=(4, 4, 1),
        patch_size=2,
        hidden_dim=4,
        num_layers=1,
        num_heads=1,
        decoder_hidden_dim=4,
        decoder_num_layers=1,
        decoder_num_heads=1,
        mask_ratio=0.5,
    )


@pytest.fixture(scope="module")
def clmae(model):
    return CLMAE(model, MaskingModule(num_layers=1, num_heads=1))
