"""Tell how much memory the accelerator of the backend has."""

import keras


def accelerator_memory():
    """Tells the memory of the first GPU or TPU.

    Returns:
        int, in bytes; `None` where the backend has none.
    """
    backend = keras.config.backend()
    if backend == "torch":
        import torch

        available = torch.cuda.is_available()
        return torch.cuda.mem_get_info()[1] if available else None
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "cpu":
            return None
        return (device.memory_stats() or {}).get("bytes_limit", 16 * 2**30)
    import tensorflow as tf

    # TensorFlow does not tell how large it is.
    return 16 * 2**30 if tf.config.list_physical_devices("GPU") else None
