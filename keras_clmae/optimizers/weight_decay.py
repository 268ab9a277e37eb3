"""Name the variables that weight decay leaves alone."""

# Biases, norms and position tables, by the ends of their names, as in MAE
# (timm's `param_groups_weight_decay`, to which the tables are no parameters).
NO_WEIGHT_DECAY = ("bias", "gamma", "beta", "position_table")
