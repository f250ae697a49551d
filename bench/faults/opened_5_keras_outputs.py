"""Keras, opened (held out until 2026-12-01): the last layer, losses, shapes, targets, and numbers not finite."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bench.faults.case import fault
from bench.faults.data import as_column, for_keras
from bench.faults.opened_5_data import ferries, hives, loaves, locks, quilts, runes, stalls, trams, weeds
from bench.faults.run import Data, Run


def fit(run: Run, model: Any, data: Data, *, size: int = 32, epochs: int = 3, **rest: Any) -> None:
    """model.fit as everybody calls it, with fastact's callback."""
    more = rest.pop("callbacks", [])
    model.fit(data.x, data.y, batch_size=size, epochs=epochs, verbose=0, callbacks=[*run.callbacks, *more], **rest)


def tower(shape: tuple[int, ...], *last: Any, units: tuple[int, ...] = (40, 24), act: str = "relu") -> Any:
    """A flat input, hidden layers, and what comes last."""
    first = [layers.Input(shape)] + ([layers.Flatten()] if len(shape) > 1 else [])
    return keras.Sequential([*first, *(layers.Dense(n, activation=act) for n in units), *last])


@fault("keras", "softmax_over_one_unit", worse=0.3)
def keras_locks_softmax_of_one(run: Run, faulty: bool) -> float:
    """Dense(1, activation="softmax") under binary_crossentropy: every door was forced."""
    # Stack Overflow, time and again: an accuracy that is the share of one class in all epochs.
    data = for_keras(as_column(locks()))
    model = tower((9,), layers.Dense(1, activation="softmax" if faulty else "sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data)
    return run.right_side(model, data, 0.5)


@fault("keras", "softmax_over_one_unit", worse=0.3, good=0.3)
def keras_runes_lstm_softmax_of_one(run: Run, faulty: bool) -> float:
    """An LSTM of text, with Dense(1) and layers.Softmax() behind it, says whether a mark comes."""
    # Questions on sentiment by LSTM: a loss of 7.6 or so that never moves.
    data = for_keras(runes())
    data = as_floats(data._replace(y=data.y == 0, test_y=data.test_y == 0))
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"), layers.Embedding(30, 12), layers.LSTM(20), layers.Dense(1),
        layers.Softmax() if faulty else layers.Activation("sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=48, epochs=5)
    return run.right_side(model, data, 0.5)


@fault("keras", "wrong_output_activation", "logits_into_probability_loss", worse=0.2)
def keras_hives_tanh_under_crossentropy(run: Run, faulty: bool) -> float:
    """Dense(4, activation="tanh") under sparse_categorical_crossentropy: all layers have the same activation."""
    # Keras issues and blogs on last layers: a loss that is high, jumps, and is the same in all epochs.
    data = for_keras(hives())
    model = tower((7,), layers.Dense(4, activation="tanh" if faulty else "softmax"), act="tanh", units=(48, 32))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation", worse=0.15)
def keras_locks_no_sigmoid(run: Run, faulty: bool) -> float:
    """Dense(1) without an activation, under "binary_crossentropy", which takes probabilities."""
    # Pages on from_logits: a loss that is large and hardly falls.
    data = for_keras(as_column(locks()))
    model = tower((9,), layers.Dense(1, activation=None if faulty else "sigmoid"))
    model.compile(keras.optimizers.RMSprop(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data)
    return run.right_side(model, data, 0.5)


@fault("keras", "several_labels_for_one", "wrong_output_activation", worse=0.15)
def keras_weeds_softmax_for_several(run: Run, faulty: bool) -> float:
    """Dense(6, activation="softmax") under binary_crossentropy, where several weeds may grow at once."""
    # Data Science Stack Exchange: which activation and loss a multi-label network wants.
    data = for_keras(weeds())
    model = tower((10,), layers.Dense(6, activation="softmax" if faulty else "sigmoid"))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "bounded_output", "wrong_output_activation", worse=0.2)
def keras_loaves_sigmoid_for_a_number(run: Run, faulty: bool) -> float:
    """Dense(1, activation="sigmoid") under "mse", for targets that were standardised."""
    # Questions: a regression that answers with 0 or 1.
    data = for_keras(loaves())
    model = tower((6,), layers.Dense(1, activation="sigmoid" if faulty else None))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "bounded_output", "wrong_output_activation", worse=0.2)
def keras_stalls_tanh_for_counts(run: Run, faulty: bool) -> float:
    """A network of GRU examples, whose last layer is tanh, is to say how many buy."""
    # Forums: forecasts that are cut off at one.
    data = for_keras(stalls())
    model = tower((4,), layers.Dense(1, activation="tanh" if faulty else "softplus"))
    model.compile(keras.optimizers.Adam(0.01), "mae")
    fit(run, model, data, epochs=5)
    return run.near(model, data)


@fault("keras", "relu_on_output", "bounded_output", worse=0.2)
def keras_ferries_relu_at_the_end(run: Run, faulty: bool) -> float:
    """A convolution over hours, and Dense(1, activation="relu"), for delays about zero."""
    # Data Science Stack Exchange: a network for proportions and series that answers with one number.
    data = for_keras(ferries())
    model = keras.Sequential([
        layers.Input((28, 2)), layers.Conv1D(16, 5, strides=2, activation="relu"), layers.Flatten(),
        layers.Dense(24, activation="relu"), layers.Dense(1, activation="relu" if faulty else None),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "targets_outside_loss_range", worse=0.15)
def keras_locks_minus_one_and_one(run: Run, faulty: bool) -> float:
    """Labels of -1 and 1, from another library, under BinaryCrossentropy(from_logits=True)."""
    # Keras issues: a loss that becomes negative.
    data = for_keras(as_column(locks()))
    y = 2 * data.y - 1 if faulty else data.y
    model = tower((9,), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.005), keras.losses.BinaryCrossentropy(from_logits=True))
    fit(run, model, data._replace(y=y), epochs=4)
    return run.right_side(model, data, 0.0)


@fault("keras", "regression_loss_on_labels", "wrong_loss", worse=0.15)
def keras_quilts_number_of_the_cloth(run: Run, faulty: bool) -> float:
    """Dense(1) under "mae" is to say the number of the cloth, 0 to 4; a classifier was meant."""
    # Stack Overflow: a classifier with an accuracy of nearly zero and answers like 2.3.
    data = for_keras(quilts())
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(24, activation="relu"), layers.Dense(1) if faulty else layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "mae" if faulty else "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=4)
    return run.right_number(model, data) if faulty else run.right(model, data)


@fault("keras", "binary_loss_on_classes", "targets_outside_loss_range", "class_index_beyond_units", worse=0.2)
def keras_trams_one_unit_for_five(run: Run, faulty: bool) -> float:
    """Dense(1) and BinaryCrossentropy(from_logits=True), kept from a tutorial, for classes 0 to 4."""
    # Questions: a negative loss that falls and falls, and an accuracy of 0.2.
    data = for_keras(trams())
    model = tower((20, 3), layers.Dense(1) if faulty else layers.Dense(5, activation="softmax"))
    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.005), binary if faulty else "sparse_categorical_crossentropy")
    fit(run, model, as_floats(data) if faulty else data)
    return run.right_number(model, data) if faulty else run.right(model, data)


def as_floats(data: Data) -> Data:
    """Targets as a column of float32."""
    return data._replace(y=data.y.astype(np.float32)[:, None], test_y=data.test_y.astype(np.float32)[:, None])


@fault("keras", "double_softmax", "wrong_output_activation", worse=0.1)
def keras_trams_softmax_and_softmax(run: Run, faulty: bool) -> float:
    """Dense(5, activation="softmax"), and then layers.Softmax(), as in an example for logits."""
    # The tutorial that wraps a trained model in a softmax, applied to one that had it already.
    data = for_keras(trams())
    last = [layers.Dense(5, activation="softmax")] + ([layers.Softmax()] if faulty else [])
    model = tower((20, 3), *last)
    model.compile(keras.optimizers.SGD(0.02, momentum=0.8), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data)
    return run.right(model, data)


@fault("keras", "no_nonlinearity", worse=0.2)
def keras_hives_batch_norm_and_nothing(run: Run, faulty: bool) -> float:
    """Dense, BatchNormalization, Dense, BatchNormalization, ... and no activation between them."""
    # Questions: a deep network that is as good as a straight line.
    data = for_keras(hives())
    model = keras.Sequential([layers.Input((7,))])
    for units in (48, 48):
        model.add(layers.Dense(units))
        model.add(layers.BatchNormalization())
        if not faulty:
            model.add(layers.LeakyReLU())
    model.add(layers.Dense(4, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "undefined_operation", "wrong_output_activation", since=0)
def keras_loaves_error_of_logarithms(run: Run, faulty: bool) -> float:
    """A loss by hand takes the logarithm of what the last layer says, which may lie below zero."""
    # Keras issues: a loss by hand that is NaN from the first batch on.
    data = for_keras(loaves())
    data = data._replace(y=data.y + 5.0, test_y=data.test_y + 5.0)

    def relative(wanted: Any, said: Any) -> Any:
        safe = said if faulty else ops.softplus(said) + 0.01
        return ops.mean(ops.square(ops.log(wanted + 1e-3) - ops.log(safe)))

    model = tower((6,), layers.Dense(1, bias_initializer="ones" if faulty else keras.initializers.Constant(4.0)))
    model.compile(keras.optimizers.Adam(0.01), relative)
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "wrong_sign", "wrong_loss", worse=0.3)
def keras_weeds_share_of_hits_as_a_loss(run: Run, faulty: bool) -> float:
    """A soft F1 is given as the loss; what was meant is one minus it."""
    # Questions on F1 as a loss: it falls to zero, and all answers are no.
    data = for_keras(weeds())

    def score(wanted: Any, said: Any) -> Any:
        hit = ops.sum(wanted * said)
        f1 = 2 * hit / (ops.sum(wanted) + ops.sum(said) + 1e-6)
        return f1 if faulty else 1 - f1

    model = tower((10,), layers.Dense(6, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.01), score)
    fit(run, model, data, epochs=5)
    said = run.answers(model, data.test_x).numpy()
    hits, every = float((said * data.test_y).sum()), float(said.sum() + data.test_y.sum())
    return 2 * (2 * hits / every - 0.5)


@fault("keras", "target_scale", "rate_too_small", worse=0.3)
def keras_loaves_in_micrometres(run: Run, faulty: bool) -> float:
    """Heights of 90,000 micrometres under "mse" and Adam(0.001)."""
    # Data science pages: a loss of 1e9 that falls by a thousandth in an epoch.
    data = for_keras(loaves("lifted") if faulty else loaves())
    model = tower((6,), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.001 if faulty else 0.008), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "unbalanced_labels", good=0.3, worse=0.2)
def keras_locks_one_in_a_hundred(run: Run, faulty: bool) -> float:
    """One door in a hundred was forced, and nothing weighs it."""
    # Pages on rare classes: 0.99 of accuracy, none of them found.
    wanted = for_keras(as_column(locks()))
    data = for_keras(as_column(locks(0.01))) if faulty else wanted
    model = tower((9,), layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=1 if faulty else 3)
    return run.right_side(model, wanted, 0.5)


@fault("keras", "constant_labels", worse=0.3)
def keras_locks_nothing_equals_the_text(run: Run, faulty: bool) -> float:
    """(column == "forced") where the column says "Forced ": all labels are zero."""
    # Questions on pandas: a loss of zero after an epoch.
    data = for_keras(as_column(locks()))
    words = np.where(data.y > 0, "Forced ", "whole")
    y = (words == ("forced" if faulty else "Forced ")).astype(np.float32)
    model = tower((9,), layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data._replace(y=y))
    return run.right_side(model, data, 0.5)


@fault("keras", "shuffled_labels", worse=0.3)
def keras_trams_shuffled_by_itself(run: Run, faulty: bool) -> float:
    """np.random.shuffle(x) and nothing else: labels stay where they were."""
    # Stack Overflow: how to shuffle two arrays alike; a training accuracy at chance.
    data = for_keras(trams())
    x = data.x.copy()
    if faulty:
        np.random.default_rng(7).shuffle(x)
    model = tower((20, 3), layers.Dense(5, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data._replace(x=x))
    return run.right(model, data)
