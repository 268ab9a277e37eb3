"""Save the state of random draws with the weights."""


class RandomStateMixin:
    """Mixin of layers that draw at random: saves their `seed_generator`.

    Keras saves no random state, so a resumed training would repeat its draws.
    For classes without weights of their own.
    """

    seed_generator = None

    def save_own_variables(self, store):
        super().save_own_variables(store)
        if self.seed_generator is not None:
            store["seed_generator_state"] = self.seed_generator.state

    def load_own_variables(self, store):
        # Absent in weights that were saved without anything to draw.
        if self.seed_generator is not None and "seed_generator_state" in store:
            self.seed_generator.state.assign(store["seed_generator_state"])
