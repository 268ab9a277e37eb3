"""Settings of timm models beside their weights, by stand-ins.

timm needs torchvision, which is not in the environment of the tests. The
stand-ins have the names of its classes and attributes, and compute nothing.
"""

import types

import pytest

from keras_clmae.conversion import from_timm
from keras_clmae.conversion import to_timm
from keras_clmae.models import ImageClassifier
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder

torch = pytest.importorskip("torch")
pytestmark = ONCE
nn = torch.nn


class Part:
    """An object with a class name and attributes."""

    def __new__(cls, name, **attributes):
        part = object.__new__(type(name, (), {}))
        vars(part).update(attributes)
        return part


def block(name="Block", act=None, attention="Attention", mlp="Mlp", eps=1e-6):
    return Part(
        name,
        attn=Part(attention, num_heads=2),
        mlp=Part(mlp, act=act or nn.GELU()),
        norm1=nn.LayerNorm(8, eps=eps),
        norm2=nn.LayerNorm(8, eps=eps),
    )


def norms(fc_norm, eps=1e-6, kind=nn.LayerNorm):
    token, pooled = kind(8, eps=eps), nn.Identity()
    return (pooled, token) if fc_norm else (token, pooled)


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """State dicts of a classifier, with `norm` and with `fc_norm`."""
    path = tmp_path_factory.mktemp("timm") / "vit.pth"
    encoder = tiny_autoencoder().encoder
    found = {}
    for fc_norm, pooling in ((False, "class_token"), (True, None)):
        classifier = ImageClassifier(
            encoder, 3, pooling=pooling or "mean_before_norm"
        )
        to_timm(classifier, path)
        found[fc_norm] = torch.load(path, weights_only=True)["model"]
    return found


@pytest.fixture
def make(states):
    def make(name="VisionTransformer", fc_norm=False, eps=1e-6, **changes):
        norm, pooled = norms(fc_norm, eps)
        patch = types.SimpleNamespace(stride=(4, 4), kernel_size=(4, 4))
        return Part(
            name,
            **{
                "blocks": [block(eps=eps)],
                "norm": norm,
                "fc_norm": pooled,
                "head": nn.Linear(8, 3),
                "global_pool": "token",
                "no_embed_class": False,
                "patch_embed": Part("PatchEmbed", proj=patch, grid_size=(2, 3)),
                "state_dict": lambda: states[fc_norm],
                **changes,
            },
        )

    return make


@pytest.mark.parametrize(
    ("global_pool", "fc_norm", "pooling", "head_norm"),
    [
        ("token", False, "class_token", "none"),
        ("token", True, "class_token", "none"),
        ("avg", True, "mean_before_norm", "layer_norm"),
        ("avg", False, "mean", "none"),
        # MAE's own class.
        (True, True, "mean_before_norm", "layer_norm"),
        (False, False, "class_token", "none"),
    ],
)
def test_pooling_is_read(global_pool, fc_norm, pooling, head_norm, make):
    ours = from_timm(make(fc_norm=fc_norm, global_pool=global_pool))
    assert (ours.pooling, ours.head_norm) == (pooling, head_norm)
    # The grid is the model's, too.
    assert ours.encoder.image_shape == (8, 12, 2)


def test_a_file_is_told_how_it_pools(states, tmp_path):
    path = tmp_path / "vit.pth"
    torch.save(states[False], path)
    for pool, pooling in ((None, "class_token"), ("avg", "mean")):
        found = from_timm(
            path, num_heads=2, image_shape=(8, 12, 2), global_pool=pool
        )
        assert found.pooling == pooling
    with pytest.raises(ValueError, match="`global_pool` must be one of"):
        from_timm(path, num_heads=2, global_pool="max")


def test_epsilon_is_read(make):
    ours = from_timm(make(eps=1e-5))
    assert ours.encoder.layer_norm_epsilon == 1e-5
    assert ours.encoder.blocks[0].mlp_norm.epsilon == 1e-5
    assert ours.encoder.norm.epsilon == 1e-5


def test_heads_are_the_models_own(make):
    assert from_timm(make(), num_heads=2).encoder.num_heads == 2
    with pytest.raises(ValueError, match="`num_heads` must be .*own, 2"):
        from_timm(make(), num_heads=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "VisionTransformerDistilled"}, "TransformerDistilled"),
        ({"blocks": [block("ResPostBlock")]}, "ResPostBlock"),
        ({"blocks": [block("ParallelScalingBlock")]}, "ParallelScalingBlock"),
        ({"blocks": [block(act=nn.ReLU())]}, "class GELU.*ReLU"),
        ({"blocks": [block(act=Part("QuickGELU"))]}, "class GELU.*QuickGELU"),
        ({"blocks": [block(act=nn.GELU("tanh"))]}, "exact GELU"),
        ({"blocks": [block(attention="DiffAttention")]}, "DiffAttention"),
        ({"blocks": [block(mlp="SwiGLU")]}, "class Mlp.*SwiGLU"),
        ({"blocks": [block(eps=1e-5)]}, "one epsilon in all layer norms"),
        ({"norm": nn.RMSNorm(8, eps=1e-6)}, "class LayerNorm.*RMSNorm"),
        ({"global_pool": "avgmax"}, "`global_pool` 'token' or 'avg'.*avgmax"),
        ({"global_pool": ""}, "`global_pool` 'token' or 'avg'.*=''"),
        (
            {"global_pool": "avg", "pool_include_prefix": True},
            "pool_include_prefix",
        ),
        ({"no_embed_class": True}, "no_embed_class=True"),
        (
            {
                "patch_embed": Part(
                    "PatchEmbed",
                    proj=nn.Conv2d(2, 8, 4, stride=2),
                    grid_size=(2, 3),
                )
            },
            "patches side by side.*stride of",
        ),
    ],
)
def test_others_are_refused_by_name(changes, message, make):
    with pytest.raises(ValueError, match=f"must be a timm model.*{message}"):
        from_timm(make(**changes))
