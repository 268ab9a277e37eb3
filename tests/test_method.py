"""The method does what the paper says: masks get harder along the curriculum.

On CIFAR-10 pictures, where their archive is at hand. With a factor that stays
the same, a few hundred steps of a small model do not tell a partner from an
adversary: the first random weights decide.
"""

import io
import os
import pathlib
import tarfile

import keras
import numpy as np
import pytest

from keras_clmae import LinearCurriculum
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskingModule
from tests.tiny_models import adamw

DATA = pathlib.Path(
    os.environ.get(
        "KERAS_CLMAE_TEST_DATA",
        pathlib.Path(__file__).resolve().parents[2] / "shared" / "data",
    )
)
STEPS = 240
BATCH_SIZE = 64


def cifar10_images(number=3000):
    """Pictures spread over the classes, standardized by channel."""
    image = pytest.importorskip("PIL.Image")
    pictures = []
    with tarfile.open(DATA / "cifar10_images.tar.gz") as tar:
        for member in tar:
            name = pathlib.PurePath(member.name)
            if name.parts[0] == "train" and name.stem.isdigit():
                if int(name.stem) < number // 10:
                    content = io.BytesIO(tar.extractfile(member).read())
                    pictures.append(np.asarray(image.open(content)))
    pictures = np.stack(pictures).astype("float32")
    order = np.random.default_rng(0).permutation(len(pictures))
    mean, std = pictures.mean((0, 1, 2)), pictures.std((0, 1, 2))
    return (pictures[order] - mean) / std


@pytest.fixture(scope="module")
def images():
    if not (DATA / "cifar10_images.tar.gz").exists():
        pytest.skip("needs cifar10_images.tar.gz in KERAS_CLMAE_TEST_DATA")
    return cifar10_images()


def difficulties(images, curriculum, steps):
    """Mask difficulty on held-out images, eight times during training."""
    keras.utils.set_random_seed(0)
    model = CLMAE.from_sizes(
        image_shape=images.shape[1:],
        patch_size=8,
        hidden_dim=32,
        num_layers=2,
        num_heads=4,
        decoder_hidden_dim=16,
        decoder_num_layers=1,
        decoder_num_heads=4,
        masking_module=MaskingModule(num_layers=2, name="masking_module"),
    )
    model.compile(adamw(3e-3), curriculum=curriculum)
    held_out, train = images[:359], images[359:]
    draw = np.random.default_rng(1)
    measured = []
    for step in range(steps):
        model.train_on_batch(
            train[draw.choice(len(train), BATCH_SIZE, replace=False)]
        )
        if (step + 1) % (steps // 8) == 0:
            logs = model.evaluate(
                held_out, batch_size=359, verbose=0, return_dict=True
            )
            measured.append(logs["mask_difficulty"])
    return np.array(measured)


@pytest.mark.slow
def test_masks_get_harder_as_the_factor_turns_negative(images):
    measured = difficulties(images, LinearCurriculum(2 * STEPS), 2 * STEPS)
    # The factor crosses zero after the fourth measurement. Measured on PyTorch:
    # 0.80 and 0.79 around it, 0.86 and 0.87 at the end.
    assert measured[-2:].mean() > measured[3:5].mean() + 0.02
