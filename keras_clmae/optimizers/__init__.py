"""Optimizers that Keras lacks: faster, or needed by the protocols."""

from keras_clmae.optimizers.adamw import AdamW
from keras_clmae.optimizers.lars import LARS
from keras_clmae.optimizers.layer_decay import LayerDecayAdamW
from keras_clmae.optimizers.schedules import warmup_cosine
