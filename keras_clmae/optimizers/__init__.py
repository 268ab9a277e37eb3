"""Optimizers that Keras lacks and the evaluation protocols need."""

from keras_clmae.optimizers.lars import LARS
from keras_clmae.optimizers.layer_decay import LayerDecayAdamW
from keras_clmae.optimizers.schedules import warmup_cosine
