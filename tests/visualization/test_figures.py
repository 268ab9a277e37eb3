"""Attention, curves and animations."""

import numpy as np
import pytest
from keras import ops

from keras_clmae import visualization
from keras_clmae.models import ViTEncoder

pytest.importorskip("matplotlib")
PIL_Image = pytest.importorskip("PIL.Image")


def test_attention_is_that_of_the_block():
    """What it gives, times the values, is what the fused attention computes."""
    encoder = ViTEncoder((8, 12, 1), 4, 16, 3, 2)
    images = np.random.default_rng(0).normal(size=(2, 8, 12, 1))
    images = images.astype("float32")
    for block in (0, -1):
        attention = visualization.class_token_attention(encoder, images, block)
        assert attention.shape == (2, 2, 2, 3)
        tokens = encoder.class_token(encoder.embed(images))
        for earlier in encoder.blocks[: block % 3]:
            tokens = earlier(tokens)
        layer = encoder.blocks[block].attention
        normalized = encoder.blocks[block].attention_norm(tokens)
        expected = ops.convert_to_numpy(layer(normalized))[:, 0]
        value = ops.convert_to_numpy(
            ops.tensordot(
                normalized, ops.convert_to_tensor(layer.qkv_kernel)[:, 2], 1
            )
            + ops.convert_to_tensor(layer.qkv_bias)[2]
        )
        weights = attention.reshape(2, 2, 6)
        to_itself = 1 - weights.sum(axis=-1, keepdims=True)
        weights = np.concatenate([to_itself, weights], axis=-1)
        attended = np.einsum("bht,bthd->bhd", weights, value).reshape(2, 16)
        np.testing.assert_allclose(
            ops.convert_to_numpy(layer.projection(attended)),
            expected,
            rtol=1e-4,
            atol=1e-5,
        )
    with pytest.raises(ValueError, match="`block` must be from -3 to 2"):
        visualization.class_token_attention(encoder, images, 3)


def test_attention_figure():
    images = np.zeros((3, 8, 12, 1), "float32")
    figure = visualization.attention_figure(
        images,
        np.ones((3, 4, 2, 3)),
        visualization.rgb_function(images),
        max_heads=2,
    )
    # The image, the mean and two heads.
    assert len(figure.axes) == 4 * 3


def test_curriculum_figure_shows_every_loss(tmp_path):
    names = (
        "loss",
        "val_loss",
        "val_random_mask_loss",
        "val_mask_difficulty",
        "curriculum_factor",
        "masking_reconstruction_loss",
        "gaussian_loss",
        "kl_loss",
        "diversity_loss",
    )
    log = {name: np.linspace(1, -1, 5) for name in names}
    path = tmp_path / "log.csv"
    path.write_text(
        ",".join(("epoch", *names))
        + "\n"
        + "\n".join(
            ",".join([str(e), *(str(log[name][e]) for name in names)])
            for e in range(5)
        )
    )
    read = visualization.read_log(path)
    figure = visualization.curriculum_figure(read, "a run")
    lines = [line for axis in figure.axes for line in axis.get_lines()]
    drawn = [line for line in lines if len(line.get_xdata()) == 5]
    assert len(drawn) == len(names)
    np.testing.assert_allclose(drawn[0].get_ydata(), log["loss"])
    visualization.save_figure(figure, str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").stat().st_size > 20_000
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "log.csv"}
    # Plain MAE has no curriculum; one epoch is a point.
    assert len(visualization.curriculum_figure({"loss": [1.0]}).axes) == 1
    path.write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="`path` must have at least one epoch"):
        visualization.read_log(path)


def test_animation(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 8, 12, 3)).astype("float32")
    snapshots = {
        epoch: {
            "keep_scores": rng.random((2, 6)),
            "mask": rng.permutation(np.array([[0, 1, 1] * 2] * 2).T).T,
            "reconstruction": images,
        }
        for epoch in (0, 5, 10)
    }
    path = str(tmp_path / "masks.gif")
    rgb = visualization.rgb_function(images)
    visualization.mask_animation(
        path, images[1], snapshots, rgb, (2, 3), index=1, factors={5: 0.0}
    )
    with PIL_Image.open(path) as animation:
        assert animation.n_frames == 3
        frames = []
        for frame in range(3):
            animation.seek(frame)
            frames.append(np.asarray(animation.convert("RGB")))
        assert animation.info["loop"] == 0
    assert not np.array_equal(frames[0], frames[1])
    assert [p.name for p in tmp_path.iterdir()] == ["masks.gif"]
    with pytest.raises(ValueError, match="at least two epochs"):
        visualization.mask_animation(
            path, images[0], {0: snapshots[0]}, rgb, (2, 3)
        )
