"""End one process of several without breaking or awaiting the others."""

from keras_clmae.distribution.plan import current_plan


def leave_jax_processes():
    """Disconnects from the other JAX processes, if there are any.

    All of them must call it. Without it the end of one aborts the others.
    """
    if current_plan().is_over_jax_processes:
        import jax

        jax.distributed.shutdown()
