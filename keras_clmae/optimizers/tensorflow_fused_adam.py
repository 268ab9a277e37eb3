import tensorflow as tf


def step_rates(optimizer, learning_rate):
    """What all variables share in one step, so that it is computed once.

    Args:
        optimizer: `AdamW`.
        learning_rate: scalar.

    Returns:
        Learning rate, and `beta_1` and `beta_2` to the power of the step.
    """
    step = tf.cast(optimizer.iterations + 1, "float32")
    return (
        tf.cast(learning_rate, "float32"),
        optimizer.beta_1**step,
        optimizer.beta_2**step,
    )


def fused_update(optimizer, gradient, variable, rates):
    """Decays a variable and applies Keras's rule of Adam, a kernel for each.

    Args:
        optimizer: `AdamW` whose state moves.
        gradient: tensor.
        variable: `tf.Variable`; on several devices, the copy of one.
        rates: see `step_rates`.
    """
    learning_rate, *beta_powers = rates
    index = optimizer._get_variable_index(variable)
    known = optimizer._trainable_variables[index]
    learning_rate = tf.cast(
        learning_rate * optimizer.learning_rate_scale(known), variable.dtype
    )
    if optimizer.weight_decay is not None and optimizer.decays(known):
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable.handle,
            alpha=learning_rate * optimizer.weight_decay,
            delta=variable.read_value(),
        )
    if optimizer.amsgrad or variable.dtype != tf.float32:
        optimizer.keras_update_step(gradient, variable, learning_rate)
        return
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=beta_powers[0],
        beta2_power=beta_powers[1],
        lr=learning_rate,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        grad=tf.cast(tf.convert_to_tensor(gradient), tf.float32),
    )
