"""Compute the two losses of CL-MAE, one for each player."""

from keras import ops

from keras_clmae.distribution.replicas import global_batch
from keras_clmae.distribution.replicas import split_rows
from keras_clmae.distribution.replicas import uniform_rows
from keras_clmae.layers.token_selection import keep_top_tokens
from keras_clmae.layers.token_selection import mask_overlap
from keras_clmae.objectives.masking_objective import RemovedErrors

# Of a model that is not compiled, where an objective asks: the curriculum's
# end, where the masks are hard.
_FACTOR_WITHOUT_CURRICULUM = -1.0


class CLMAELosses:
    """Losses of the two players, which the trainers of `CLMAE` minimize.

    Reads `autoencoder`, `encoder`, `masking_module` and `objective` of the
    model, and `curriculum` and `random_mask_share` once it is compiled.
    """

    def present_factor(self):
        """Returns the curriculum factor that learned masks have at present.

        Returns:
            Scalar: that of the present step; of a model that is not compiled,
            -1, the end of the curriculum.
        """
        if getattr(self, "curriculum", None) is None:
            return _FACTOR_WITHOUT_CURRICULUM
        return self.curriculum_factor()

    def keep_scores(self, images):
        """Computes the scores that choose the visible tokens, without noise.

        With the paper's objective they are the masking module's output.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            float32 tensor of shape (batch, tokens), high = stays visible.
        """
        return self._selection_scores(self.encoder.embed(images))

    def _selection_scores(self, tokens):
        return self.objective.selection_scores(
            self.masking_module(tokens), self.present_factor(), training=False
        )

    def autoencoder_loss(
        self, images, keep_scores=None, curriculum_factor=None, num_drawn=0
    ):
        """Computes the autoencoder's loss under the learned masks.

        No gradient reaches the masking module. On several devices it is the
        mean over the images of one; the trainer averages over the devices.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            keep_scores: float tensor of shape (batch - num_drawn, tokens), as
                the masking module gives them, where they are known already.
            curriculum_factor: scalar. Defaults to `None`: that of the present
                step.
            num_drawn: int. Number of images, the first ones, that the
                autoencoder's own masker masks instead. Defaults to `0`.

        Returns:
            The scalar loss, and a dict of scalars for the log.
        """
        loss, logs, _ = self._reconstruct_removed(
            images, keep_scores, curriculum_factor, num_drawn
        )
        return loss, logs

    def _reconstruct_removed(self, images, keep_scores, factor, num_drawn):
        """Runs the autoencoder's phase: its loss, logs and `RemovedErrors`."""
        autoencoder = self.autoencoder
        tokens = self.encoder.embed(images)
        drawn, learned = self._split(ops.stop_gradient(tokens), num_drawn)
        if keep_scores is None:
            keep_scores = self.masking_module(learned)
        keep_scores = ops.stop_gradient(keep_scores)
        if factor is None:
            factor = self.present_factor()
        scores = self.objective.selection_scores(
            keep_scores, factor, training=True
        )
        if drawn is not None:
            scores = ops.concatenate([autoencoder.masker(drawn), scores])
        selection = keep_top_tokens(scores, autoencoder.num_visible)
        prediction = autoencoder.predict_removed(
            tokens, selection, training=True
        )
        errors = autoencoder.removed_errors(
            images, prediction, selection.removed_indices
        )
        loss = ops.mean(errors)
        drawn_errors, learned_errors = self._split(errors, num_drawn)
        own_errors = ops.stop_gradient(learned_errors)
        _, learned_mask = self._split(selection.mask, num_drawn)
        logs = {
            "loss": loss,
            **self.objective.score_logs(keep_scores),
            "mask_overlap": mask_overlap(global_batch(learned_mask)),
        }
        if drawn is not None:
            # Of all replicas: the ratio of means is no mean of ratios.
            drawn_errors, learned_errors = (
                global_batch(ops.stop_gradient(each))
                for each in (drawn_errors, learned_errors)
            )
            logs["learned_mask_loss"] = ops.mean(learned_errors)
            # A batch of one image has none under random masks.
            count = ops.sum(ops.ones_like(drawn_errors))
            logs["random_mask_loss"] = ops.where(
                count > 0,
                ops.divide_no_nan(ops.sum(drawn_errors), count),
                loss,
            )
        _, removed_indices = self._split(selection.removed_indices, num_drawn)
        removed = RemovedErrors(own_errors, removed_indices)
        return loss, logs, removed

    def _split(self, values, num_drawn):
        """Splits off the rows of images under random masks, or `None`."""
        if self.random_mask_share == 0:
            return None, values
        return split_rows(values, num_drawn)

    def masking_loss(self, images, curriculum_factor, keep_scores=None):
        """Computes the masking module's loss, by the objective.

        The autoencoder's weights are constants here.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            curriculum_factor: scalar, from +1 (partner) to -1 (adversary).
            keep_scores: float tensor of shape (batch, tokens), where they are
                known already; the gradient passes through it.

        Returns:
            The scalar loss, and a dict of scalars for the log: the loss and the
            objective's terms, before factor and weights.
        """
        if not self.objective.needs_masking_phase:
            return self.both_losses(images, curriculum_factor)[1]
        if keep_scores is None:
            tokens = ops.stop_gradient(self.encoder.embed(images))
            keep_scores = self.masking_module(tokens)
        loss, terms = self.objective(
            self.autoencoder, images, keep_scores, curriculum_factor
        )
        return loss, {"masking_loss": loss, **terms}

    def both_losses(self, images, curriculum_factor, num_drawn=0):
        """Computes both losses at the same point, and the scores only once.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            curriculum_factor: scalar, from +1 (partner) to -1 (adversary).
            num_drawn: int. See `autoencoder_loss`. Defaults to `0`.

        Returns:
            A pair of the results of `autoencoder_loss` and `masking_loss`.
        """
        tokens = ops.stop_gradient(self.encoder.embed(images))
        _, learned_tokens = self._split(tokens, num_drawn)
        keep_scores = self.masking_module(learned_tokens)
        loss, logs, removed = self._reconstruct_removed(
            images, keep_scores, curriculum_factor, num_drawn
        )
        _, learned = self._split(images, num_drawn)
        if self.objective.needs_masking_phase:
            removed = None
        masking_loss, terms = self.objective(
            self.autoencoder, learned, keep_scores, curriculum_factor, removed
        )
        masking_logs = {"masking_loss": masking_loss, **terms}
        return (loss, logs), (masking_loss, masking_logs)

    def validation_losses(self, images):
        """Computes the autoencoder's loss under learned and random masks.

        The random masks are the same at every call, so that epochs compare.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            A dict of two scalars, `loss` and `random_mask_loss`.
        """
        tokens = self.encoder.embed(images)
        random_scores = uniform_rows(images, self.encoder.num_tokens, seed=0)
        losses = {}
        for name, scores in (
            ("loss", self._selection_scores(tokens)),
            ("random_mask_loss", random_scores),
        ):
            selection = keep_top_tokens(scores, self.autoencoder.num_visible)
            prediction = self.autoencoder.predict_removed(tokens, selection)
            losses[name] = self.autoencoder.removed_loss(
                images, prediction, selection.removed_indices
            )
        return losses
