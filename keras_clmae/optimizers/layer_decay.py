"""Define AdamW with layer-wise learning rates."""

import re

import keras
from keras import ops

from keras_clmae.optimizers.adamw import AdamW
from keras_clmae.optimizers.weight_decay import NO_WEIGHT_DECAY

# Layers that MAE's fine-tuning does not decay, beside all vectors.
_UNDECAYED_LAYERS = "class_token|position_embedding"


@keras.saving.register_keras_serializable(package="keras_clmae")
class LayerDecayAdamW(AdamW):
    """AdamW whose learning rate shrinks from the head down to the patches.

    Layer-wise learning-rate decay as in BEiT and
    [MAE](https://arxiv.org/abs/2111.06377): what lies before the first block
    (patch embedding, class token, positions) has depth 0, block i has depth
    i + 1, and what comes after the last block (norm, head) has depth
    `num_layers + 1` and the full learning rate. A variable of depth d moves
    with

    ```text
    learning_rate * layer_decay ** (num_layers + 1 - d)
    ```

    which also scales its weight decay. As in MAE, biases, norms, the class
    token and position tables are not decayed. The depths are read off
    the variables' paths, so that saving and restoring need nothing special.

    Args:
        learning_rate: float., `LearningRateSchedule`, or a callable without
            arguments. Of the head. Defaults to `0.001`.
        layer_decay: float in (0, 1]. Defaults to `0.75`, as in MAE's table 9;
            MAE's published commands use 0.65 for ViT-B, 0.75 for L and H.
        weight_decay: float. Defaults to `0.05`, MAE's.
        **kwargs: Arguments of `AdamW`. Beside the names of `no_weight_decay`,
            all vectors and the class token are not decayed; `()` decays all.

    Raises:
        ValueError: If `layer_decay` is not in (0, 1], or no variable belongs
            to a `transformer_block_<i>`.

    Example:

    >>> import keras_clmae
    >>> optimizer = keras_clmae.optimizers.LayerDecayAdamW(layer_decay=0.65)
    """

    def __init__(
        self,
        learning_rate=0.001,
        layer_decay=0.75,
        weight_decay=0.05,
        **kwargs,
    ):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, **kwargs
        )
        if not 0 < layer_decay <= 1:
            raise ValueError(
                "`layer_decay` must be in (0, 1]. Received: "
                f"layer_decay={layer_decay}"
            )
        self.layer_decay = layer_decay

    def build(self, variables):
        if self.built:
            return
        blocks = [_block_index(variable.path) for variable in variables]
        if all(index is None for index in blocks):
            raise ValueError(
                "Layer-wise decay needs variables whose path holds "
                "`transformer_block_<i>`. Received: "
                f"{[variable.path for variable in variables[:3]]}, ..."
            )
        super().build(variables)
        num_layers = 1 + max(index for index in blocks if index is not None)
        self._scales = [
            self.layer_decay ** (num_layers + 1 - depth)
            for depth in (
                _depth(variable.path, index, num_layers)
                for variable, index in zip(variables, blocks, strict=True)
            )
        ]

    def learning_rate_scale(self, variable):
        return self._scales[self._get_variable_index(variable)]

    def _decay(self, variables):
        rate = ops.cast(self.learning_rate, "float32") * self.weight_decay
        for variable in variables:
            if self.decays(variable):
                factor = ops.cast(
                    1 - rate * self.learning_rate_scale(variable),
                    variable.dtype,
                )
                self.assign(variable, ops.multiply(variable, factor))

    def decays(self, variable):
        if not super().decays(variable):
            return False
        return not self.no_weight_decay or (
            len(variable.shape) > 1
            and not re.search(_UNDECAYED_LAYERS, variable.path)
        )

    def get_config(self):
        return {**super().get_config(), "layer_decay": self.layer_decay}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # It has always left them undecayed.
        config = {"no_weight_decay": NO_WEIGHT_DECAY, **config}
        return super().from_config(config, custom_objects)


def _block_index(path):
    found = re.search(r"transformer_block_(\d+)", path)
    return None if found is None else int(found[1])


def _depth(path, block_index, num_layers):
    if block_index is not None:
        return block_index + 1
    if re.search("patch_embedding|class_token|position_embedding", path):
        return 0
    return num_layers + 1
