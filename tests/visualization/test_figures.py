"""Attention, curves and animations."""

import numpy as np
import pytest
from keras import ops

from keras_clmae import visualization
from keras_clmae.models import ViTEncoder
from tests.drawn import drawn_panels
from tests.once import ONCE

pytest.importorskip("matplotlib")
PIL_Image = pytest.importorskip("PIL.Image")


def test_attention_is_that_of_the_block():
    """Times the values, it is the output of the fused attention."""
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


@ONCE
def test_attention_figure():
    images = np.zeros((3, 8, 12, 1), "float32")
    figure = visualization.attention_figure(
        images,
        np.linspace(0.1, 0.2, 72).reshape(3, 4, 2, 3),
        visualization.rgb_function(images),
        max_heads=2,
    )
    # The image, the mean and two heads, for each of three images.
    drawn = figure.axes[0].images
    assert len(drawn) == 4 * 3
    maps = [each for each in drawn if each.get_array().ndim == 2]
    assert len(maps) == 3 * 3
    # The scale is one for all.
    (limits,) = {heat_map.get_clim() for heat_map in maps}
    assert limits[0] == 0 and 0.15 < limits[1] <= 0.2


@ONCE
def test_groups_of_masks_over_training():
    images = np.zeros((2, 8, 12, 1), "float32")
    arrays = {
        "keep_scores": np.zeros((2, 6)),
        "mask": np.zeros((2, 6)),
        "reconstruction": images,
    }
    figure = visualization.masks_over_training_figure(
        images,
        {0: arrays, 30: arrays, 60: arrays},
        visualization.rgb_function(images),
        (2, 3),
    )
    figure.draw_without_rendering()
    drawn = figure.axes[0].images
    places = sorted({tuple(each.get_extent()[:2]) for each in drawn})
    assert len(places) == 10
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    for number, name in enumerate(("start", "epoch 30", "epoch 60")):
        left, middle, right = places[1 + 3 * number : 4 + 3 * number]
        # Inches to pixels.
        center = (left[0] + right[1]) / 2 * figure.dpi
        box = texts[name].get_window_extent()
        assert abs((box.x0 + box.x1) / 2 - center) < 2
        # A gap to what comes before, wider than those inside.
        before = places[3 * number]
        assert left[0] - before[1] > 2 * (middle[0] - left[1])
    # Nothing is cut off, and no words lie on others.
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for index, box in enumerate(boxes):
        assert 0 <= box.x0 and box.x1 <= figure.bbox.width
        assert 0 <= box.y0 and box.y1 <= figure.bbox.height
        assert not any(box.overlaps(other) for other in boxes[:index])
    # The scale of the scores.
    labels = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert labels == ["0", "1 stays"]


@ONCE
def test_a_first_epoch_does_not_flatten_the_rest():
    log = {
        "loss": np.array([9.0, 1.2, 1.1, 1.0, 0.9]),
        "curriculum_factor": np.linspace(1, -1, 5),
        "gaussian_loss": np.array([-9.0, 1.2, 1.1, 1.0, 0.9]),
        "kl_loss": np.array([1.3, 1.2, 1.1, 1.0, 0.9]),
    }
    figure = visualization.curriculum_figure(log)
    panels = {axis.get_title(): axis for axis in figure.axes}
    loss = panels["loss of the autoencoder"]
    assert loss.get_ylim()[1] < 1.3
    # The curve begins at the second epoch: nothing runs out of the panel.
    (drawn, *_) = loss.get_lines()
    assert np.isnan(drawn.get_ydata()[0])
    assert drawn.get_ydata()[1:].tolist() == [1.2, 1.1, 1.0, 0.9]
    assert "first epoch 9" in [t.get_text() for t in loss.texts][0]
    assert panels["masking loss: gaussian"].get_ylim()[0] > 0.8
    kl = panels["masking loss: kl"]
    assert kl.get_ylim()[1] > 1.3 and not kl.texts
    assert kl.get_lines()[0].get_ydata()[0] == 1.3
    assert panels["curriculum factor"].get_ylim() == (-1.15, 1.15)


@ONCE
@pytest.mark.parametrize("sign", [1, -1])
def test_roles_stand_on_their_own_ground(sign):
    factors = sign * np.array([1.0, 0.8, 0.6, -0.5, 0.1])
    figure = visualization.curriculum_figure(
        {"loss": np.ones(5), "curriculum_factor": factors}
    )
    axis = next(a for a in figure.axes if a.get_title() == "curriculum factor")
    places = {t.get_text(): t.get_position()[0] for t in axis.texts}
    roles = ("partner", "adversary")[::sign]
    assert places == {roles[0]: 2, roles[1]: 4}
    figure = visualization.curriculum_figure(
        {"loss": np.ones(2), "curriculum_factor": np.ones(2)}
    )
    axis = next(a for a in figure.axes if a.get_title() == "curriculum factor")
    assert [t.get_text() for t in axis.texts] == ["partner"]


@ONCE
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
    colors, panels = drawn_panels(tmp_path / "a.png")
    assert panels == len(figure.axes) == 7
    # Lines in several colors, and their antialiased borders.
    assert colors > 100
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "log.csv"}
    # Plain MAE has no curriculum; one epoch is a point.
    assert len(visualization.curriculum_figure({"loss": [1.0]}).axes) == 1
    path.write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="`path` must have at least one epoch"):
        visualization.read_log(path)


@ONCE
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
    # The mask moves, so every frame differs from the others and none is blank.
    assert len({frame.tobytes() for frame in frames}) == 3
    assert all(len(np.unique(frame)) > 20 for frame in frames)
    assert [p.name for p in tmp_path.iterdir()] == ["masks.gif"]
    with pytest.raises(ValueError, match="at least two epochs"):
        visualization.mask_animation(
            path, images[0], {0: snapshots[0]}, rgb, (2, 3)
        )


def test_panels_follow_the_terms_of_the_log():
    log = {
        "loss": [2.0, 1.0],
        "curriculum_factor": [1.0, -1.0],
        "masking_loss": [1.0, 1.0],
        "random_mask_loss": [2.0, 2.0],
        "mask_difficulty": [1.0, 0.5],
        "patch_error_loss": [1.0, 0.9],
        "patch_error_correlation": [0.0, 0.5],
    }
    figure = visualization.curriculum_figure(log)
    assert [axis.get_title() for axis in figure.axes] == [
        "loss of the autoencoder",
        "curriculum factor",
        "mask difficulty",
        "masking loss: patch error",
    ]
    np.testing.assert_array_equal(
        figure.axes[2].get_lines()[0].get_ydata(), log["mask_difficulty"]
    )
    figure = visualization.curriculum_figure(
        log, terms=["patch_error_loss", "patch_error_correlation"]
    )
    assert len(figure.axes) == 5


@ONCE
def test_predicted_errors_have_a_scale_for_each_image():
    inside, outside = np.array([0.2, 0.9]), np.array([-0.5, 2.0])
    images = np.random.default_rng(0).random((1, 4, 8, 3), "float32")
    for scores, scales, names in (
        ((inside, inside), [(0, 1), (0, 1)], ["0", "1 stays"]),
        # One kind of scale for all epochs.
        (
            (inside, outside),
            [(0.2, 0.9), (-0.5, 2.0)],
            ["lowest", "highest stays"],
        ),
    ):
        snapshots = {
            epoch: {
                "keep_scores": each[None],
                "mask": np.array([[1, 0]]),
                "reconstruction": images,
            }
            for epoch, each in enumerate(scores)
        }
        figure = visualization.masks_over_training_figure(
            images, snapshots, visualization.rgb_function(images), (1, 2)
        )
        drawn = [
            each.get_clim()
            for axis in figure.axes
            for each in axis.images
            if each.get_array().shape == (1, 2)
        ]
        assert drawn == scales
        labels = figure.axes[-1].get_yticklabels()
        assert [text.get_text() for text in labels] == names
