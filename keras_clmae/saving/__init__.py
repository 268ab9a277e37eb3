"""Write files whole or not at all, and read files of strangers safely."""

from keras_clmae.saving.atomic_write import atomic_folder
from keras_clmae.saving.atomic_write import atomic_write
from keras_clmae.saving.keras_files import load_keras_model
from keras_clmae.saving.pretrained import pretrained_names
