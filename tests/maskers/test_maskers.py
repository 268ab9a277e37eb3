"""Maskers that draw: what their masks look like, by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae import maskers
from keras_clmae.layers import keep_top_tokens
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_images


def masks_of(masker, number, grid_size, num_keep):
    """Masks (number, rows, columns), 1 = removed."""
    tokens = ops.zeros((number, grid_size[0] * grid_size[1], 4))
    scores = masker(tokens)
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"
    mask = keep_top_tokens(scores, num_keep).mask
    return ops.convert_to_numpy(mask).reshape(number, *grid_size)


def makers():
    return {
        "random": maskers.RandomMasker(seed=0),
        "grid": maskers.GridMasker(grid_size=(6, 4), seed=0),
        "block": maskers.BlockMasker(2, grid_size=(6, 4), seed=0),
        **{
            color: maskers.ColorNoiseMasker(color, grid_size=(6, 4), seed=0)
            for color in ("red", "blue", "green", "purple")
        },
    }


@pytest.mark.parametrize("name", makers())
def test_shares_and_places(name):
    masks = masks_of(makers()[name], 400, (6, 4), 6)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), np.full(400, 18))
    assert len(np.unique(masks.reshape(400, -1), axis=0)) > 3
    share = masks.mean(axis=0)
    if name == "block":
        # A block hides the middle more often than the borders.
        assert (
            share[2:4, 1:3].min() > share[[0, 0, -1, -1], [0, -1, 0, -1]].max()
        )
    else:
        # Five standard deviations of the mean of 400 draws.
        assert np.abs(share - 0.75).max() < 5 * np.sqrt(0.75 * 0.25 / 400)


@ONCE
def test_grid_keeps_one_place_of_every_cell():
    for mask in masks_of(
        maskers.GridMasker(grid_size=(4, 6), seed=1), 20, (4, 6), 6
    ):
        cells = mask.reshape(2, 2, 3, 2).transpose(0, 2, 1, 3).reshape(6, 4)
        assert (cells == cells[0]).all()
        assert cells[0].sum() == 3
    # Half of the patches: a checkerboard, which alternates along both axes.
    for mask in masks_of(
        maskers.GridMasker(grid_size=(4, 6), seed=1), 20, (4, 6), 12
    ):
        assert (mask[1:] != mask[:-1]).all()
        assert (mask[:, 1:] != mask[:, :-1]).all()


@ONCE
def test_grid_of_odd_sides_has_exactly_as_many():
    masks = masks_of(
        maskers.GridMasker(grid_size=(3, 5), seed=1), 50, (3, 5), 4
    )
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), np.full(50, 11))


@ONCE
def test_one_block_is_a_rectangle_but_for_its_last_ring():
    for mask in masks_of(
        maskers.BlockMasker(grid_size=(14, 14), seed=0), 50, (14, 14), 98
    ):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        # Edges at the border of the image are not the last that it reached.
        inner = inner[
            int(rows[0] > 0) : inner.shape[0] - int(rows[-1] < 13),
            int(columns[0] > 0) : inner.shape[1] - int(columns[-1] < 13),
        ]
        assert inner.all()


@ONCE
def test_more_blocks_have_more_edges():
    def edges(num_blocks):
        masks = masks_of(
            maskers.BlockMasker(num_blocks, grid_size=(14, 14), seed=0),
            50,
            (14, 14),
            98,
        )
        return np.abs(np.diff(masks, axis=1)).sum(axis=(1, 2)).mean()

    assert edges(1) < edges(4) < 0.7 * 14 * 13 / 2


@ONCE
def test_spectrum_of_the_noise():
    grid_size = (16, 16)
    frequency = np.fft.fftfreq(16)
    radius = np.hypot(frequency[:, None], frequency[None])
    blur = [np.exp(-2 * (np.pi * sigma * radius) ** 2) for sigma in (0.75, 1.5)]
    responses = {
        "red": blur[0],
        "blue": 1 - blur[0],
        "green": blur[0] - blur[1],
        "purple": 1 - blur[0] + blur[1],
    }
    for color, response in responses.items():
        masker = maskers.ColorNoiseMasker(color, grid_size=grid_size, seed=0)
        scores = ops.convert_to_numpy(masker(ops.zeros((2000, 256, 4))))
        noise = np.fft.fft2(scores.reshape(-1, *grid_size))
        power = np.mean(np.abs(noise) ** 2, axis=0)
        # Uniform draws have a variance of 1 / 12 at each of 256 places.
        np.testing.assert_allclose(
            power, response**2 * 256 / 12, rtol=0.15, atol=0.01, err_msg=color
        )


@pytest.mark.parametrize("name", makers())
def test_draws_go_on_after_restoring(name, tmp_path):
    config = makers()[name].get_config() | {"grid_size": None}
    if name == "random":
        del config["grid_size"]
    masker = type(makers()[name]).from_config(config)
    model = tiny_autoencoder(masker=masker)
    images = tiny_images(4)
    first = model(images)["mask"]
    path = str(tmp_path / "model.keras")
    model.save(path)
    expected = ops.convert_to_numpy(model(images)["mask"])
    restored = keras.saving.load_model(path)
    assert type(restored.masker) is type(masker)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(restored(images)["mask"]), expected
    )
    assert not np.array_equal(ops.convert_to_numpy(first), expected)


@ONCE
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: maskers.BlockMasker(0), "num_blocks"),
        (lambda: maskers.ColorNoiseMasker("yellow"), "color"),
        (lambda: maskers.ColorNoiseMasker(sigma=0.0), "sigma"),
        (lambda: maskers.GridMasker(grid_size=(2, 0)), "grid_size"),
        (lambda: maskers.GridMasker(grid_size=(2,)), "grid_size"),
        (
            lambda: tiny_autoencoder(masker=maskers.GridMasker((3, 3))),
            "grid_size",
        ),
        (lambda: maskers.GridMasker()(ops.zeros((1, 6, 4))), "grid_size"),
        (
            lambda: tiny_autoencoder(masker=maskers.RandomMasker(), seed=1),
            "seed",
        ),
        (lambda: maskers.MaskingModule(width=0), "width"),
        (lambda: maskers.MaskingModule(activation="relu"), "activation"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()


def test_masking_module_of_its_own_width():
    module = maskers.MaskingModule(
        num_layers=1, num_heads=2, head="per_token", width=4
    )
    plain = maskers.MaskingModule(num_layers=1, num_heads=2, head="per_token")
    tokens = ops.ones((2, 6, 8))
    assert module(tokens).shape == plain(tokens).shape == (2, 6)
    # Projection 8 * 4 + 4; class token and its position 8; a block
    # 12 * 16 + 13 * 4; norm 8; head 5.
    assert module.count_params() == 36 + 8 + 244 + 8 + 5
    assert not any(
        "projection" in w.path.split("/")[-2] and "attention" not in w.path
        for w in plain.weights
    )
