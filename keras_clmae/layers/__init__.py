"""Build Vision Transformers: patches, positions, attention, blocks."""

from keras_clmae.layers.class_token import ClassToken
from keras_clmae.layers.drop_path import DropPath
from keras_clmae.layers.linear import Linear
from keras_clmae.layers.patch_embedding import PatchEmbedding
from keras_clmae.layers.patch_embedding import patchify
from keras_clmae.layers.patch_embedding import unpatchify
from keras_clmae.layers.position_embedding import PositionEmbedding
from keras_clmae.layers.position_embedding import sincos_position_table
from keras_clmae.layers.self_attention import SelfAttention
from keras_clmae.layers.token_selection import TokenSelection
from keras_clmae.layers.token_selection import gather_tokens
from keras_clmae.layers.token_selection import keep_top_tokens
from keras_clmae.layers.token_selection import restore_tokens
from keras_clmae.layers.transformer_block import TransformerBlock
