"""Pretrain encoders, and use them to classify and segment images."""

from keras_clmae.layers.token_selection import mask_overlap
from keras_clmae.maskers.masking_module import MaskingModule
from keras_clmae.models.clmae import CLMAE
from keras_clmae.models.decoder import Decoder
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.encoder_copy import copy_autoencoder
from keras_clmae.models.encoder_copy import copy_encoder
from keras_clmae.models.encoder_copy import interpolate_position_table
from keras_clmae.models.image_classifier import ImageClassifier
from keras_clmae.models.image_segmenter import ImageSegmenter
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder
from keras_clmae.models.segmentation_metrics import MeanIoU
