"""Curriculum-Learned Masked Autoencoders for Keras 3."""

from keras_clmae.version import __version__
