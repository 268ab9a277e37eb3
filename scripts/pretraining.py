"""What a pretraining run does once its settings are known."""

import contextlib
import os
import signal
import threading

import keras
from data_options import read_normalization
from data_options import source_arguments
from online_knn_data import labelled_images
from run_folder import Log
from run_folder import draw_pictures
from run_folder import prepare_folder
from run_folder import save_whole
from run_summary import print_opening

import keras_clmae
from keras_clmae import callbacks
from keras_clmae import data
from keras_clmae import distribution
from keras_clmae import models
from keras_clmae.optimizers import AdamW
from keras_clmae.optimizers import warmup_cosine
from keras_clmae.trainers import NO_WEIGHT_DECAY
from keras_clmae.trainers import keep_freed_memory

# Images in the picture of masks.
NUM_PICTURES = 6
# Pictures of each gallery in a run, unless the settings say otherwise.
NUM_GALLERIES = 20


def run(settings, resume=False):
    """Pretrains as `settings` say and returns the model.

    Args:
        settings: `pretrain.Settings`.
        resume: bool. Whether to go on from the newest checkpoint.

    Returns:
        The trained `CLMAE` or `MaskedAutoencoder`.
    """
    keep_freed_memory()
    plan = distribution.setup(
        settings.distribution,
        model_devices=settings.model_devices,
        simulated_devices=settings.simulated_devices,
        multi_host=settings.multi_host,
    )
    if not 0 <= settings.warmup_epochs < settings.epochs:
        raise ValueError(
            "`warmup_epochs` must be from 0 to below `epochs`. Received: "
            f"warmup_epochs={settings.warmup_epochs}, epochs={settings.epochs}"
        )
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    train, validation = load_data(settings)
    images = first_images(validation or train)
    model = build_model(settings, images.shape[1:])
    compile_model(model, settings, train.steps_per_epoch)
    knn = make_online_knn(settings, train.normalization)
    position = prepare_folder(settings, model, train.normalization, resume)
    inverse = train.normalization.inverse
    if settings.verbose and distribution.is_first_process():
        print_opening(
            settings,
            plan,
            model,
            train,
            position,
            highest_learning_rate(settings),
        )
    stop = threading.Event()
    chosen = make_callbacks(
        settings, images, inverse, resume, position, stop, knn
    )
    with set_by_sigterm(stop):
        train_from(position, model, settings, train, validation, chosen)
    save_whole(model, os.path.join(settings.run_dir, "model.keras"))
    if distribution.is_first_process():
        draw_pictures(settings, model, inverse)
    return model


def load_data(settings):
    """Makes the training and validation batches; the latter may be `None`."""
    plan = distribution.current_plan()
    batch_size = plan.local_batch_size(settings.batch_size)
    # On several devices every batch splits evenly, those of validation too.
    even = {"drop_remainder": True} if plan.batch_parts > 1 else {}
    source = source_arguments(settings)
    if settings.data == "digits":
        return (
            data.digits(batch_size, "train", seed=settings.seed),
            data.digits(batch_size, "test", **even),
        )

    def load(transform, statistics, part, **arguments):
        return data.load(
            settings.data,
            image_size=settings.image_size,
            batch_size=batch_size,
            seed=settings.seed,
            transform=transform,
            statistics=statistics,
            **source,
            **part,
            **arguments,
        )

    training, validation = parts(settings)
    # A run that goes on does not measure its pictures again.
    statistics = stored_normalization(settings) or settings.statistics
    train = load("pretrain", statistics, training)
    if validation is None:
        return train, None
    # Standardised as in training.
    return train, load("evaluation", train.normalization, validation, **even)


def parts(settings):
    """Arguments of `data.load` for training and for validation, or `None`."""
    if settings.validation is None:
        return {}, None
    if isinstance(settings.validation, str):
        return {}, {"split": settings.validation}
    share = {"validation_split": settings.validation}
    return {**share, "subset": "training"}, {**share, "subset": "validation"}


def stored_normalization(settings):
    """What an earlier start of the run standardised pixels by, or `None`."""
    if os.path.isfile(os.path.join(settings.run_dir, "config.yaml")):
        return read_normalization(settings.run_dir)
    return None


def train_from(position, model, settings, train, validation, chosen):
    """Trains from `position` to the end; a resumed run like any other.

    The order of the images depends on seed and epoch only.

    Args:
        position: `TrainingPosition` that the model's state is of.
        model: compiled model.
        settings: `pretrain.Settings`.
        train: training batches.
        validation: validation batches, or `None`.
        chosen: callbacks.
    """
    arguments = {
        "validation_data": validation,
        "shuffle": False,
        "callbacks": chosen,
        # `Progress` is among the callbacks.
        "verbose": 0,
    }
    epoch = position.epoch
    train.set_epoch(epoch)
    if position.step:
        if position.step < train.steps_per_epoch:
            model.fit(
                data.remaining_steps(train, position.step),
                initial_epoch=epoch,
                epochs=epoch + 1,
                **arguments,
            )
        else:
            finish_epoch(epoch, model, settings, validation, chosen)
        epoch += 1
        train.set_epoch(epoch)
    model.fit(train, initial_epoch=epoch, epochs=settings.epochs, **arguments)


def finish_epoch(epoch, model, settings, validation, chosen):
    """Does what was left of an epoch that was stopped in its validation."""
    hooks = keras.callbacks.CallbackList(
        chosen, model=model, epochs=settings.epochs
    )
    hooks.on_train_begin()
    # Restores the sums behind the log of the training.
    hooks.on_epoch_begin(epoch)
    logs = (
        model.training_logs()
        if settings.method == "clmae"
        else model.get_metrics_result()
    )
    logs = {name: float(value) for name, value in logs.items()}
    validated = model.evaluate(validation, return_dict=True, verbose=0)
    logs |= {f"val_{name}": value for name, value in validated.items()}
    hooks.on_epoch_end(epoch, logs)
    hooks.on_train_end()


def first_images(batches, count=NUM_PICTURES):
    """Images from all over a data set, as many as the pictures show."""
    return data.example_images(batches, count)


def build_model(settings, image_shape):
    """Makes the model for images of `image_shape`."""
    model_class = {"clmae": models.CLMAE, "mae": models.MaskedAutoencoder}[
        settings.method
    ]
    sizes = {**settings.model, "image_shape": tuple(image_shape)}
    if settings.method == "clmae" and settings.masking_module:
        # As the module that CLMAE makes itself.
        inherited = {
            "gradient_checkpointing": sizes.get("gradient_checkpointing", False)
        }
        sizes["masking_module"] = models.MaskingModule(
            **{**inherited, **settings.masking_module}, name="masking_module"
        )
    if settings.preset is None:
        return model_class.from_sizes(seed=settings.seed, **sizes)
    return model_class.from_preset(
        model_class.preset_prefix + settings.preset,
        load_weights=False,
        seed=settings.seed,
        **sizes,
    )


def highest_learning_rate(settings):
    """The learning rate after warm-up, of the global batch."""
    if not settings.scale_learning_rate:
        return settings.base_learning_rate
    # The rule of MAE's appendix A.1 (https://arxiv.org/abs/2111.06377), from
    # https://arxiv.org/abs/1706.02677.
    return settings.base_learning_rate * settings.batch_size / 256


def compile_model(model, settings, steps_per_epoch):
    """Compiles with MAE's optimizer and the curriculum of the settings."""
    total_steps = settings.epochs * steps_per_epoch

    def adamw(learning_rate):
        return AdamW(
            learning_rate, weight_decay=settings.weight_decay, beta_2=0.95
        )

    optimizer = adamw(
        warmup_cosine(
            highest_learning_rate(settings),
            total_steps,
            settings.warmup_epochs * steps_per_epoch,
        )
    )
    common = {
        "jit_compile": settings.jit_compile,
        "steps_per_execution": settings.steps_per_execution,
    }
    if settings.method == "mae":
        optimizer.exclude_from_weight_decay(var_names=list(NO_WEIGHT_DECAY))
        model.compile(optimizer, **common)
        # Restoring needs its variables to exist.
        optimizer.build(model.trainable_variables)
        return
    masking_optimizer = None
    if settings.masking_learning_rate is not None:
        masking_optimizer = adamw(settings.masking_learning_rate)
    model.compile(
        optimizer,
        masking_optimizer,
        curriculum=make_curriculum(settings, total_steps, steps_per_epoch),
        masking_update_period=settings.masking_update_period,
        update=settings.update,
        **common,
    )


def make_curriculum(settings, total_steps, steps_per_epoch):
    """Makes the curriculum that the settings name."""
    if settings.curriculum == "constant":
        return keras_clmae.ConstantCurriculum(settings.initial_factor)
    ends = (settings.initial_factor, settings.final_factor)
    if settings.curriculum == "cosine":
        return keras_clmae.CosineCurriculum(total_steps, *ends)
    per_epoch = settings.curriculum == "linear_per_epoch"
    return keras_clmae.LinearCurriculum(
        total_steps,
        *ends,
        steps_per_epoch=steps_per_epoch if per_epoch else None,
    )


@contextlib.contextmanager
def set_by_sigterm(event):
    """SIGTERM sets `event` and nothing else, as long as this lasts.

    Several JAX processes leave it to JAX's preemption service, which tells all
    of them (see `callbacks.HostsCheckpoint`).
    """
    if distribution.current_plan().is_over_jax_processes or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def make_online_knn(settings, normalization):
    """`OnlineKNN` as the settings ask for it, or `None`."""
    if settings.knn_every is None:
        return None
    if distribution.current_plan().is_over_jax_processes:
        raise ValueError(
            "`knn_every` must be left out with several JAX processes: one of "
            "them cannot call the model by itself. "
            f"Received: knn_every={settings.knn_every}"
        )
    if not distribution.is_first_process():
        return None
    return callbacks.OnlineKNN(
        *labelled_images(settings, parts(settings), normalization),
        epochs=settings.knn_every,
    )


def make_callbacks(settings, images, inverse, resume, position, stop, knn):
    """Progress, the log, the galleries and, last, the checkpoint.

    Of several processes the first one does all this; the others end when it
    has. When the event `stop` of one is set, all end at the next step, with the
    state saved. Several JAX processes save together.
    """

    def path(*names):
        return os.path.join(settings.run_dir, *names)

    # Its number is for the others to show and to write.
    chosen = [] if knn is None else [knn]
    sometimes = [callback.name for callback in chosen]
    if distribution.is_first_process():
        if settings.verbose:
            chosen.append(
                callbacks.Progress(
                    settings.batch_size,
                    settings.verbose,
                    show=sometimes,
                    log_name="images_per_second",
                )
            )
        chosen += [
            Log(path("log.csv"), append=resume, sometimes=sometimes),
            callbacks.TensorBoardScalars(path("tensorboard")),
        ]
    schedule = {
        "every": settings.checkpoint_every,
        "keep": settings.keep,
        "position": position,
    }
    if distribution.current_plan().is_over_jax_processes:
        return [
            *chosen,
            callbacks.HostsCheckpoint(path("checkpoints"), **schedule),
        ]
    checkpoint = callbacks.RunCheckpoint(
        path("checkpoints"), **schedule, stop_event=stop
    )
    if not distribution.is_first_process():
        return [checkpoint]
    galleries = {"reconstructions": callbacks.ReconstructionGallery}
    if settings.method == "clmae":
        galleries["masks"] = callbacks.MaskGallery
    chosen += [
        gallery(
            images,
            path(name),
            every=pictures_every(settings),
            inverse=inverse,
            bands=settings.bands,
            tensorboard=path("tensorboard", name),
        )
        for name, gallery in galleries.items()
    ]
    # What an epoch left behind is complete before it counts as finished.
    return [*chosen, checkpoint]


def pictures_every(settings):
    """Epochs from one picture to the next."""
    if settings.pictures_every is not None:
        return settings.pictures_every
    return max(settings.epochs // NUM_GALLERIES, 1)
