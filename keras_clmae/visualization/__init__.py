"""Draw a training: its curves, masks, reconstructions and attention.

Needs matplotlib (`pip install keras-clmae[cli]`).
"""

from keras_clmae.visualization.animation import mask_animation
from keras_clmae.visualization.anomalies import anomalies_figure
from keras_clmae.visualization.attention import attention_figure
from keras_clmae.visualization.attention import class_token_attention
from keras_clmae.visualization.curriculum import curriculum_figure
from keras_clmae.visualization.curriculum import read_log
from keras_clmae.visualization.figures import save_figure
from keras_clmae.visualization.masks import masks_figure
from keras_clmae.visualization.masks import masks_over_training_figure
from keras_clmae.visualization.masks import reconstructions_figure
from keras_clmae.visualization.neighbors import neighbors_figure
from keras_clmae.visualization.reconstructing import reconstruct_arrays
from keras_clmae.visualization.rgb import rgb_function
