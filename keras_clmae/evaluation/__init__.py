"""Score a pretrained encoder by named protocols."""

from keras_clmae.evaluation.encoder_source import load_encoder
from keras_clmae.evaluation.encoder_source import untrained_copy
from keras_clmae.evaluation.features import FeatureExtractor
from keras_clmae.evaluation.features import extract_features
from keras_clmae.evaluation.fine_tuning import ClassificationLoss
from keras_clmae.evaluation.fine_tuning import classifier_accuracy
from keras_clmae.evaluation.fine_tuning import fine_tune
from keras_clmae.evaluation.knn import KNN_PROTOCOLS
from keras_clmae.evaluation.knn import knn_accuracy
from keras_clmae.evaluation.knn import knn_leave_one_out_scores
from keras_clmae.evaluation.knn import knn_scores
from keras_clmae.evaluation.linear_probe import linear_probe_accuracy
from keras_clmae.evaluation.linear_probe import linear_probe_images
from keras_clmae.evaluation.logistic_regression import draw_few_shot
from keras_clmae.evaluation.logistic_regression import few_shot_accuracy
from keras_clmae.evaluation.logistic_regression import (
    logistic_regression_accuracy,
)
from keras_clmae.evaluation.mask_health import mask_statistics
from keras_clmae.evaluation.patch_error_maps import PatchErrorMapper
from keras_clmae.evaluation.patch_error_maps import patch_error_maps
from keras_clmae.evaluation.prediction import iterate_batches
from keras_clmae.evaluation.records import make_record
from keras_clmae.evaluation.records import markdown_table
from keras_clmae.evaluation.records import read_records
from keras_clmae.evaluation.records import run_name
from keras_clmae.evaluation.records import write_record
from keras_clmae.evaluation.segmentation import fine_tune_segmenter
from keras_clmae.evaluation.segmentation import segmentation_scores
from keras_clmae.evaluation.segmentation import segmenter_mean_iou
