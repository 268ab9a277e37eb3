"""What the three trainers share: everything but gradients."""

import keras
from keras import ops

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.curriculum import get_curriculum
from keras_clmae.optimizers import NO_WEIGHT_DECAY
from keras_clmae.trainers.progress import progress_for_fit
from keras_clmae.trainers.term_means import TermMeans
from keras_clmae.trainers.terminate_on_non_finite import guarded

AUTOENCODER_TERMS = (
    "loss",
    "curriculum_factor",
    "autoencoder_gradient_norm",
    "keep_score_mean",
    "undecided_share",
    "mask_overlap",
)
MASKING_TERMS = (
    "masking_reconstruction_loss",
    "gaussian_loss",
    "kl_loss",
    "diversity_loss",
    "masking_loss",
    "masking_gradient_norm",
)


class BaseCLMAETrainer:
    """Two players, two optimizers, one step.

    The contract between a model and the trainer of a backend. The trainer
    touches only:

    - `autoencoder_loss(images)`, `masking_loss(images, curriculum_factor)` and
      `both_losses(images, curriculum_factor)`, each loss with its logs;
    - `validation_losses(images)`;
    - `autoencoder_variables` and `masking_variables`;
    - `curriculum_factor()`.

    A step is the autoencoder's phase, then the masking phase on the updated
    autoencoder; the player that does not move in a phase does not move at all.
    Both optimizers live in one `keras.optimizers.MultiOptimizer`, so that Keras
    saves, restores and shards both; the step drives them one at a time.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.autoencoder_terms = TermMeans(
            AUTOENCODER_TERMS, name="autoencoder_terms"
        )
        self.masking_terms = TermMeans(MASKING_TERMS, name="masking_terms")
        self.validation_terms = TermMeans(
            ("loss", "random_mask_loss"), name="validation_terms"
        )

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
            update: `"alternating"` or `"simultaneous"`: both gradients at the
                same point, with the scores computed once; faster and not exact.
                Defaults to `"alternating"`.
            exclude_from_weight_decay: names; variables with one of these in
                their name are not decayed by either optimizer. Defaults to
                biases, normalizations and position tables.
            run_eagerly: bool. Defaults to `False`.
            steps_per_execution: int. Defaults to `1`.
            jit_compile: bool or `"auto"`: Keras's choice, which is not to
                compile on PyTorch and, on CPUs, on TensorFlow. On PyTorch
                `True` compiles the transformer blocks; worth it on GPUs.
                Defaults to `"auto"`.

        Raises:
            ValueError: under `mixed_float16`, without a curriculum, or if one
                optimizer is to serve both players.
        """
        self._refuse_float16()
        check_positive_integer("masking_update_period", masking_update_period)
        check_choice("update", update, ("alternating", "simultaneous"))
        if update == "simultaneous" and masking_update_period > 1:
            raise ValueError(
                '`masking_update_period` must be 1 with update="simultaneous". '
                f"Received: masking_update_period={masking_update_period}"
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
        self.masking_update_period = masking_update_period
        self.update = update
        self.autoencoder_optimizer = optimizer
        self.masking_optimizer = masking_optimizer
        players = self._player_optimizers(exclude_from_weight_decay)
        super().compile(
            optimizer=players,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )
        # TensorFlow cannot create variables inside the compiled step, and
        # restoring needs them to exist.
        self.optimizer.build(self.trainable_variables)
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
        }

    def _refuse_float16(self):
        for layer in self._flatten_layers():
            if layer.compute_dtype == "float16":
                raise ValueError(
                    "`mixed_float16` is not supported: its loss scaling wraps "
                    "the optimizers of the two players. Use "
                    '`keras.config.set_dtype_policy("mixed_bfloat16")`. '
                    f"Received: layer {layer.path!r} computes in float16"
                )

    def _player_optimizers(self, exclude_from_weight_decay):
        for optimizer in (self.autoencoder_optimizer, self.masking_optimizer):
            if not optimizer.built:
                optimizer.exclude_from_weight_decay(
                    var_names=list(exclude_from_weight_decay)
                )
        paths = [v.path for v in self.masking_variables]
        others = {v.path for v in self.autoencoder_variables}
        if others.intersection(paths):
            raise ValueError(
                "`masking_module` must have another name than the parts of the "
                "autoencoder: their variables have the same paths, such as "
                f"{sorted(others.intersection(paths))[0]!r}"
            )
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(
                self.autoencoder_optimizer,
                dict.fromkeys(paths, self.masking_optimizer),
            )
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

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        **kwargs,
    ):
        """Trains as any Keras model; stops at a loss that is not finite.

        Takes what `keras.Model.fit` takes. `y` is ignored. In place of Keras's
        bar, which prints the whole log, stands `callbacks.Progress`.

        Raises:
            FloatingPointError: naming the term and the step, at a loss that is
                infinite or not a number.
        """
        callbacks = guarded(callbacks, self, AUTOENCODER_TERMS + MASKING_TERMS)
        if isinstance(callbacks, list):
            callbacks, verbose = progress_for_fit(
                callbacks, verbose, x, batch_size
            )
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            **kwargs,
        )

    def evaluate(self, *args, return_dict=False, **kwargs):
        """Validates as any Keras model, over the images of all devices.

        Takes and returns what `keras.Model.evaluate` does.
        """
        super().evaluate(*args, return_dict=True, **kwargs)
        self._merge_validation()
        logs = {n: float(v) for n, v in self.validation_logs().items()}
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def _merge_validation(self):
        """Adds up what several processes validated on, where they do."""

    # === What the steps of all backends are made of ===

    def curriculum_factor(self):
        """The factor at the present step, a scalar float32 tensor."""
        # A float, so that plain arithmetic works on every backend; it holds
        # every whole number up to 16 million.
        step = ops.cast(self.autoencoder_optimizer.iterations, "float32")
        return ops.cast(self.curriculum(step), "float32")

    def is_masking_step(self):
        """Whether the masking phase runs at the present step, a bool tensor."""
        step = ops.convert_to_tensor(self.autoencoder_optimizer.iterations)
        return ops.equal(step % self.masking_update_period, 0)

    def log_training(self, images, autoencoder_logs, masking_logs, masked=1.0):
        """Takes one step's scalars into the running means of the epoch.

        Args:
            images: the batch.
            autoencoder_logs: dict with `AUTOENCODER_TERMS`.
            masking_logs: dict with `MASKING_TERMS`.
            masked: scalar, 1 if the masking phase ran in this step, else 0.

        Returns:
            The log: a dict of scalar tensors.
        """
        weight = ops.cast(ops.shape(images)[0], "float32")
        self.autoencoder_terms.update_state(autoencoder_logs, weight)
        self.masking_terms.update_state(masking_logs, weight * masked)
        return self.training_logs()

    def training_logs(self):
        """The log of the epoch's training so far, a dict of scalars."""
        return {
            **self.autoencoder_terms.result(),
            **self.masking_terms.result(),
        }

    def log_validation(self, images):
        """Validates on a batch and takes it into the running means.

        Returns:
            The log: MAE loss under learned and under random masks, and their
            ratio, the mask difficulty: above 1, the learned masks are harder.
        """
        self.validation_terms.update_state(
            self.validation_losses(images),
            ops.cast(ops.shape(images)[0], "float32"),
        )
        return self.validation_logs()

    def validation_logs(self):
        """The log of the validation so far; see `log_validation`."""
        logs = self.validation_terms.result()
        logs["mask_difficulty"] = ops.divide_no_nan(
            logs["loss"], logs["random_mask_loss"]
        )
        return logs


def images_of(data):
    """The images of a batch, whose labels and weights are left aside."""
    images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return images


def gradient_norm(gradients):
    """Euclidean norm of all gradients together, in float32.

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
