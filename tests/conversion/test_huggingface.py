"""Hugging Face computes what we compute, from its weights and from ours."""

import json
import shutil

import numpy as np
import pytest
from keras import ops

from keras_clmae.conversion import from_huggingface
from keras_clmae.conversion import to_huggingface
from keras_clmae.data.normalization import PixelNormalization
from keras_clmae.models import ImageClassifier
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.models import interpolate_position_table
from tests.conversion.reference_models import SHAPES
from tests.conversion.reference_models import array
from tests.conversion.reference_models import assert_near
from tests.conversion.reference_models import channels_first
from tests.conversion.reference_models import draw
from tests.conversion.reference_models import features
from tests.conversion.reference_models import images_for
from tests.conversion.reference_models import torch
from tests.conversion.reference_models import transformers
from tests.conversion.reference_models import vit
from tests.conversion.reference_models import vit_mae
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae

pytestmark = ONCE


@pytest.fixture(autouse=True)
def quiet():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that transformers wrote."""
    path = tmp_path_factory.mktemp("vit_mae")
    vit_mae("small").save_pretrained(path)
    return path


def assert_same_pretraining(theirs, ours):
    images = images_for(theirs.config)
    num_tokens = ours.encoder.num_tokens
    noise = np.random.default_rng(2).random((len(images), num_tokens))
    noise = noise.astype("float32")
    with torch.no_grad():
        expected = theirs(channels_first(images), noise=torch.from_numpy(noise))
    actual = ours(images, keep_scores=-noise)
    assert_near(actual["mask"], expected.mask.numpy(), 0)
    removed = array(actual["removed_indices"])
    logits = np.take_along_axis(
        expected.logits.numpy(), removed[..., None], axis=1
    )
    assert_near(actual["prediction"], logits)
    loss = ours.removed_loss(
        images, actual["prediction"], actual["removed_indices"]
    )
    np.testing.assert_allclose(array(loss), expected.loss.numpy(), rtol=1e-5)
    # What people look at: the patches put together, in pixels.
    patches = expected.logits
    if theirs.config.norm_pix_loss:
        target = theirs.patchify(channels_first(images))
        mean = target.mean(dim=-1, keepdim=True)
        deviation = (target.var(dim=-1, keepdim=True) + 1e-6) ** 0.5
        patches = patches * deviation + mean
    pixels = theirs.unpatchify(patches).numpy().transpose(0, 2, 3, 1)
    mask = theirs.unpatchify(
        expected.mask[..., None].expand(patches.shape).contiguous()
    )
    mask = mask.numpy().transpose(0, 2, 3, 1)
    assert_near(
        ours.reconstruct(images, -noise)["images"],
        mask * pixels + (1 - mask) * images,
    )


@pytest.mark.parametrize(
    ("shape", "norm_pix_loss"),
    [
        ("small", False),
        ("one channel", True),
    ],
)
def test_pretraining_both_ways(shape, norm_pix_loss, tmp_path):
    theirs = vit_mae(shape, norm_pix_loss=norm_pix_loss)
    ours = from_huggingface(theirs)
    assert isinstance(ours, MaskedAutoencoder)
    assert ours.encoder.layer_norm_epsilon == 1e-12
    assert ours.normalize_targets == norm_pix_loss
    assert_same_pretraining(theirs, ours)
    to_huggingface(ours, tmp_path / "again")
    again = transformers.ViTMAEForPreTraining.from_pretrained(
        tmp_path / "again", output_loading_info=True
    )
    assert not any(again[1].values())
    for name, value in theirs.state_dict().items():
        assert torch.equal(again[0].state_dict()[name], value), name


def test_our_own_autoencoder(tmp_path):
    sizes = SHAPES["one channel"]
    ours = MaskedAutoencoder.from_sizes(
        image_shape=(sizes["image_size"],) * 2 + (sizes["num_channels"],),
        patch_size=sizes["patch_size"],
        hidden_dim=sizes["hidden_size"],
        num_layers=2,
        num_heads=2,
        decoder_hidden_dim=16,
        decoder_num_layers=1,
        decoder_num_heads=4,
    )
    to_huggingface(ours, tmp_path)
    theirs = transformers.ViTMAEForPreTraining.from_pretrained(tmp_path)
    assert theirs.config.layer_norm_eps == 1e-6
    assert_same_pretraining(theirs.eval(), ours)


@pytest.mark.parametrize(
    ("shape", "image_size", "qkv_bias"),
    [
        ("small", [16, 24], False),
        ("small", 16, True),
        ("one channel", 12, False),
        ("one channel", [8, 16], True),
    ],
)
def test_vit_both_ways(shape, image_size, qkv_bias, tmp_path):
    theirs = vit(shape, image_size=image_size, qkv_bias=qkv_bias)
    ours = from_huggingface(theirs)
    assert isinstance(ours, ViTEncoder)
    assert ours.position_embedding.position_table.trainable
    images = images_for(theirs.config)
    expected = features(theirs, images)
    assert_near(ours(images), expected)
    to_huggingface(ours, tmp_path)
    again = transformers.ViTModel.from_pretrained(
        tmp_path, add_pooling_layer=False
    ).eval()
    assert_near(features(again, images), expected)


@pytest.mark.parametrize("shape", ["one channel", "small"])
def test_classifier_both_ways(shape, tmp_path):
    theirs = vit(shape, "ViTForImageClassification", num_labels=5)
    ours = from_huggingface(theirs)
    assert isinstance(ours, ImageClassifier)
    images = images_for(theirs.config)
    with torch.no_grad():
        expected = theirs(channels_first(images)).logits.numpy()
    assert_near(ours(images), expected)
    to_huggingface(ours, tmp_path)
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        actual = again.eval()(channels_first(images)).logits.numpy()
    assert_near(actual, expected)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_encoder_of_vit_mae(shape):
    theirs = draw(transformers.ViTMAEModel(vit_mae(shape).config))
    ours = from_huggingface(theirs)
    assert isinstance(ours, ViTEncoder)
    assert not ours.position_embedding.position_table.trainable
    images = images_for(theirs.config)
    # Nothing is removed, and this noise keeps the order.
    theirs.config.mask_ratio = 0.0
    noise = torch.arange(ours.num_tokens).expand(len(images), -1).float()
    with torch.no_grad():
        expected = theirs(channels_first(images), noise=noise)
    assert_near(ours(images), expected.last_hidden_state.numpy())


def test_pooler_is_left_out_knowingly():
    theirs = transformers.ViTModel(vit("small").config).eval()
    with pytest.raises(ValueError, match="no place for: pooler.dense.bias"):
        from_huggingface(theirs)
    ours = from_huggingface(theirs, allow_missing=True)
    images = images_for(theirs.config)
    assert_near(ours(images), features(theirs, images))


@pytest.mark.parametrize(
    "image_shape",
    [
        (24, 40, 3),
        (32, 32, 3),
        (8, 16, 3),
    ],
)
def test_another_image_size(folder, image_shape):
    native = from_huggingface(folder)
    ours = from_huggingface(folder, image_shape=image_shape)
    grid = ours.encoder.grid_size
    assert ours.image_shape == image_shape and ours.decoder.grid_size == grid
    for part, prefix in (("encoder", 0), ("decoder", 1)):
        table, resized = (
            array(getattr(model, part).position_embedding.position_table)
            for model in (native, ours)
        )
        np.testing.assert_array_equal(resized[:prefix], table[:prefix])
        np.testing.assert_array_equal(
            resized[prefix:],
            interpolate_position_table(table[prefix:], (2, 2), grid),
        )
        # Two dimensions, not Hugging Face's one.
        square = torch.from_numpy(table[prefix:].reshape(1, 2, 2, -1))
        expected = torch.nn.functional.interpolate(
            square.permute(0, 3, 1, 2), size=grid, mode="bicubic"
        )
        expected = expected.permute(0, 2, 3, 1).flatten(0, 2).numpy()
        assert_near(resized[prefix:], expected)
    # The features at another size are Hugging Face's, whose encoder is right.
    theirs = transformers.ViTMAEModel.from_pretrained(folder, mask_ratio=0.0)
    images = np.random.default_rng(0).normal(size=(2, *image_shape))
    images = images.astype("float32")
    noise = torch.arange(ours.encoder.num_tokens).expand(2, -1).float()
    with torch.no_grad():
        expected = theirs.eval()(
            channels_first(images), noise=noise, interpolate_pos_encoding=True
        )
    assert_near(ours.encoder(images), expected.last_hidden_state.numpy())


# === Files ===


def rewrite_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **changes}))


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_folder_of_pytorch_files(folder, copied):
    state = transformers.ViTMAEForPreTraining.from_pretrained(folder)
    names = {}
    from safetensors.torch import load_file

    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    # In two files, as large models are, in the names of older releases.
    shards = ({}, {})
    for index, (name, value) in enumerate(sorted(weights.items())):
        name = name.replace("decoder_encoder.layer", "decoder_layers")
        shards[index % 2][name] = value
        names[name] = f"pytorch_model-{index % 2}.bin"
    for index, shard in enumerate(shards):
        torch.save(shard, copied / f"pytorch_model-{index}.bin")
    (copied / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": names})
    )
    assert_same_pretraining(state.eval(), from_huggingface(copied))


def test_half_precision_files(tmp_path):
    theirs = vit("small").to(torch.bfloat16)
    theirs.save_pretrained(tmp_path)
    ours = from_huggingface(tmp_path)
    expected = theirs.state_dict()["layernorm.weight"].float().numpy()
    np.testing.assert_array_equal(array(ours.norm.gamma), expected)


def test_image_processor(tmp_path):
    normalization = PixelNormalization([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    to_huggingface(
        from_huggingface(vit("small")), tmp_path, normalization=normalization
    )
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), "uint8")
    # By the class itself: AutoImageProcessor needs torchvision.
    from transformers.models.vit.image_processing_pil_vit import (
        ViTImageProcessorPil,
    )

    processor = ViTImageProcessorPil.from_pretrained(tmp_path)
    assert settings["size"] == {"height": 16, "width": 16}
    actual = processor(pixels, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(
        actual.transpose(1, 2, 0), normalization(pixels), atol=1e-5
    )
    with pytest.raises(ValueError, match="`normalization` must be for"):
        to_huggingface(
            from_huggingface(vit("one channel")),
            tmp_path,
            normalization=normalization,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 32}, "`hidden_size` of config.json must agree"),
        ({"num_hidden_layers": 10**12}, "`num_hidden_layers` of config"),
        ({"image_size": 64}, "`image_size` and `patch_size` of config"),
        ({"image_size": [16, 16, 16]}, "`image_size` of config.json must be"),
        ({"num_attention_heads": 3}, "divisible by `num_heads`"),
        ({"layer_norm_eps": -1}, "`layer_norm_eps` of config.json"),
        ({"hidden_act": "relu"}, "`hidden_act` must be 'gelu'"),
        ({"model_type": "bert"}, "of type 'vit' or 'vit_mae'"),
        ({"mask_ratio": 1.5}, "`mask_ratio` must be a number in"),
    ],
)
def test_configurations_that_do_not_fit(copied, changes, message):
    rewrite_config(copied, **changes)
    with pytest.raises(ValueError, match=message):
        from_huggingface(copied)


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/x.bin", 3, ".bin"])
def test_shards_stay_in_their_folder(copied, file):
    (copied / "model.safetensors").rename(copied.parent / "x.safetensors")
    (copied / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"vit.embeddings.cls_token": file}})
    )
    with pytest.raises(ValueError, match="`weight_map` must give for every"):
        from_huggingface(copied)


@pytest.mark.parametrize(
    "handle", ["hf://a/b/c", "hf://../b", "hf://a/..", "hf://a/b@../c", "hf://"]
)
def test_handles_that_are_none(handle):
    with pytest.raises(ValueError, match="must be like 'hf://organization"):
        from_huggingface(handle)


def test_handles_are_downloaded(folder, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(repo_id, revision, allow_patterns):
        asked.append((repo_id, revision))
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", download)
    model = from_huggingface("hf://someone/vit-mae@v1.0")
    assert asked == [("someone/vit-mae", "v1.0")]
    assert model.image_shape == (16, 16, 3)


def test_what_has_no_place_there(tmp_path):
    with pytest.raises(ValueError, match="must be for square images"):
        to_huggingface(tiny_autoencoder(), tmp_path / "a")
    square = tiny_clmae(image_shape=(8, 8, 3))
    report = to_huggingface(square, tmp_path / "a", allow_missing=True)
    assert len(report.left_over) == len(square.masking_module.weights)
    again = from_huggingface(tmp_path / "a")
    images = np.ones((1, 8, 8, 3), "float32")
    assert_near(again.encoder(images), array(square.encoder(images)))
    classifier = ImageClassifier(square.encoder, 3)
    with pytest.raises(ValueError, match="must pool the class token"):
        to_huggingface(classifier, tmp_path / "b")


def test_an_interrupted_write_leaves_the_older_folder(tmp_path, monkeypatch):
    target = tmp_path / "model"
    to_huggingface(tiny_clmae().encoder, target)
    before = {p.name: p.read_bytes() for p in target.iterdir()}
    import safetensors.numpy

    def broken(*arguments, **keywords):
        raise OSError("No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", broken)
    with pytest.raises(OSError, match="No space left"):
        to_huggingface(tiny_clmae().encoder, target)
    assert {p.name: p.read_bytes() for p in target.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert ops.shape(from_huggingface(target)(np.ones((1, 8, 12, 2), "f")))
