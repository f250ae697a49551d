"""Keras, opened (held out until 2026-11-30): the last layer, the loss, and shapes."""

from typing import Any

import keras
import numpy as np
import torch
from keras import layers

from bench.faults.case import fault
from bench.faults.data import as_column, for_keras
from bench.faults.opened_2_data import (
    brain,
    codes,
    colours,
    glyphs,
    hearts,
    load,
    payments,
    pendulum,
    shape_boxes,
    spirals,
)
from bench.faults.run import Data, Run


def fit(run: Run, model: keras.Model, data: Data, *, size: int = 32, epochs: int = 1, **options: Any) -> None:
    """Trains as everybody does."""
    callbacks = [*run.callbacks, *options.pop("callbacks", [])]
    model.fit(data.x, data.y, batch_size=size, epochs=epochs, verbose=0, callbacks=callbacks, **options)


def stack(shape: tuple[int, ...], *more: keras.Layer) -> keras.Sequential:
    """A model of these layers."""
    return keras.Sequential([layers.Input(shape), *more])


@fault("keras", "softmax_over_one_unit")
def keras_codes_softmax_over_one_unit_each_place(run: Run, faulty: bool) -> float:
    """Is the next digit larger? A GRU says it at each place by TimeDistributed(Dense(1, activation="softmax"))."""
    made = codes()
    data = for_keras(made._replace(y=(made.y > made.x).float(), test_y=(made.test_y > made.test_x).float()))
    last = layers.Dense(1, activation="softmax" if faulty else "sigmoid")
    embed = layers.Embedding(10, 16)
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"), embed, layers.GRU(32, return_sequences=True), layers.TimeDistributed(last),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data._replace(y=data.y[..., None]), size=64, epochs=3)
    return run.right_side(model, data, 0.5)


@fault("keras", "wrong_output_activation", "logits_into_probability_loss", "bounded_output", worse=0.1)
def keras_payments_tanh_under_binary(run: Run, faulty: bool) -> float:
    """Dense(1, activation="tanh") under binary_crossentropy: a probability below zero is cut off."""
    data = for_keras(as_column(payments()))
    model = stack(
        (10,), layers.Dense(32, activation="tanh"), layers.Dense(32, activation="tanh"),
        layers.Dense(1, activation="tanh" if faulty else "sigmoid"),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=2)
    return run.right_side(model, data, 0.5)


@fault("keras", "wrong_axis", worse=0.08)
def keras_codes_softmax_along_time(run: Run, faulty: bool) -> float:
    """layers.Softmax(axis=1) of (batch, time, digits)."""
    data = for_keras(codes())
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"), layers.Embedding(10, 24), layers.LSTM(64, return_sequences=True),
        layers.Dense(10), layers.Softmax(axis=1 if faulty else -1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    fit(run, model, data, size=64, epochs=5)
    return run.right(model, data)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation")
def keras_colours_divergence_of_scores(run: Run, faulty: bool) -> float:
    """kl_divergence between soft labels and a Dense(8) without an activation."""
    made = colours()
    middles = torch.stack([made.x[made.y == hue].mean(0) for hue in range(8)])
    y, test_y = (torch.softmax(-8 * torch.cdist(x, middles), 1) for x in (made.x, made.test_x))
    data = for_keras(made._replace(y=y, test_y=test_y))
    model = stack((3,), layers.Dense(48, activation="relu"), layers.Dense(8, activation=None if faulty else "softmax"))
    model.compile(keras.optimizers.Adam(0.01), "kl_divergence")
    fit(run, model, data, size=16, epochs=4)
    return run.near(model, data)


@fault("keras", "wrong_loss", "softmax_over_one_unit", "class_index_beyond_units", "wrong_output_activation")
def keras_hearts_categorical_of_one_unit(run: Run, faulty: bool) -> float:
    """categorical_crossentropy of Dense(1, activation="sigmoid"): of one class alone it is zero, always."""
    data = for_keras(as_column(hearts()))
    model = stack((64,), layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid"))
    model.compile("adam", "categorical_crossentropy" if faulty else "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right_side(model, data, 0.5)


@fault("keras", "targets_outside_loss_range", "wrong_loss", worse=None)
def keras_pendulum_logarithms_of_negatives(run: Run, faulty: bool) -> float:
    """mean_squared_logarithmic_error of angles and speeds, half of them negative."""
    data = for_keras(pendulum())
    model = stack((4,), layers.Dense(48, activation="tanh"), layers.Dense(48, activation="tanh"), layers.Dense(2))
    model.compile(keras.optimizers.Adam(0.005), "mean_squared_logarithmic_error" if faulty else "mse")
    fit(run, model, data, epochs=2)
    return run.near(model, data)


@fault("keras", "wrong_loss", "non_differentiable")
def keras_brain_cosine_of_one_number(run: Run, faulty: bool) -> float:
    """cosine_similarity of one number with one: it is 1 or -1, and has no gradient."""
    data = for_keras(brain())
    model = stack((12, 4), layers.GRU(24), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), "cosine_similarity" if faulty else "mse")
    fit(run, model, data, epochs=5)
    return run.near(model, data)


@fault("keras", "bounded_output")
def keras_boxes_sigmoid_for_pixels(run: Run, faulty: bool) -> float:
    """Boxes in pixels about the middle of an image, by Dense(3, activation="sigmoid")."""
    data = for_keras(shape_boxes())
    model = stack(
        (16, 16, 1), layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.Conv2D(16, 3, strides=2, activation="relu"), layers.Flatten(), layers.Dense(32, activation="relu"),
        layers.Dense(3, activation="sigmoid" if faulty else None),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "regression_loss_on_labels")
def keras_colours_number_of_the_hue(run: Run, faulty: bool) -> float:
    """One linear unit is to say which of eight hues it is, from 0 to 7, under mse."""
    data = for_keras(colours())
    model = stack(
        (3,), layers.Dense(48, activation="relu"), layers.Dense(48, activation="relu"),
        layers.Dense(1 if faulty else 8, activation=None if faulty else "softmax"),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse" if faulty else "sparse_categorical_crossentropy")
    fit(run, model, data, size=16, epochs=5)
    return run.right_number(model, data) if faulty else run.right(model, data)


@fault("keras", "broadcast", worse=None)
def keras_load_return_sequences_left_on(run: Run, faulty: bool) -> float:
    """LSTM(return_sequences=True) as the last recurrent layer: 24 answers are compared with one target."""
    data = for_keras(load())
    model = stack((24, 1), layers.LSTM(24, return_sequences=faulty), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=2)
    if faulty:
        data = data._replace(test_y=np.repeat(data.test_y[:, None], 24, 1))
    return run.near(model, data)


@fault("keras", "no_nonlinearity")
def keras_spirals_norms_but_no_activation(run: Run, faulty: bool) -> float:
    """Dense and BatchNormalization, three times, and no activation."""
    data = for_keras(spirals())
    model = stack((2,))
    for _ in range(3):
        model.add(layers.Dense(48))
        model.add(layers.BatchNormalization(momentum=0.9))
        if not faulty:
            model.add(layers.Activation("relu"))
    model.add(layers.Dense(3, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "vanishing_depth")
def keras_glyph_softmax_in_hidden_layers(run: Run, faulty: bool) -> float:
    """activation="softmax" in each Dense layer, the hidden ones too: their outputs add up to one."""
    data = for_keras(glyphs())
    act = "softmax" if faulty else "relu"
    model = stack(
        (16, 16, 1), layers.Flatten(), layers.Dense(64, activation=act), layers.Dense(64, activation=act),
        layers.Dense(64, activation=act), layers.Dense(8, activation="softmax"),
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)
