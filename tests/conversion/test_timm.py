"""Weights under timm's names.

timm needs torchvision, which does not load beside PyTorch's CPU build, so it is
not in the environment that scripts/test.sh makes. Where it does not import,
names and shapes are held against a list, and the numbers against Hugging Face's
ViT, which computes the same.
"""

import numpy as np
import pytest
from keras import ops

from keras_clmae.conversion import from_huggingface
from keras_clmae.conversion import from_timm
from keras_clmae.conversion import load_torch_checkpoint
from keras_clmae.conversion import save_torch_checkpoint
from keras_clmae.conversion import to_timm
from keras_clmae.models import ImageClassifier
from keras_clmae.models import ViTEncoder
from keras_clmae.saving.weight_files import open_weights
from tests.conversion.reference_models import array
from tests.conversion.reference_models import assert_near
from tests.conversion.reference_models import channels_first
from tests.conversion.reference_models import draw
from tests.conversion.reference_models import features
from tests.conversion.reference_models import images_for
from tests.conversion.reference_models import torch
from tests.conversion.reference_models import vit
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae

pytestmark = ONCE

try:
    import timm
# Without a torchvision that loads: RuntimeError, not ImportError.
except (ImportError, RuntimeError) as error:
    timm, WHY = (
        None,
        (
            "timm needs torchvision, which does not load beside PyTorch's CPU "
            f"build: neither is in the tests' environment ({error})"
        ),
    )
else:
    WHY = ""

# The state dict of timm 1.0.31's VisionTransformer(img_size=(8, 12),
# patch_size=4, in_chans=2, embed_dim=8, depth=1, num_heads=2, num_classes=0).
NAMES = {
    "cls_token": (1, 1, 8),
    "pos_embed": (1, 7, 8),
    "patch_embed.proj.weight": (8, 2, 4, 4),
    "patch_embed.proj.bias": (8,),
    "blocks.0.norm1.weight": (8,),
    "blocks.0.norm1.bias": (8,),
    "blocks.0.attn.qkv.weight": (24, 8),
    "blocks.0.attn.qkv.bias": (24,),
    "blocks.0.attn.proj.weight": (8, 8),
    "blocks.0.attn.proj.bias": (8,),
    "blocks.0.norm2.weight": (8,),
    "blocks.0.norm2.bias": (8,),
    "blocks.0.mlp.fc1.weight": (32, 8),
    "blocks.0.mlp.fc1.bias": (32,),
    "blocks.0.mlp.fc2.weight": (8, 32),
    "blocks.0.mlp.fc2.bias": (8,),
    "norm.weight": (8,),
    "norm.bias": (8,),
}
HEAD = {"head.weight": (3, 8), "head.bias": (3,)}
# With `global_pool="avg"` the norm is that of the mean.
MEAN_HEAD = {
    **{n: s for n, s in NAMES.items() if not n.startswith("norm.")},
    "fc_norm.weight": (8,),
    "fc_norm.bias": (8,),
    **HEAD,
}


def classifier(pooling):
    encoder = tiny_autoencoder().encoder
    return ImageClassifier(encoder, 3, pooling=pooling, head_stddev=0.5)


@pytest.mark.parametrize("name", ["vit.safetensors", "vit.pth"])
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: tiny_autoencoder().encoder, NAMES),
        (lambda: classifier("class_token"), {**NAMES, **HEAD}),
        (lambda: classifier("mean_before_norm"), MEAN_HEAD),
    ],
)
def test_names_and_shapes(make, names, name, tmp_path):
    model = make()
    to_timm(model, tmp_path / name)
    assert open_weights(tmp_path / name).shapes == names
    again = from_timm(tmp_path / name, num_heads=2, image_shape=(8, 12, 2))
    images = np.random.default_rng(0).normal(size=(2, 8, 12, 2))
    images = images.astype("float32")
    np.testing.assert_array_equal(array(again(images)), array(model(images)))


@pytest.mark.parametrize("shape", ["small", "one channel"])
def test_numbers_through_hugging_face(shape, tmp_path):
    """A state dict under timm's names, made of Hugging Face's by hand."""
    theirs = vit(shape, layer_norm_eps=1e-6)
    hidden_dim = theirs.config.hidden_size
    state = {
        "cls_token": theirs.embeddings.cls_token,
        "pos_embed": theirs.embeddings.position_embeddings,
        "patch_embed.proj.weight": (
            theirs.embeddings.patch_embeddings.projection.weight
        ),
        "patch_embed.proj.bias": (
            theirs.embeddings.patch_embeddings.projection.bias
        ),
        "norm.weight": theirs.layernorm.weight,
        "norm.bias": theirs.layernorm.bias,
    }
    for index, block in enumerate(theirs.layers):
        attention = block.attention
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        for kind in ("weight", "bias"):
            state |= {
                f"blocks.{index}.{name}.{kind}": getattr(layer, kind)
                for name, layer in {
                    "norm1": block.layernorm_before,
                    "attn.proj": attention.o_proj,
                    "norm2": block.layernorm_after,
                    "mlp.fc1": block.mlp.fc1,
                    "mlp.fc2": block.mlp.fc2,
                }.items()
            }
            state[f"blocks.{index}.attn.qkv.{kind}"] = torch.cat(
                [getattr(part, kind) for part in parts]
            )
    assert state["blocks.0.attn.qkv.weight"].shape[0] == 3 * hidden_dim
    path = tmp_path / "vit.pth"
    torch.save({name: value.detach() for name, value in state.items()}, path)
    ours = from_timm(path, num_heads=theirs.config.num_attention_heads)
    assert isinstance(ours, ViTEncoder) and ours.learned_positions
    images = images_for(theirs.config)
    expected = features(theirs, images)
    assert_near(ours(images), expected)
    # And back: what we write is what came.
    to_timm(from_huggingface(theirs), tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)["model"]
    assert set(again) == set(state)
    for name, value in state.items():
        assert torch.equal(again[name], value), name


@pytest.mark.skipif(timm is None, reason=WHY)
@pytest.mark.parametrize(
    ("image_shape", "patch_size", "width", "layers", "heads"),
    [((8, 12, 2), 4, 16, 2, 2), ((12, 12, 3), 6, 24, 1, 3)],
)
@pytest.mark.parametrize(
    ("num_classes", "global_pool"), [(0, "token"), (3, "token"), (3, "avg")]
)
def test_timm_itself(
    num_classes,
    global_pool,
    image_shape,
    patch_size,
    width,
    layers,
    heads,
    tmp_path,
):
    def make():
        model = timm.models.vision_transformer.VisionTransformer(
            img_size=image_shape[:2],
            patch_size=patch_size,
            in_chans=image_shape[2],
            embed_dim=width,
            depth=layers,
            num_heads=heads,
            num_classes=num_classes,
            global_pool=global_pool,
        )
        return draw(model)

    def outputs(model):
        with torch.no_grad():
            pixels = channels_first(images)
            if num_classes:
                return model(pixels).numpy()
            return model.forward_features(pixels).numpy()

    images = np.random.default_rng(0).normal(size=(2, *image_shape))
    images = images.astype("float32")
    theirs = make()
    ours = from_timm(theirs, image_shape=image_shape)
    assert_near(ours(images), outputs(theirs))
    path = tmp_path / "vit.safetensors"
    to_timm(ours, path)
    again = make()
    weights = open_weights(path)
    again.load_state_dict(
        {name: torch.from_numpy(weights.read(name)) for name in weights.shapes}
    )
    np.testing.assert_array_equal(outputs(again), outputs(theirs))


def test_another_image_size(tmp_path):
    path = tmp_path / "vit.safetensors"
    encoder = tiny_autoencoder(image_shape=(8, 8, 2)).encoder
    to_timm(encoder, path)
    larger = from_timm(path, num_heads=2, image_shape=(12, 16, 2))
    assert larger.grid_size == (3, 4)
    with pytest.raises(ValueError, match="must keep the encoder's number of"):
        from_timm(path, num_heads=2, image_shape=(12, 16, 3))


def test_published_files_have_the_same_names(tmp_path):
    path = tmp_path / "mae.pth"
    model = tiny_autoencoder(image_shape=(8, 8, 2))
    save_torch_checkpoint(model.encoder, path)
    encoder = from_timm(path, num_heads=2)
    images = np.ones((1, 8, 8, 2), "float32")
    np.testing.assert_array_equal(
        array(encoder(images)), array(model.encoder(images))
    )
    save_torch_checkpoint(model, path)
    with pytest.raises(ValueError, match="no place for: decoder_blocks"):
        from_timm(path, num_heads=2)
    assert from_timm(path, num_heads=2, allow_missing=True).num_layers == 1
    # Positions are interpolated in the decoder too.
    larger = load_torch_checkpoint(
        path, num_heads=2, decoder_num_heads=2, image_shape=(12, 16, 2)
    )
    assert larger.decoder.grid_size == (3, 4)
    save_torch_checkpoint(tiny_clmae(image_shape=(8, 8, 2)), path)
    with pytest.raises(ValueError, match="the masking module is bound to it"):
        load_torch_checkpoint(
            path,
            num_heads=2,
            decoder_num_heads=2,
            masking_num_heads=2,
            image_shape=(12, 16, 2),
        )


@pytest.mark.parametrize("name", ["mae.pth", "mae.safetensors"])
def test_fixed_positions_stay_fixed(name, tmp_path):
    """A file does not say whether they were trained; their numbers do."""
    encoder = tiny_autoencoder().encoder
    path = tmp_path / name
    for dtype in ("float16", "float32"):
        table = encoder.position_embedding.position_table
        table.assign(ops.cast(ops.cast(table, dtype), "float32"))
        to_timm(encoder, path)
        again = from_timm(path, num_heads=2, image_shape=(8, 12, 2))
        assert not again.learned_positions
    table.assign(table + 0.01)
    to_timm(encoder, path)
    again = from_timm(path, num_heads=2, image_shape=(8, 12, 2))
    assert again.learned_positions
    np.testing.assert_array_equal(
        array(again.position_embedding.position_table), array(table)
    )


def test_what_has_no_place_there(tmp_path):
    path = tmp_path / "vit.safetensors"
    with pytest.raises(ValueError, match="no place for: .*decoder/"):
        to_timm(tiny_autoencoder(), path)
    with pytest.raises(ValueError, match="must pool the class token"):
        to_timm(classifier("mean"), path)
    assert not path.exists()
    report = to_timm(tiny_autoencoder(), path, allow_missing=True)
    assert report.left_over
    with pytest.raises(ValueError, match="`path` must end in .safetensors"):
        to_timm(tiny_autoencoder().encoder, tmp_path / "vit.safetensor")
    with pytest.raises(ValueError, match="`num_heads` must be given"):
        from_timm(path)
    with pytest.raises(ValueError, match="divisible by `num_heads`"):
        from_timm(path, num_heads=3, image_shape=(8, 12, 2))
