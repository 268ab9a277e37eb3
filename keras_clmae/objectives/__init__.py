"""Train learned maskers by a loss of their scores."""

from keras_clmae.objectives.curriculum_objective import CurriculumObjective
from keras_clmae.objectives.masking_objective import MaskingObjective
from keras_clmae.objectives.masking_objective import RemovedErrors
from keras_clmae.objectives.patch_error_objective import PatchErrorObjective
