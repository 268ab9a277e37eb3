from keras_clmae.models.clmae import CLMAE
from keras_clmae.models.clmae import mask_overlap
from keras_clmae.models.decoder import Decoder
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder
from keras_clmae.models.masking_module import MaskingModule
