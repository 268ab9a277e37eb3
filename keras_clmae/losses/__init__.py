"""Compute the terms of both players' losses, as pure functions."""

from keras_clmae.losses.mask_regularization import diversity_loss
from keras_clmae.losses.mask_regularization import gaussian_loss
from keras_clmae.losses.mask_regularization import kl_loss
from keras_clmae.losses.reconstruction import normalize_patches
from keras_clmae.losses.reconstruction import patch_errors
from keras_clmae.losses.reconstruction import patch_statistics
from keras_clmae.losses.reconstruction import weighted_reconstruction_loss
