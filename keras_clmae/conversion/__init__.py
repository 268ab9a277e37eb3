"""Convert weights from and to other libraries."""

from keras_clmae.conversion.huggingface import from_huggingface
from keras_clmae.conversion.huggingface import huggingface_normalization
from keras_clmae.conversion.huggingface import to_huggingface
from keras_clmae.conversion.keras_hub import from_keras_hub
from keras_clmae.conversion.keras_hub import to_keras_hub
from keras_clmae.conversion.timm import from_timm
from keras_clmae.conversion.timm import to_timm
from keras_clmae.conversion.torch_checkpoint import load_torch_checkpoint
from keras_clmae.conversion.torch_checkpoint import load_torch_weights
from keras_clmae.conversion.torch_checkpoint import save_torch_checkpoint
from keras_clmae.conversion.weight_map import Report
