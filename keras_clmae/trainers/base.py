"""Share between the backends' trainers everything but gradients."""

import types

import keras
from keras import ops

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_fraction
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.curriculum import get_curriculum
from keras_clmae.curriculum import warn_if_not_saveable
from keras_clmae.distribution.replicas import order_by_share
from keras_clmae.distribution.replicas import split_rows
from keras_clmae.optimizers import NO_WEIGHT_DECAY
from keras_clmae.trainers.base_mae import BaseMAETrainer
from keras_clmae.trainers.mask_health import WatchCurriculum
from keras_clmae.trainers.player_optimizers import PlayerOptimizers
from keras_clmae.trainers.progress import progress_for_fit
from keras_clmae.trainers.term_means import TermMeans


class BaseCLMAETrainer(BaseMAETrainer):
    """Training of two players, with two optimizers in one step.

    The contract between a model and the trainer of a backend. The trainer
    touches only:

    - `autoencoder_loss(images, ...)`, `masking_loss(images, factor)` and
      `both_losses(images, factor, num_drawn)`, each loss with its logs;
    - `validation_losses(images)`;
    - `autoencoder_variables` and `masking_variables`;
    - `objective`: its `term_names` and whether it needs a masking phase.

    A step is the autoencoder's phase, then the masking phase on the updated
    autoencoder; the player that does not move in a phase does not move at all.
    Where the objective needs no masking phase, or the update is simultaneous,
    both gradients are those of the same point. Both optimizers live in one
    `PlayerOptimizers`, so that Keras restores and shards both; the step drives
    them one at a time.
    """

    learns_masks = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.random_mask_share = 0.0

    def compile(
        self,
        optimizer="adamw",
        masking_optimizer=None,
        curriculum=None,
        masking_update_period=1,
        update="alternating",
        exclude_from_weight_decay=NO_WEIGHT_DECAY,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        random_mask_share=0.0,
    ):
        """Configures the training of both players.

        Args:
            optimizer: Keras optimizer, or its name, of the autoencoder.
            masking_optimizer: Keras optimizer of the masking module. Defaults
                to a second one with the settings of `optimizer`.
            curriculum: `CurriculumSchedule`, any callable from the step to the
                curriculum factor, or a number. The step counts the updates of
                `optimizer`, like the step of a learning-rate schedule.
            masking_update_period: int. The masking phase runs at every step
                that is a multiple of it. More than 1 is faster and not exact.
                Defaults to `1`.
            update: str. `"alternating"` or `"simultaneous"`: both gradients at
                the same point, with the scores computed once; faster and not
                exact. Defaults to `"alternating"`.
            exclude_from_weight_decay: sequence of str. Variables with one of
                these in their name are not decayed by either optimizer.
                Defaults to biases, normalizations and position tables.
            run_eagerly: bool. Defaults to `False`.
            steps_per_execution: int. Defaults to `1`.
            jit_compile: bool or `"auto"`: Keras's choice, which is not to
                compile on PyTorch and, on CPUs, on TensorFlow. On PyTorch
                `True` compiles the transformer blocks; worth it on GPUs.
                Defaults to `"auto"`.
            random_mask_share: float in [0, 1). In the autoencoder's phase the
                first `round(random_mask_share * batch)` images of each batch
                are masked by the autoencoder's own masker, at random; only the
                others pass the masking module and the masking phase. Each
                device takes its part of them. The log then has the losses
                under learned and under random masks apart, and mask difficulty,
                their ratio. Defaults to `0.0`, as published.

        Raises:
            ValueError: Under `mixed_float16`, without a curriculum, if one
                optimizer is to serve both players, or if the arguments exclude
                each other.

        Example:

        >>> model = keras_clmae.models.CLMAE.from_preset(
        ...     "clmae_tiny_patch4_32", load_weights=False,
        ...     num_layers=1, decoder_num_layers=1,
        ... )
        >>> model.compile(
        ...     keras_clmae.optimizers.AdamW(1e-3, weight_decay=0.05),
        ...     keras_clmae.optimizers.AdamW(2e-4, weight_decay=0.05),
        ...     curriculum=keras_clmae.LinearCurriculum(total_steps=100),
        ...     random_mask_share=0.5,
        ... )
        """
        self._refuse_float16()
        check_positive_integer("masking_update_period", masking_update_period)
        check_choice("update", update, ("alternating", "simultaneous"))
        check_fraction("random_mask_share", random_mask_share)
        if update == "simultaneous" and masking_update_period > 1:
            raise ValueError(
                '`masking_update_period` must be 1 with update="simultaneous". '
                f"Received: masking_update_period={masking_update_period}"
            )
        if not self.objective.needs_masking_phase and (
            update != "alternating" or masking_update_period > 1
        ):
            raise ValueError(
                '`update` must be "alternating" and `masking_update_period` 1 '
                "with an objective that has no masking phase: both players "
                f"move in the same step. Received: update={update!r}, "
                f"masking_update_period={masking_update_period}, "
                f"objective={type(self.objective).__name__}"
            )
        if not self.masking_variables:
            raise ValueError(
                "`masking_module` must have weights to train; give a masker "
                "without any to a MaskedAutoencoder. "
                f"Received: masking_module={self.masking_module!r}"
            )
        optimizer = keras.optimizers.get(optimizer)
        if masking_optimizer is None:
            config = optimizer.get_config()
            config["name"] = f"masking_{optimizer.name}"
            masking_optimizer = type(optimizer).from_config(config)
        masking_optimizer = keras.optimizers.get(masking_optimizer)
        if masking_optimizer is optimizer:
            raise ValueError(
                "`masking_optimizer` must be another object than `optimizer`: "
                "each player needs a state of its own."
            )
        self.curriculum = get_curriculum(curriculum)
        warn_if_not_saveable(curriculum)
        self.masking_update_period = masking_update_period
        self.update = update
        self.random_mask_share = random_mask_share
        self.autoencoder_optimizer = optimizer
        self.masking_optimizer = masking_optimizer
        for each in (optimizer, masking_optimizer):
            if not each.built:
                each.exclude_from_weight_decay(
                    var_names=list(exclude_from_weight_decay)
                )
        super().compile(
            optimizer=PlayerOptimizers(
                optimizer, masking_optimizer, self.masking_variables
            ),
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )
        # TensorFlow cannot create variables inside the compiled step, and
        # restoring needs them to exist.
        self.optimizer.build(self.trainable_variables)
        # Keras does not look into it.
        self._means = types.SimpleNamespace(
            autoencoder=TermMeans(
                self._autoencoder_term_names, name="autoencoder_terms"
            ),
            masking=TermMeans(self._masking_term_names, name="masking_terms"),
            validation=TermMeans(
                ("loss", "random_mask_loss"), name="validation_terms"
            ),
        )
        self._clmae_compile_config = {
            "optimizer": optimizer,
            "masking_optimizer": masking_optimizer,
            "curriculum": curriculum,
            "masking_update_period": masking_update_period,
            "update": update,
            "exclude_from_weight_decay": list(exclude_from_weight_decay),
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "random_mask_share": random_mask_share,
        }

    @property
    def metrics(self):
        # Not those of an earlier `compile`, which Keras would remember.
        return [*vars(self._means).values()] if self.compiled else []

    @property
    def metrics_names(self):
        """Names of what `evaluate` returns, in its order."""
        return ["loss", "mask_difficulty", "random_mask_loss"]

    @property
    def _autoencoder_term_names(self):
        by_share = ("learned_mask_loss", "random_mask_loss")
        return (
            "loss",
            "curriculum_factor",
            "autoencoder_gradient_norm",
            *self.objective.score_term_names,
            "mask_overlap",
            *(by_share if self.random_mask_share else ()),
        )

    @property
    def _masking_term_names(self):
        return (
            *self.objective.term_names,
            "masking_loss",
            "masking_gradient_norm",
        )

    @property
    def log_terms(self):
        """Names that the training logs, causes before consequences."""
        difficulty = ("mask_difficulty",) if self.random_mask_share else ()
        return (
            *self._autoencoder_term_names,
            *self._masking_term_names,
            *difficulty,
        )

    def _refuse_float16(self):
        for layer in self._flatten_layers():
            if layer.compute_dtype == "float16":
                raise ValueError(
                    "`mixed_float16` is not supported: its loss scaling wraps "
                    "the optimizers of the two players. Use "
                    '`keras.config.set_dtype_policy("mixed_bfloat16")`. '
                    f"Received: layer {layer.path!r} computes in float16"
                )

    def get_compile_config(self):
        if not self.compiled:
            return {}
        config = keras.saving.serialize_keras_object(self._clmae_compile_config)
        for name in ("optimizer", "masking_optimizer"):
            # On PyTorch an optimizer is of a subclass of that backend, under
            # which it would load nowhere else.
            if config[name]["module"].startswith("keras.src.backend."):
                config[name]["module"] = "keras.optimizers"
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _callbacks_of_fit(self, callbacks, verbose, x, batch_size):
        # Shows `Progress` instead of Keras's bar, which prints the whole log.
        if not isinstance(callbacks, list):
            return callbacks, verbose
        callbacks, verbose = progress_for_fit(callbacks, verbose, x, batch_size)
        return [*callbacks, WatchCurriculum()], verbose

    def evaluate(self, *args, return_dict=False, **kwargs):
        """Validates as any Keras model, over the images of all devices.

        Takes what `keras.Model.evaluate` takes, but no weights of samples.

        Returns:
            A dict, or a list in the order of `metrics_names`.
        """
        super().evaluate(*args, return_dict=True, **kwargs)
        self._merge_validation()
        logs = {n: float(v) for n, v in self.validation_logs().items()}
        return logs if return_dict else [logs[n] for n in self.metrics_names]

    def _merge_validation(self):
        """Adds up the validation of several processes, if there are any."""

    # === What the steps of all backends are made of ===

    def curriculum_factor(self):
        """Returns the factor at the present step, a scalar float32 tensor."""
        # A float, so that plain arithmetic works on every backend; it holds
        # every whole number up to 16 million.
        step = ops.cast(self.autoencoder_optimizer.iterations, "float32")
        return ops.cast(self.curriculum(step), "float32")

    @property
    def moves_both_at_once(self):
        """True if both gradients of a step are taken at the same point."""
        return (
            self.update == "simultaneous"
            or not self.objective.needs_masking_phase
        )

    def order_images(self, images):
        """Puts the images that get random masks in front.

        Args:
            images: tensor of images, as `images_of` returns it.

        Returns:
            The images, and how many of them, from the first on, get random
            masks.
        """
        if not self.random_mask_share:
            return images, 0
        return order_by_share(images, self.random_mask_share)

    def images_of_masking_phase(self, images, num_drawn):
        """Returns the images under learned masks, the others left out."""
        if not self.random_mask_share:
            return images
        return split_rows(images, num_drawn)[1]

    def is_masking_step(self):
        """Returns a bool tensor: whether this step has a masking phase."""
        step = ops.convert_to_tensor(self.autoencoder_optimizer.iterations)
        return ops.equal(step % self.masking_update_period, 0)

    def no_masking_logs(self):
        """Returns zeros, the logs of a step without a masking phase."""
        return {name: ops.zeros(()) for name in self._masking_term_names}

    def log_training(
        self, images, autoencoder_logs, masking_logs, masking_ran=1.0
    ):
        """Takes one step's scalars into the running means of the epoch.

        Args:
            images: tensor of the images of the batch.
            autoencoder_logs: dict of the terms of the autoencoder's phase.
            masking_logs: dict of the terms of the masking module's training.
            masking_ran: scalar, 1 if the masking module was trained in this
                step, else 0.

        Returns:
            The log: a dict of scalar tensors.
        """
        weight = ops.cast(ops.shape(images)[0], "float32")
        self._means.autoencoder.update_state(autoencoder_logs, weight)
        self._means.masking.update_state(masking_logs, weight * masking_ran)
        return self.training_logs()

    def training_logs(self):
        """Returns the log of the epoch's training so far, a dict of scalars."""
        logs = {
            **self._means.autoencoder.result(),
            **self._means.masking.result(),
        }
        if self.random_mask_share:
            logs["mask_difficulty"] = ops.divide_no_nan(
                logs["learned_mask_loss"], logs["random_mask_loss"]
            )
        return logs

    def log_validation(self, images):
        """Validates on a batch and takes it into the running means.

        Args:
            images: tensor of the images of the batch.

        Returns:
            The log: MAE loss under learned and under random masks, and their
            ratio, the mask difficulty: above 1, the learned masks are harder.
        """
        self._means.validation.update_state(
            self.validation_losses(images),
            ops.cast(ops.shape(images)[0], "float32"),
        )
        return self.validation_logs()

    def validation_logs(self):
        """Returns the log of the validation so far; see `log_validation`."""
        logs = self._means.validation.result()
        logs["mask_difficulty"] = ops.divide_no_nan(
            logs["loss"], logs["random_mask_loss"]
        )
        return logs


def gradient_norm(gradients):
    """Computes the Euclidean norm of all gradients together, in float32.

    Args:
        gradients: list of tensors; `None` where a variable has none.

    Returns:
        Scalar tensor.
    """
    squares = [
        ops.sum(ops.square(ops.cast(gradient, "float32")))
        for gradient in gradients
        if gradient is not None
    ]
    return ops.sqrt(sum(squares))
