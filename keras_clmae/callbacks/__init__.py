"""Watch a training: galleries, k-NN, checkpoints, logs."""

from keras_clmae.callbacks.experiment_loggers import ExperimentLogger
from keras_clmae.callbacks.experiment_loggers import MLflowLogger
from keras_clmae.callbacks.experiment_loggers import WandbLogger
from keras_clmae.callbacks.gallery import Gallery
from keras_clmae.callbacks.hosts_checkpoint import HostsCheckpoint
from keras_clmae.callbacks.hosts_checkpoint import restore_newest_of_hosts
from keras_clmae.callbacks.mask_gallery import MaskGallery
from keras_clmae.callbacks.mask_gallery import load_snapshots
from keras_clmae.callbacks.online_knn import OnlineKNN
from keras_clmae.callbacks.reconstruction_gallery import ReconstructionGallery
from keras_clmae.callbacks.reconstruction_gallery import reconstruction_blocks
from keras_clmae.callbacks.run_checkpoint import RunCheckpoint
from keras_clmae.callbacks.run_checkpoint import list_checkpoints
from keras_clmae.callbacks.run_checkpoint import restore_newest
from keras_clmae.callbacks.step_resources import StepResources
from keras_clmae.callbacks.tensorboard_scalars import TensorBoardScalars
from keras_clmae.callbacks.training_position import TrainingInterrupted
from keras_clmae.callbacks.training_position import TrainingPosition
from keras_clmae.trainers.progress import Progress
