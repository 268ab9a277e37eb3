"""What a pretrained encoder is worth: scores by named protocols."""

from keras_clmae.evaluation.knn import KNN_PROTOCOLS
from keras_clmae.evaluation.knn import knn_accuracy
from keras_clmae.evaluation.knn import knn_scores
