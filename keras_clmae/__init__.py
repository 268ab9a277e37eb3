"""Curriculum-Learned Masked Autoencoders for Keras 3."""

from keras_clmae import callbacks
from keras_clmae import conversion
from keras_clmae import data
from keras_clmae import distribution
from keras_clmae import evaluation
from keras_clmae import layers
from keras_clmae import losses
from keras_clmae import maskers
from keras_clmae import models
from keras_clmae import objectives
from keras_clmae import optimizers
from keras_clmae import trainers
from keras_clmae import visualization
from keras_clmae.curriculum import ConstantCurriculum
from keras_clmae.curriculum import CosineCurriculum
from keras_clmae.curriculum import CurriculumSchedule
from keras_clmae.curriculum import LinearCurriculum
from keras_clmae.curriculum import StepCurriculum
from keras_clmae.curriculum import get_curriculum
from keras_clmae.version import __version__
