"""The settings of a conversion, checked without importing Keras."""

import dataclasses


@dataclasses.dataclass
class ConversionSettings:
    """The settings of a conversion.

    Args:
        source: File, folder, run folder, or a name such as
            hf://facebook/vit-mae-base or kaggle://OWNER/MODEL/keras/VARIATION.
        target: File or folder to write. It is replaced whole or not at all.
        source_format: keras, published, timm, huggingface or keras_hub.
        target_format: One of the same.
        num_heads: Attention heads of the encoder, for .pth and .safetensors.
        decoder_num_heads: Attention heads of the decoder, for .pth files.
        key: Which weights of a .pth file are meant, such as teacher.
        prefix: Start of the names that are meant in a .pth or .safetensors
            file, such as backbone.
        grid_size: [rows, columns] of patches of such a file, where its learned
            positions fit several.
        image_shape: [height, width, channels] to which position tables are
            interpolated.
        mean: Mean of the training images, one number per channel, white is 1,
            for the image processor of Hugging Face. By default that of the run
            whose folder or model.keras the source is, else ImageNet's.
        std: Standard deviation, likewise.
        seed: Of the random images of the check, and of missing weights.
        encoder_only: Write the encoder alone.
        allow_missing: Leave out weights without a place, and leave missing
            ones at random.
        check: Compare the outputs of source and target, each computed by its
            own library where that is installed.
    """

    source: str
    target: str
    source_format: str | None = None
    target_format: str | None = None
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    key: str | None = None
    prefix: str = ""
    grid_size: tuple[int, int] | None = None
    image_shape: tuple[int, int, int] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    seed: int = 0
    encoder_only: bool = False
    allow_missing: bool = False
    check: bool = False
