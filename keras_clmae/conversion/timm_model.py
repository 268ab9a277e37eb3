"""Read the settings of a timm model, or refuse the model."""

from typing import NamedTuple


class Described(NamedTuple):
    """Settings of a timm model that its state dict does not hold.

    Attributes:
        num_heads: int.
        layer_norm_epsilon: float.
        global_pool: str. `"token"` or `"avg"`, or `None` without a head.
        grid_size: tuple of int. (rows, columns) of patches.
    """

    num_heads: int
    layer_norm_epsilon: float
    global_pool: str | None
    grid_size: tuple


def describe(model):
    """Reads heads, epsilon, pooling and grid of a timm `VisionTransformer`.

    Args:
        model: a `VisionTransformer` of timm, of the kind that ours computes.

    Returns:
        `Described`.

    Raises:
        ValueError: If the model, or a part of it, is of another class or
            computes something else than ours.
    """
    _check_class("a model", model, "VisionTransformer")
    blocks = list(model.blocks)
    norms = [("final norm", n) for n in (model.norm, _get(model, "fc_norm"))]
    for block in blocks:
        _check_class("blocks", block, "Block")
        _check_class("attention", block.attn, "Attention")
        _check_class("MLPs", block.mlp, "Mlp")
        _check_class("an activation", block.mlp.act, "GELU")
        if _get(block.mlp.act, "approximate", "none") != "none":
            raise _refused("an exact GELU", "an approximate one")
        norms += [("block's norm", block.norm1), ("block's norm", block.norm2)]
    epsilons = set()
    for name, norm in norms:
        if norm is None or type(norm).__name__ == "Identity":
            continue
        _check_class(f"a {name}", norm, "LayerNorm")
        epsilons.add(norm.eps)
    if len(epsilons) != 1:
        raise _refused(
            "one epsilon in all layer norms", f"epsilons {sorted(epsilons)}"
        )
    _check_class("a patch embedding", model.patch_embed, "PatchEmbed")
    projection = model.patch_embed.proj
    if tuple(projection.stride) != tuple(projection.kernel_size):
        raise _refused(
            "patches side by side",
            f"a stride of {tuple(projection.stride)} for patches of "
            f"{tuple(projection.kernel_size)}",
        )
    if _get(model, "no_embed_class", False):
        raise _refused(
            "a row for the class token in its positions",
            "no_embed_class=True",
        )
    return Described(
        blocks[0].attn.num_heads,
        epsilons.pop(),
        _pooling_of(model),
        tuple(model.patch_embed.grid_size),
    )


def _pooling_of(model):
    if type(model.head).__name__ == "Identity":
        return None
    # MAE's own class says only whether it pools the mean.
    pool = _get(model, "global_pool", "token")
    pool = {True: "avg", False: "token"}.get(pool, pool)
    if pool not in ("token", "avg"):
        raise _refused(
            "`global_pool` 'token' or 'avg'", f"global_pool={pool!r}"
        )
    if pool == "avg" and _get(model, "pool_include_prefix", False):
        raise _refused(
            "a mean without the class token", "pool_include_prefix=True"
        )
    return pool


def _get(model, name, default=None):
    return getattr(model, name, default)


def _check_class(what, part, expected):
    if type(part).__name__ != expected:
        raise _refused(
            f"{what} of class {expected}",
            f"{type(part).__module__}.{type(part).__name__}",
        )


def _refused(expected, found):
    return ValueError(
        f"`path_or_model` must be a timm model with {expected}, which is what "
        f"ours computes. Received: {found}"
    )
