"""Opened (held out until 2026-12-01): Keras programs that look odd, and in which nothing is wrong."""

import keras
import numpy as np
from keras import layers

from bench.faults.case import look_alike
from bench.faults.data import as_column, for_keras
from bench.faults.opened_4_data import (
    arrows,
    guests,
    harvest,
    ledgers,
    strolls,
)
from bench.faults.opened_4_keras import fit, two
from bench.faults.run import Run


@look_alike("keras")
def keras_harvest_raw_by_a_norm(run: Run) -> float:
    """Raw features, millions among them, and a BatchNormalization first, which learns their scale."""
    data = for_keras(harvest("raw"))
    model = keras.Sequential([
        layers.Input((6,)), layers.BatchNormalization(momentum=0.9), layers.Dense(48, activation="relu"),
        layers.Dense(32, activation="relu"), layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=5)
    return run.near(model, data)


@look_alike("keras", good=0.35)
def keras_ledgers_one_unit_of_tanh_by_mse(run: Run) -> float:
    """Labels of 1 and -1, a tanh and mse: no probability, and right."""
    made = ledgers()
    data = for_keras(made._replace(y=2.0 * made.y[:, None] - 1))
    model = two(10, layers.Dense(1, activation="tanh"), width=48)
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=3)
    return run.right_side(model, for_keras(made), 0.0)


@look_alike("keras")
def keras_strolls_noise_and_selu(run: Run) -> float:
    """Noise of a half on what comes in, SELU and AlphaDropout: the training loss stays above that of validation."""
    data = for_keras(strolls())
    model = keras.Sequential([layers.Input((24, 3)), layers.Flatten(), layers.GaussianNoise(0.5)])
    for _ in range(2):
        model.add(layers.Dense(64, activation="selu", kernel_initializer="lecun_normal"))
        model.add(layers.AlphaDropout(0.1))
    model.add(layers.Dense(4, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=5, validation_data=(data.test_x[:128], data.test_y[:128]))
    return run.right(model, data)


@look_alike("keras")
def keras_guests_dot_product_alone(run: Run) -> float:
    """Two embeddings and their product: no layer has an activation, and none is wanted."""
    data = for_keras(guests())
    one, other = layers.Input((1,), dtype="int32"), layers.Input((1,), dtype="int32")
    left = layers.Flatten()(
        layers.Embedding(40, 8, embeddings_initializer=keras.initializers.RandomNormal(0, 0.4))(one)
    )
    right = layers.Flatten()(
        layers.Embedding(25, 8, embeddings_initializer=keras.initializers.RandomNormal(0, 0.4))(other)
    )
    said = layers.Add()([layers.Dot(1)([left, right]), layers.Dense(1)(right)])
    model = keras.Model([one, other], said)
    model.compile(keras.optimizers.Adam(0.03), "mse")
    x, test_x = ([part[:, :1], part[:, 1:]] for part in (data.x, data.test_x))
    fit(run, model, data._replace(x=x), size=64, epochs=7)
    return run.near(model, data._replace(test_x=test_x))


@look_alike("keras")
def keras_arrows_images_from_minus_one_to_one(run: Run) -> float:
    """Images of float16 from -1 to 1, mostly -1, and a ReLU first layer, most of whose units are zero for most."""
    data = for_keras(arrows())
    x, test_x = ((2 * part - 1).astype(np.float16) for part in (data.x, data.test_x))
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"), layers.Flatten(), layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data._replace(x=x), epochs=5)
    return run.right(model, data._replace(test_x=test_x))


@look_alike("keras", good=0.35)
def keras_ledgers_weights_of_classes(run: Run) -> float:
    """One account in thirty is a swindle and counts thirty times: the loss is far above a cross entropy's first."""
    data, wanted = for_keras(as_column(ledgers(0.033))), for_keras(as_column(ledgers()))
    model = two(10, layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4, class_weight={0: 1.0, 1: 30.0})
    return run.right_side(model, wanted, 0.5)
