"""Several devices and several processes, on each backend's own engine."""

from keras_clmae.distribution.plan import DistributionPlan
from keras_clmae.distribution.plan import current_plan
from keras_clmae.distribution.plan import is_first_process
from keras_clmae.distribution.plan import setup
from keras_clmae.distribution.processes import ProcessPlace
from keras_clmae.distribution.processes import find_process
from keras_clmae.distribution.reading import readable_weights
from keras_clmae.distribution.replicas import global_batch
