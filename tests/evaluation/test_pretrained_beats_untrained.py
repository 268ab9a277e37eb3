"""Real input: CL-MAE's pretraining on the digits shows in every protocol."""

import keras
import pytest

from keras_clmae import LinearCurriculum
from keras_clmae import data
from keras_clmae.evaluation import classifier_accuracy
from keras_clmae.evaluation import draw_few_shot
from keras_clmae.evaluation import extract_features
from keras_clmae.evaluation import few_shot_accuracy
from keras_clmae.evaluation import fine_tune
from keras_clmae.evaluation import knn_accuracy
from keras_clmae.evaluation import linear_probe_accuracy
from keras_clmae.evaluation import untrained_copy
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskingModule
from keras_clmae.optimizers import warmup_cosine
from tests.optimized import as_users_compile

pytest.importorskip("sklearn")
pytestmark = pytest.mark.slow

EPOCHS = 30


def adamw(learning_rate):
    return keras.optimizers.AdamW(learning_rate, weight_decay=0.05, beta_2=0.95)


@pytest.fixture(scope="module")
def encoders():
    """The pretrained one, and an untrained one of the same sizes."""
    keras.utils.set_random_seed(0)
    # Half of scripts/recipes/digits.yaml.
    model = CLMAE.from_sizes(
        masking_module=MaskingModule(
            num_layers=1, num_heads=4, name="masking_module"
        ),
        image_shape=(8, 8, 1),
        patch_size=2,
        hidden_dim=48,
        num_layers=2,
        num_heads=4,
        decoder_hidden_dim=32,
        decoder_num_layers=1,
        decoder_num_heads=4,
        mask_ratio=0.5,
        seed=0,
    )
    train = data.digits(batch_size=64, split="train")
    steps = EPOCHS * train.steps_per_epoch
    model.compile(
        adamw(warmup_cosine(2e-3, steps, steps // 12)),
        adamw(2e-4),
        curriculum=LinearCurriculum(steps),
    )
    with as_users_compile():
        model.fit(train, epochs=EPOCHS, shuffle=False, verbose=0)
    return model.encoder, untrained_copy(model.encoder)


def test_features(encoders):
    splits = data.load_digits_arrays()
    scores = []
    for encoder in encoders:
        features = sum(
            (extract_features(encoder, split, verbose=0) for split in splits),
            start=(),
        )
        few_shot = few_shot_accuracy(*features, shots=[4])
        scores.append(
            (
                knn_accuracy(*features),
                few_shot[4]["mean"],
                linear_probe_accuracy(*features),
            )
        )
    pretrained, untrained = scores
    print(scores)
    assert pretrained[0] > untrained[0] + 0.05
    assert pretrained[1] > untrained[1]
    assert pretrained[2] > untrained[2]


def test_fine_tuning_on_few_labels(encoders):
    """At equal epochs, from the pretrained encoder and from scratch."""
    (images, labels), test = data.load_digits_arrays()
    drawn = draw_few_shot(labels, 10, seed=0)
    accuracies = []
    for encoder in encoders:
        keras.utils.set_random_seed(0)
        classifier = fine_tune(
            encoder,
            data.array_dataset(images[drawn], labels[drawn], batch_size=50),
            num_classes=10,
            batch_size=50,
            epochs=20,
            base_learning_rate=5e-3,
            warmup_epochs=2,
        )
        accuracies.append(classifier_accuracy(classifier, test))
    print(accuracies)
    assert accuracies[0] > accuracies[1] + 0.05
