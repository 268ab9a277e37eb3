"""Tell how much memory the accelerator of the backend has and uses."""

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


def peak_device_memory():
    """Tells the most memory that was in use of the first GPU or TPU so far.

    Returns:
        int, in bytes; `None` where the backend has none or does not tell.
    """
    backend = keras.config.backend()
    if backend == "torch":
        import torch

        available = torch.cuda.is_available()
        return torch.cuda.max_memory_allocated() if available else None
    if backend == "jax":
        import jax

        statistics = jax.local_devices()[0].memory_stats() or {}
        return statistics.get("peak_bytes_in_use")
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]
