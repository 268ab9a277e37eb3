"""Copy models for another image size, by interpolated position tables."""

from keras_clmae.models.clmae import CLMAE
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.encoder_copy import copy_autoencoder
from keras_clmae.models.encoder_copy import copy_encoder
from keras_clmae.models.image_classifier import ImageClassifier


def resized(model, image_shape):
    """Copies a model for images of another size.

    Args:
        model: `ViTEncoder`, `MaskedAutoencoder`, `CLMAE` or `ImageClassifier`.
        image_shape: tuple of int. (height, width, channels), or `None`.

    Returns:
        The model itself where its images are of this size, else a copy whose
        position tables are interpolated.

    Raises:
        ValueError: If the channels or the patches do not fit, or the model
            holds a part that is bound to its image size.
    """
    sizes = getattr(model, "encoder", model)
    if image_shape is None or tuple(image_shape) == sizes.image_shape:
        return model
    if isinstance(model, ViTEncoder):
        return copy_encoder(model, image_shape)
    if isinstance(model, ImageClassifier):
        return copy_classifier(model, image_shape)
    if isinstance(model, CLMAE):
        raise ValueError(
            "`image_shape` must be the checkpoint's own, "
            f"{sizes.image_shape}: the masking module is bound to it. Load it "
            "without, then copy_autoencoder(model.autoencoder, image_shape). "
            f"Received: image_shape={image_shape}"
        )
    return copy_autoencoder(model, image_shape)


def copy_classifier(classifier, image_shape):
    """Copies an `ImageClassifier` for images of another size.

    Returns:
        An `ImageClassifier`, not compiled.
    """
    config = classifier.get_config() | {
        "encoder": classifier.encoder,
        "image_shape": tuple(image_shape),
    }
    copy = ImageClassifier(**config)
    for name in ("norm", "head"):
        getattr(copy, name).set_weights(getattr(classifier, name).get_weights())
    return copy
