"""Convert weights from and to timm's VisionTransformer (`vit_*`)."""

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_heads
from keras_clmae.conversion import vit_names
from keras_clmae.conversion import weight_map
from keras_clmae.conversion.resizing import resized
from keras_clmae.conversion.sizes import Sizes
from keras_clmae.conversion.sizes import build_model
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.conversion.timm_model import describe
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import norm
from keras_clmae.saving.weight_files import Weights
from keras_clmae.saving.weight_files import open_weights
from keras_clmae.saving.weight_files import write_weights


def timm_table(sizes, token_norm="norm"):
    """Makes the format's table for a model of these sizes.

    Args:
        sizes: `Sizes`.
        token_norm: str. Name of the norm of the tokens. timm calls it
            `"fc_norm"` where the class token is normed after pooling, which is
            the same.

    Returns:
        A list of `Entry`.
    """
    dim = sizes.encoder.hidden_dim
    tokens = [
        *vit_names.encoder_table(sizes, final_norm=None),
        *norm(token_norm, "encoder.norm", dim),
    ]
    if sizes.num_classes is None:
        return tokens
    head = dense("head", "head", dim, sizes.num_classes)
    if sizes.pooling != "mean_before_norm":
        return [*tokens, *head]
    # timm's `global_pool="avg"` norms the mean, in place of the tokens.
    return [
        *vit_names.encoder_table(sizes, final_norm=None),
        *norm("fc_norm", "head_norm", dim),
        *head,
    ]


def from_timm(
    path_or_model,
    num_heads=None,
    image_shape=None,
    allow_missing=False,
    layer_norm_epsilon=None,
    global_pool=None,
    grid_size=None,
    key=None,
    prefix="",
    **arguments,
):
    """Makes an encoder or a classifier from a `vit_*` of timm.

    MAE's fine-tuned and encoder-only files have the same names. Reading runs no
    code. `.safetensors` files need `pip install "keras-clmae[conversion]"`,
    others PyTorch; timm itself is not needed.

    Args:
        path_or_model: str. Path of a .safetensors or .pth file, or a timm
            model, whose heads, epsilon, pooling and grid are read; one that
            computes something else (another activation or block, `avgmax`) is
            refused.
        num_heads: int. Attention heads, which a file does not tell. Defaults to
            `None`: a timm model's own.
        image_shape: tuple of int. (height, width, channels). The file's own,
            square, by default; the position table is interpolated where it is
            of another grid of patches.
        allow_missing: bool. Whether weights without a place are left out and
            missing ones keep their initial values, instead of an error.
            Defaults to `False`.
        layer_norm_epsilon: float. Defaults to `None`: a timm model's own, and
            `1e-6`, as in timm's `vit_*`, for a file.
        global_pool: str. `"token"` or `"avg"`: how a classifier pools. Defaults
            to `None`: a timm model's own; for a file `"avg"` where it has an
            `fc_norm`, else `"token"`.
        grid_size: tuple of int. (rows, columns) of patches that a file's
            learned positions were trained on. Needed only where `image_shape`
            has as many patches in another grid. Defaults to `None`.
        key: str. Which state dict of a .pth file is meant, such as `"teacher"`.
            Defaults to `None`: `"model"`, or the only one.
        prefix: str. Start of the names that are meant, such as `"backbone."`;
            all others are left out. Defaults to `""`.
        **arguments: Further arguments of the model, such as `drop_path_rate`.

    Returns:
        An `ImageClassifier` for weights with a head, else a `ViTEncoder`. Its
        position table is learned (`learned_positions=True`) unless the file's
        is MAE's fixed one, as in MAE's encoder-only files. With
        a norm of the mean (`fc_norm`) there is none of the tokens: the
        encoder's own neither scales nor shifts.

    Raises:
        ValueError: If a file is missing, damaged, or of another format, or if a
            model or a file has what our encoder does not compute.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "vit.safetensors")
    >>> report = keras_clmae.conversion.to_timm(encoder, path)
    >>> keras_clmae.conversion.from_timm(path, num_heads=2).image_shape
    (8, 8, 1)
    """
    return read_timm(
        path_or_model,
        num_heads,
        image_shape,
        allow_missing,
        layer_norm_epsilon,
        global_pool,
        grid_size,
        key,
        prefix,
        **arguments,
    )[0]


def read_timm(
    path_or_model,
    num_heads=None,
    image_shape=None,
    allow_missing=False,
    layer_norm_epsilon=None,
    global_pool=None,
    grid_size=None,
    key=None,
    prefix="",
    **arguments,
):
    """Makes a model as `from_timm` does, and a `Report`.

    Returns:
        The model and a `Report`.

    Raises:
        ValueError: If a file is missing or damaged, or does not fit. As from
            `from_timm`.
    """
    if global_pool is not None:
        check_choice("global_pool", global_pool, ("token", "avg"))
    if hasattr(path_or_model, "state_dict"):
        weights = _weights_of(path_or_model)
        # Before what the model says: tokens are refused by their names.
        vit_names.check_tokens(weights)
        told = describe(path_or_model)
        if num_heads not in (None, told.num_heads):
            raise ValueError(
                "`num_heads` must be left out for a timm model, or be its "
                f"own, {told.num_heads}. Received: num_heads={num_heads}"
            )
        num_heads = told.num_heads
        layer_norm_epsilon = layer_norm_epsilon or told.layer_norm_epsilon
        global_pool = global_pool or told.global_pool
        grid_size = grid_size or told.grid_size
    else:
        weights = open_weights(path_or_model, key, prefix)
        layer_norm_epsilon = layer_norm_epsilon or 1e-6
    if num_heads is None:
        raise ValueError(
            "`num_heads` must be given for a file, which does not hold it. "
            "Received: num_heads=None"
        )
    native, patch_size, is_fixed = vit_names.read_image_shape(
        weights, image_shape, grid_size
    )
    stack = vit_names.read_stack(
        weights, "blocks", num_heads, layer_norm_epsilon
    )
    check_heads(stack.hidden_dim, num_heads)
    sizes = Sizes(native, patch_size, stack, learned_positions=not is_fixed)
    table = timm_table(sizes)
    if "head.weight" in weights.shapes:
        has_fc_norm = "fc_norm.weight" in weights.shapes
        pools_mean = (global_pool or ("avg" if has_fc_norm else "token")) == (
            "avg"
        )
        pooling, head_norm = {
            (True, True): ("mean_before_norm", "layer_norm"),
            (True, False): ("mean", "none"),
        }.get((pools_mean, has_fc_norm), ("class_token", "none"))
        sizes = sizes._replace(
            num_classes=shape_of(weights, "head.weight", 2)[0],
            pooling=pooling,
            head_norm=head_norm,
        )
        table = timm_table(sizes, "fc_norm" if has_fc_norm else "norm")
    report = weight_map.check(table, weights, allow_missing)
    model = build_model(sizes, **arguments)
    weight_map.assign(table, weights, model)
    return resized(model, image_shape), report


def to_timm(model, path, allow_missing=False):
    """Writes an encoder or a classifier as a timm `vit_*` state dict.

    Args:
        model: `ViTEncoder` (for timm's `num_classes=0`), or `ImageClassifier`
            that pools the class token (`global_pool="token"`) or, with the
            default head, the mean (`global_pool="avg"`).
        path: str. Path of the .safetensors or .pth file. It is replaced whole
            or not at all.
        allow_missing: bool. Whether weights without a place there (a decoder, a
            masking module) are left out. Defaults to `False`: an error.

    Returns:
        A `Report` of what was written.

    Raises:
        ValueError: If timm has no such model.

    Example:

    ```python
    keras_clmae.conversion.to_timm(model.encoder, "vit.safetensors")
    # timm.create_model("vit_base_patch16_224", num_classes=0,
    #                   checkpoint_path="vit.safetensors")
    ```
    """
    sizes = sizes_of(model)
    heads = {("class_token", "none"), ("mean_before_norm", "layer_norm")}
    if (
        sizes.num_classes is not None
        and (sizes.pooling, sizes.head_norm) not in heads
    ):
        raise ValueError(
            "`model` must pool the class token without a norm of its head, or "
            "the mean before the norm with a layer norm, for timm. Received: "
            f"pooling={sizes.pooling!r}, head_norm={sizes.head_norm!r}"
        )
    # Nobody reads the encoder's own norm where the mean is taken before it.
    ignored = ("encoder.norm",) if sizes.head_norm == "layer_norm" else ()
    arrays, report = weight_map.export(
        timm_table(sizes), model, allow_missing, ignored
    )
    write_weights(arrays, path)
    return report


def _weights_of(model):
    state_dict = model.state_dict()
    return Weights(
        type(model).__name__,
        {name: tuple(value.shape) for name, value in state_dict.items()},
        lambda name: state_dict[name].detach().float().cpu().numpy(),
    )
