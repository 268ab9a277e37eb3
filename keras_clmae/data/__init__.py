"""Make batches of images: arrays, digits, folders and named data sets."""

from keras_clmae.data.arrays import ArrayDataset
from keras_clmae.data.contract import ImageDataset
from keras_clmae.data.device_dataset import DeviceDataset
from keras_clmae.data.examples import example_images
from keras_clmae.data.fine_tuning import FineTuneTransform
from keras_clmae.data.folder_source import image_folder
from keras_clmae.data.handwritten_digits import digits
from keras_clmae.data.handwritten_digits import digits_normalization
from keras_clmae.data.handwritten_digits import load_digits_arrays
from keras_clmae.data.loading import load
from keras_clmae.data.normalization import IMAGENET_MEAN
from keras_clmae.data.normalization import IMAGENET_STD
from keras_clmae.data.normalization import PixelNormalization
from keras_clmae.data.scientific import read_scientific
from keras_clmae.data.segmentation import segmentation_folder
from keras_clmae.data.segmentation_transforms import SegmentationTransform
from keras_clmae.data.sharding import process_shard
from keras_clmae.data.sharding import remaining_steps
from keras_clmae.data.sources.huggingface import hf_dataset
from keras_clmae.data.sources.parquet import parquet_dataset
from keras_clmae.data.sources.record_dataset import record_dataset
from keras_clmae.data.sources.webdataset import webdataset
from keras_clmae.data.tfds_source import tfds_dataset
from keras_clmae.data.transforms import EvaluationTransform
from keras_clmae.data.transforms import ImageTransform
from keras_clmae.data.transforms import PretrainTransform
