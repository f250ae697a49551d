"""Questions on Keras: series and sentences."""

from typing import Any

import keras
import numpy as np
from keras import layers

from bench.faults.case import fault, look_alike
from bench.faults.questions_data import bits, sentences, wave
from bench.faults.questions_toys import fit
from bench.faults.run import Run


@fault("keras", "relu_on_output", "wrong_output_activation", worse=0.15)
def question_wave_relu_at_the_end(run: Run, faulty: bool) -> float:
    """An LSTM and Dense(1, activation="relu") for a wave about zero."""
    data = wave()
    model = keras.Sequential([
        layers.Input((20, 1)), layers.LSTM(24), layers.Dense(1, activation="relu" if faulty else None),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=6)
    return run.near(model, data)


@fault("keras", "target_scale", "unscaled_inputs")
def question_prices_as_they_are(run: Run, faulty: bool) -> float:
    """Prices about 2,500 into an LSTM: the same answer for each day."""
    data = wave(scale=300, middle=2500)
    if not faulty:
        data = data._replace(
            x=(data.x - 2500) / 300, y=(data.y - 2500) / 300,
            test_x=(data.test_x - 2500) / 300, test_y=(data.test_y - 2500) / 300,
        )  # fmt: skip
    model = keras.Sequential([layers.Input((20, 1)), layers.LSTM(24), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.003), "mean_squared_error")
    fit(run, model, data, epochs=8)
    return run.near(model, data)


@fault("keras", "bounded_output", "unscaled_inputs", "target_scale")
def question_prices_by_a_lstm_alone(run: Run, faulty: bool) -> float:
    """The last layer is LSTM(1), whose answers are within -1 and 1, and the prices are about 60."""
    data = wave(scale=8, middle=60)
    if not faulty:
        data = data._replace(
            x=(data.x - 60) / 8, y=(data.y - 60) / 8, test_x=(data.test_x - 60) / 8, test_y=(data.test_y - 60) / 8
        )  # fmt: skip
    model = keras.Sequential([layers.Input((20, 1)), layers.LSTM(16, return_sequences=True), layers.LSTM(1)])
    if not faulty:
        model.add(layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=8)
    return run.near(model, data)


@fault("keras", "exploding_depth", "rate_too_large", worse=0.15)
def question_wave_relu_within_a_lstm(run: Run, faulty: bool) -> float:
    """LSTM(activation="relu") on readings of some tens: the loss jumps and is NaN in the end."""
    data = wave(steps=60, scale=10.0 if faulty else 1.0, middle=20.0 if faulty else 0.0)
    act = "relu" if faulty else "tanh"
    model = keras.Sequential([
        layers.Input((60, 1)), layers.LSTM(32, activation=act, return_sequences=True), layers.LSTM(32, activation=act),
        layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "softmax_over_one_unit")
def question_bits_softmax_of_one(run: Run, faulty: bool) -> float:
    """LSTM and Dense(1, activation="softmax") with adagrad, 256 a batch."""
    data = bits()
    model = keras.Sequential([
        layers.Input((8, 1)), layers.LSTM(24), layers.Dense(1, activation="softmax" if faulty else "sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=64, epochs=40)
    return run.right_side(model, data, 0.5)


@fault("keras", "rate_too_small", "vanishing_depth")
def question_bits_adagrad(run: Run, faulty: bool) -> float:
    """optimizer="adagrad", whose rate is 0.001 now."""
    data = bits()
    model = keras.Sequential([layers.Input((8, 1)), layers.LSTM(24), layers.Dense(1, activation="sigmoid")])
    model.compile("adagrad" if faulty else keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=64, epochs=40)
    return run.right_side(model, data, 0.5)


@fault("keras", "sorted_data", worse=None)
def question_sentences_good_ones_first(run: Run, faulty: bool) -> float:
    """All good ones come before all bad ones, and shuffle=False."""
    data = sentences()
    order = np.argsort(data.y[:, 0], kind="stable")
    data = data._replace(x=data.x[order], y=data.y[order])
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"), layers.Embedding(100, 16), layers.GlobalAveragePooling1D(),
        layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4, shuffle=not faulty)
    return run.right_side(model, data, 0.5)


@fault("keras", "unscaled_inputs", "frozen")
def question_sentences_without_an_embedding(run: Run, faulty: bool) -> float:
    """The numbers of words go into Dense layers as they are, in place of an Embedding."""
    data = sentences()
    if faulty:
        data = data._replace(x=data.x.astype(np.float32), test_x=data.test_x.astype(np.float32))
        first: list[Any] = [layers.Input((12,))]
    else:
        first = [layers.Input((12,), dtype="int32"), layers.Embedding(100, 16), layers.Flatten()]
    model = keras.Sequential([*first, layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right_side(model, data, 0.5)


@fault("keras", "double_sigmoid", worse=None)
def question_sentences_sigmoid_from_logits(run: Run, faulty: bool) -> float:
    """A sigmoid under BinaryCrossentropy(from_logits=True)."""
    data = sentences()
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"), layers.Embedding(100, 16), layers.GlobalAveragePooling1D(),
        layers.Dense(1, activation="sigmoid" if faulty else None),
    ])  # fmt: skip
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    fit(run, model, data, epochs=15)
    return run.right_side(model, data, 0.5 if faulty else 0.0)


@look_alike("keras", good=0.7)
def question_wave_small_lstm(run: Run) -> float:
    """LSTM(4), ten rows a batch, as tutorials on passengers have it."""
    data = wave(steps=6)
    model = keras.Sequential([layers.Input((6, 1)), layers.LSTM(4), layers.Dense(1)])
    model.compile("adam", "mean_squared_error")
    fit(run, model, data, size=10, epochs=10)
    return run.near(model, data)
