"""Questions on Keras: truth tables, curves and clouds."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bench.faults.case import fault
from bench.faults.questions_data import blobs, circles, moons, same, sums, thresholds, xor
from bench.faults.run import Data, Run


def fit(run: Run, model: Any, data: Data, *, size: int = 32, epochs: int = 20, **rest: Any) -> None:
    """model.fit as everybody calls it, with fastact's callback."""
    more = rest.pop("callbacks", [])
    model.fit(data.x, data.y, batch_size=size, epochs=epochs, verbose=0, callbacks=[*run.callbacks, *more], **rest)


def dense(inputs: int, *units: int, act: Any = "relu", last: Any = None, **options: Any) -> Any:
    """Dense layers; the last of them with an activation of its own."""
    model = keras.Sequential([layers.Input((inputs,))])
    for count in units[:-1]:
        model.add(layers.Dense(count, activation=act, **options))
    model.add(layers.Dense(units[-1], activation=last, **options))
    return model


@fault("keras", "softmax_over_one_unit")
def question_xor_softmax_of_one(run: Run, faulty: bool) -> float:
    """Dense(1, activation="softmax") for the table of xor, four rows and 400 epochs."""
    data = xor()
    model = dense(2, 8, 1, act="tanh", last="softmax" if faulty else "sigmoid")
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=4, epochs=400)
    return run.right_side(model, data, 0.5)


@fault("keras", "rate_too_small")
def question_xor_sgd_of_a_thousandth(run: Run, faulty: bool) -> float:
    """SGD(lr=0.001) for xor, one row a batch: the loss stays at 0.25."""
    data = xor()
    model = dense(2, 16, 1, act="tanh", last="sigmoid")
    model.compile(keras.optimizers.SGD(0.001 if faulty else 0.5), "mse")
    fit(run, model, data, size=1, epochs=250)
    return run.right_side(model, data, 0.5)


@fault("keras", "relu_on_output", "wrong_output_activation", "dead_units")
def question_xor_relu_at_the_end(run: Run, faulty: bool) -> float:
    """Dense(1, activation="relu") under mse for xor: it says zero for good."""
    data = xor(50)
    keras.utils.set_random_seed(3)
    model = dense(2, 8, 1, last="relu" if faulty else "sigmoid")
    if faulty:  # as every other seed has it
        model.layers[-1].kernel.assign(-ops.abs(model.layers[-1].kernel))
    model.compile(keras.optimizers.SGD(0.5), "mse", metrics=["accuracy"])
    fit(run, model, data, epochs=80)
    return run.right_side(model, data, 0.5)


@fault("keras", "no_nonlinearity")
def question_xor_without_activations(run: Run, faulty: bool) -> float:
    """Dense(8) and Dense(1, activation="sigmoid"): no activation between."""
    data = xor(20)
    model = dense(2, 8, 8, 1, act=None if faulty else "tanh", last="sigmoid")
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=8, epochs=60)
    return run.right_side(model, data, 0.5)


@fault("keras", "relu_on_output", "wrong_output_activation", "unscaled_inputs", "logits_into_probability_loss")
def question_threshold_relu_at_the_end(run: Run, faulty: bool) -> float:
    """Is a number above 50,000? Dense(3), Dense(5) and Dense(1), all with relu, under binary_crossentropy."""
    data = thresholds()
    if not faulty:
        data = data._replace(x=data.x / 1e5, test_x=data.test_x / 1e5)
    model = dense(1, 3, 5, 1, act="relu" if faulty else "tanh", last="relu" if faulty else "sigmoid")
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=20, epochs=10)
    return run.right_side(model, data, 0.5)


@fault("keras", "unscaled_inputs")
def question_threshold_not_scaled(run: Run, faulty: bool) -> float:
    """The same with a sigmoid at the end, and numbers up to 100,000 as they are."""
    data = thresholds()
    if not faulty:
        data = data._replace(x=data.x / 1e5, test_x=data.test_x / 1e5)
    model = dense(1, 8, 1, act="sigmoid", last="sigmoid")
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=20, epochs=15)
    return run.right_side(model, data, 0.5)


@fault("keras", "relu_on_output", "wrong_output_activation", "dead_units")
def question_line_relu_at_the_end(run: Run, faulty: bool) -> float:
    """y = 2x - 1 from seven points by relu, relu and relu: the loss stays the same in most runs."""
    x = np.arange(-1, 6, dtype=np.float32)[:, None]
    data = same(x, 2 * x - 1)
    keras.utils.set_random_seed(5)
    model = dense(1, 4, 2, 1, last="relu" if faulty else None)
    if faulty:
        model.layers[-1].kernel.assign(-ops.abs(model.layers[-1].kernel))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError())
    fit(run, model, data, epochs=500)
    return run.near(model, data)


@fault("keras", "bounded_output", "unscaled_inputs")
def question_sine_by_sigmoid(run: Run, faulty: bool) -> float:
    """The sine by a sigmoid at the end, which never is below zero."""
    x = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
    data = same(x, np.sin(x))
    model = dense(1, 20, 1, act="tanh", last="sigmoid" if faulty else None)
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["accuracy"])
    fit(run, model, data, size=10, epochs=40)
    return run.near(model, data)


@fault("keras", "unscaled_inputs", worse=0.1)
def question_sine_of_a_hundred(run: Run, faulty: bool) -> float:
    """x = np.arange(300) into a sigmoid layer, y = np.sin(x / 20)."""
    x = np.arange(300, dtype=np.float32)[:, None]
    data = same(x if faulty else (x - 150) / 50, np.sin(x / 40))
    model = dense(1, 40, 40, 1, act="sigmoid" if faulty else "tanh")
    model.compile(keras.optimizers.SGD(0.01 if faulty else 0.05), "mse")
    fit(run, model, data, size=10, epochs=40)
    return run.near(model, data)


@fault("keras", "target_scale", "unscaled_inputs", "rate_too_small", worse=0.3)
def question_fourth_power(run: Run, faulty: bool) -> float:
    """y = x ** 4 for x from -100 to 100, by sigmoid and elu: the loss is 1e15."""
    x = np.linspace(-100, 100, 400, dtype=np.float32)[:, None]
    data = same(x, x**4) if faulty else same(x / 100, (x / 100) ** 4)
    model = dense(1, 50, 50, 1, act="elu")
    model.compile(keras.optimizers.Adam(), "mse")
    fit(run, model, data, epochs=60)
    return run.near(model, data)


@fault("keras", "rate_too_large", "unscaled_inputs", "target_scale")
def question_sum_by_sgd(run: Run, faulty: bool) -> float:
    """The sum of two numbers up to 100 by SGD(lr=0.01): the loss is NaN after some batches."""
    data = sums()
    model = dense(2, 10, 1)
    model.compile(keras.optimizers.SGD(0.01) if faulty else keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=20)
    return run.near(model, data)


@fault("keras", "target_scale", "unscaled_inputs", "rate_too_small")
def question_product_of_two(run: Run, faulty: bool) -> float:
    """The product of two numbers up to 1,000, by RMSprop(0.001)."""
    x = np.random.default_rng(6).integers(0, 1000, (800, 2)).astype(np.float32)
    y = x.prod(1, keepdims=True)
    data = same(x, y) if faulty else same(x / 1000, y / 1e6)
    model = dense(2, 64, 64, 1)
    model.compile(keras.optimizers.RMSprop(0.001), keras.losses.MeanSquaredError())
    fit(run, model, data, epochs=20)
    return run.near(model, data)


@fault("keras", "rate_too_large", "target_scale")
def question_parabola_diverges(run: Run, faulty: bool) -> float:
    """y = x ** 2 + 3 for x up to 100, standardised inputs alone, under "sgd": NaN."""
    x = np.arange(100, dtype=np.float32)[:, None]
    y, scaled = x**2 + 3, (x - x.mean()) / x.std()
    data = same(scaled, y if faulty else (y - y.mean()) / y.std())
    model = dense(1, 16, 1)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    fit(run, model, data, epochs=100)
    return run.near(model, data)


@fault("keras", "no_nonlinearity")
def question_circles_without_activations(run: Run, faulty: bool) -> float:
    """A disk within a ring by four Dense layers, of which the last has an activation."""
    data = circles()
    model = dense(2, 16, 16, 16, 1, act=None if faulty else "relu", last="sigmoid")
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=16, epochs=25)
    return run.right_side(model, data, 0.5)


@fault("keras", "zero_initialisation")
def question_moons_zeros(run: Run, faulty: bool) -> float:
    """kernel_initializer="zeros" in each layer."""
    data = moons()
    model = dense(2, 16, 16, 1, last="sigmoid", kernel_initializer="zeros" if faulty else "glorot_uniform")
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=25, validation_data=(data.test_x, data.test_y))
    return run.right_side(model, data, 0.5)


@fault("keras", "initialisation_too_large")
def question_moons_normal_of_ten(run: Run, faulty: bool) -> float:
    """RandomNormal(stddev=20) in each layer, with tanh."""
    data = moons()
    start = keras.initializers.RandomNormal(stddev=20.0) if faulty else "glorot_uniform"
    model = dense(2, 32, 32, 32, 1, act="tanh", last="sigmoid", kernel_initializer=start)
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=15)
    return run.right_side(model, data, 0.5)


@fault("keras", "rate_too_large")
def question_moons_rate_of_ten(run: Run, faulty: bool) -> float:
    """SGD(learning_rate=10, momentum=0.9)."""
    data = moons()
    model = dense(2, 16, 16, 1, last="sigmoid")
    optimizer = keras.optimizers.SGD(10.0 if faulty else 0.1, momentum=0.9)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=20)
    return run.right_side(model, data, 0.5)


@fault("keras", "vanishing_depth")
def question_moons_ten_sigmoids(run: Run, faulty: bool) -> float:
    """Ten hidden layers with sigmoid under SGD(0.1)."""
    data = moons()
    model = dense(2, *[16] * 10, 1, act="sigmoid" if faulty else "tanh", last="sigmoid")
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=30)
    return run.right_side(model, data, 0.5)


@fault("keras", "dropout")
def question_moons_dropout_of_nearly_all(run: Run, faulty: bool) -> float:
    """Dropout(0.95), where keep_prob=0.95 was meant."""
    data = moons()
    share = 0.95 if faulty else 0.05
    model = keras.Sequential([
        layers.Input((2,)), layers.Dense(16, activation="relu"), layers.Dropout(share),
        layers.Dense(16, activation="relu"), layers.Dropout(share), layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=25)
    return run.right_side(model, data, 0.5)


@fault("keras", "weight_decay")
def question_blobs_l2_of_ten(run: Run, faulty: bool) -> float:
    """kernel_regularizer=l2(10) in each layer."""
    data = blobs()
    model = dense(
        10, 32, 32, 1, last="sigmoid", kernel_regularizer=keras.regularizers.L2(10.0 if faulty else 1e-4)
    )  # fmt: skip
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=15)
    return run.right_side(model, data, 0.5)


@fault("keras", "non_differentiable", "detached")
def question_blobs_loss_of_hits(run: Run, faulty: bool) -> float:
    """A loss by hand counts the wrong answers, by round: nothing can be derived from it."""
    data = blobs()

    def wrong_answers(y_true: Any, y_pred: Any) -> Any:
        said = ops.round(y_pred) if faulty else y_pred
        return ops.mean(ops.abs(said - y_true))

    model = dense(10, 16, 1, last="sigmoid")
    model.compile(keras.optimizers.Adam(0.01), wrong_answers, metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right_side(model, data, 0.5)


@fault("keras", "frozen")
def question_blobs_frozen_layers(run: Run, faulty: bool) -> float:
    """for layer in model.layers: layer.trainable = False, and compile after it."""
    data = blobs()
    model = dense(10, 16, 16, 1, last="sigmoid")
    for layer in model.layers:
        layer.trainable = not faulty
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right_side(model, data, 0.5)


@fault("keras", "wrong_output_activation", "bounded_output", "logits_into_probability_loss", worse=0.1)
def question_blobs_no_sigmoid(run: Run, faulty: bool) -> float:
    """Dense(1) without an activation under loss="binary_crossentropy"."""
    data = blobs()
    model = dense(10, 16, 1, last=None if faulty else "sigmoid")
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right_side(model, data, 0.5)
