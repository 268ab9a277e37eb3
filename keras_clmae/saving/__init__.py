"""Write files whole or not at all, and read files of strangers safely."""

from keras_clmae.saving.atomic_write import atomic_write
