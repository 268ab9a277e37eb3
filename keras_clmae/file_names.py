"""Name the files that rooms above and below look for, without Keras."""

# The whole model in the folder of a finished run.
RUN_MODEL = "model.keras"
