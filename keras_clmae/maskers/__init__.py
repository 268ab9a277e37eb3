"""Turn tokens into the scores that decide which of them stay visible."""

from keras_clmae.maskers.block_masker import BlockMasker
from keras_clmae.maskers.color_noise_masker import ColorNoiseMasker
from keras_clmae.maskers.grid_masker import GridMasker
from keras_clmae.maskers.masker import DrawnMasker
from keras_clmae.maskers.masker import Masker
from keras_clmae.maskers.masking_module import MaskingModule
from keras_clmae.maskers.random_masker import RandomMasker
