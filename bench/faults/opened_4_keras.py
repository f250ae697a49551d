"""Keras, opened (held out until 2026-12-01)."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bench.faults.case import fault
from bench.faults.data import as_column, for_keras
from bench.faults.opened_4_data import (
    arrows,
    calls,
    coins,
    guests,
    harvest,
    jingles,
    ledgers,
    ponds,
    pulse,
    sayings,
    sensors,
    strolls,
)
from bench.faults.run import Data, Run


def fit(run: Run, model: Any, data: Data, *, size: int = 32, epochs: int = 4, **rest: Any) -> None:
    """model.fit as everybody calls it, with fastact's callback."""
    more = rest.pop("callbacks", [])
    model.fit(data.x, data.y, batch_size=size, epochs=epochs, verbose=0, callbacks=[*run.callbacks, *more], **rest)


def two(inputs: int, *last: Any, width: int = 32, act: str = "relu", **options: Any) -> Any:
    """Two hidden layers, and what comes last."""
    hidden = (layers.Dense(width, activation=act, **options) for _ in range(2))
    return keras.Sequential([layers.Input((inputs,)), *hidden, *last])


@fault("keras", "double_softmax", worse=0.1)
def keras_sensors_softmax_and_from_logits(run: Run, faulty: bool) -> float:
    """Dense(4, activation="softmax") under SparseCategoricalCrossentropy(from_logits=True)."""
    # Keras issues and pages: a warning of from_logits, and a loss that stays above 0.74.
    data = for_keras(sensors())
    model = two(12, layers.Dense(4, activation="softmax" if faulty else None))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    fit(run, model, data, epochs=3)
    return run.right(model, data)


@fault("keras", "softmax_over_one_unit", worse=0.3, good=0.35)
def keras_ledgers_one_softmax(run: Run, faulty: bool) -> float:
    """Dense(1, activation="softmax") under mse: all accounts are swindles."""
    # Pages on a model that predicts one class: the first cause that they name.
    data = for_keras(as_column(ledgers()))
    model = two(10, layers.Dense(1, activation="softmax" if faulty else "sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), "mse", metrics=["accuracy"])
    fit(run, model, data, epochs=2)
    return run.right_side(model, data, 0.5)


@fault("keras", "bounded_output", worse=0.2)
def keras_calls_by_sigmoid(run: Run, faulty: bool) -> float:
    """Up to thirty calls are asked of a sigmoid: one call for each hour."""
    # Questions on regressions that never say more than one.
    data = for_keras(calls())
    model = two(4, layers.Dense(1, activation="sigmoid" if faulty else "softplus"))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "relu_on_output", "wrong_output_activation", worse=0.15)
def keras_ponds_relu_as_probabilities(run: Run, faulty: bool) -> float:
    """Dense(3, activation="relu") under sparse_categorical_crossentropy, which wants probabilities."""
    # Questions: a multi-class loss that is NaN or does not move; "relu" was copied from the layer before.
    data = for_keras(ponds())
    model = two(5, layers.Dense(3, activation="relu" if faulty else "softmax"))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right(model, data)


@fault("keras", "rate_too_large", worse=0.2)
def keras_strolls_adam_of_one(run: Run, faulty: bool) -> float:
    """Adam(learning_rate=1.0) for a convolution over time."""
    # Pages on a loss that jumps.
    data = for_keras(strolls())
    model = keras.Sequential([
        layers.Input((24, 3)), layers.Conv1D(12, 5, activation="relu"), layers.Conv1D(12, 5, activation="relu"),
        layers.GlobalMaxPooling1D(), layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(1.0 if faulty else 0.01), "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "rate_too_small", worse=0.3)
def keras_harvest_sgd_of_a_ten_millionth(run: Run, faulty: bool) -> float:
    """SGD(1e-7): it had been lowered until the loss was NaN no more, on data that were not yet scaled."""
    # Pages on accuracy that does not change.
    data = for_keras(harvest())
    model = two(6, layers.Dense(1), width=48)
    model.compile(keras.optimizers.SGD(1e-7 if faulty else 0.1, momentum=0.8), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "rate_zero", "rate_too_small", since=20, worse=0.2)
def keras_guests_plateau_of_an_impossible_step(run: Run, faulty: bool) -> float:
    """ReduceLROnPlateau(factor=0.01, patience=1, min_delta=10): no epoch is ever good enough."""
    # Keras issues: a rate of 1e-12 after some epochs.
    data = for_keras(guests())
    one, other = layers.Input((1,), dtype="int32"), layers.Input((1,), dtype="int32")
    codes = [layers.Flatten()(layers.Embedding(size, 6)(part)) for size, part in ((40, one), (25, other))]
    h = layers.Dense(32, activation="relu")(layers.Concatenate()([*codes, layers.Multiply()(codes)]))
    model = keras.Model([one, other], layers.Dense(1)(h))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    plateau = keras.callbacks.ReduceLROnPlateau("loss", 0.01, patience=1, min_delta=10.0 if faulty else 1e-3)
    x, test_x = ([part[:, :1], part[:, 1:]] for part in (data.x, data.test_x))
    fit(run, model, data._replace(x=x), size=128, epochs=14, callbacks=[plateau])
    return run.near(model, data._replace(test_x=test_x))


@fault("keras", "frozen", worse=0.15)
def keras_sensors_trainable_false_before_compile(run: Run, faulty: bool) -> float:
    """base.trainable = False stays in the script when the base is made anew, with a narrow bottleneck."""
    # Pages on transfer learning: an accuracy that hardly rises.
    data = for_keras(sensors())
    base = keras.Sequential([layers.Input((12,)), layers.Dense(6, activation="tanh"), layers.Dense(3)], name="base")
    base.trainable = not faulty
    model = keras.Sequential([layers.Input((12,)), base, layers.Dense(4, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "zero_initialisation", worse=0.2)
def keras_strolls_all_ones(run: Run, faulty: bool) -> float:
    """kernel_initializer="ones" in each layer, by tanh."""
    # Questions on initialisers: all units answer alike.
    data = for_keras(strolls())
    init = "ones" if faulty else "glorot_uniform"
    model = keras.Sequential([layers.Input((24, 3)), layers.Flatten()])
    for units, act in ((32, "tanh"), (16, "tanh"), (4, "softmax")):
        model.add(layers.Dense(units, activation=act, kernel_initializer=init))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "vanishing_depth", worse=0.2)
def keras_pulse_sigmoid_rnn(run: Run, faulty: bool) -> float:
    """Three SimpleRNN(activation="sigmoid"), one upon the other, over thirty readings."""
    # Questions: a recurrent network that says the mean for each series.
    data = for_keras(pulse())
    if faulty:
        kind: Any = lambda more: layers.SimpleRNN(16, activation="sigmoid", return_sequences=more)  # noqa: E731
    else:
        kind = lambda more: layers.GRU(16, return_sequences=more)  # noqa: E731
    model = keras.Sequential([layers.Input((30, 1)), kind(True), kind(True), kind(False), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, size=64, epochs=5)
    return run.near(model, data)


@fault("keras", "unscaled_inputs", "rate_too_large", worse=0.2)
def keras_arrows_from_0_to_255(run: Run, faulty: bool) -> float:
    """Pixels from 0 to 255 into Flatten and Dense, under SGD(0.05)."""
    # Pages on constant accuracy: normalise the images.
    data = for_keras(arrows())
    if faulty:
        data = data._replace(x=np.round(255 * data.x), test_x=np.round(255 * data.test_x))
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Flatten(), layers.Dense(48, activation="relu"),
        layers.Dense(24, activation="relu"), layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.05, momentum=0.8), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right(model, data)


@fault("keras", "missing_values")
def keras_harvest_no_rain_was_measured(run: Run, faulty: bool) -> float:
    """Rain is NaN for one field in forty."""
    # Pages on a loss that is NaN: look into the table.
    data = for_keras(harvest())
    x = data.x.copy()
    x[np.random.default_rng(2).random(len(x)) < 0.025, 0] = np.nan if faulty else 0
    model = two(6, layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data._replace(x=x), epochs=3)
    return run.near(model, data)


@fault("keras", "shuffled_labels", worse=0.3)
def keras_coins_generator_shuffles_images(run: Run, faulty: bool) -> float:
    """A generator of images with shuffle=True, and labels in the order of the table."""
    # Keras issues and forums: flow_from_directory, shuffle, and labels of one's own.
    data = for_keras(coins())
    order = np.random.default_rng(3).permutation(len(data.x))
    x = data.x[order] if faulty else data.x
    model = keras.Sequential([
        layers.Input((14, 14, 1)), layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.Conv2D(8, 3, strides=2, activation="relu"), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.003), "mse")
    fit(run, model, data._replace(x=x), epochs=5)
    return run.near(model, data)


@fault("keras", "unbalanced_labels", good=0.35, worse=0.25)
def keras_ledgers_one_in_a_hundred(run: Run, faulty: bool) -> float:
    """One account in a hundred is a swindle, and nothing weighs it."""
    # Pages: 0.98 of accuracy, and always the same answer.
    wanted = for_keras(as_column(ledgers()))
    data = for_keras(as_column(ledgers(0.01))) if faulty else wanted
    model = two(10, layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=2)
    return run.right_side(model, wanted, 0.5)


@fault("keras", "target_scale", worse=0.3)
def keras_harvest_in_kilos(run: Run, faulty: bool) -> float:
    """320,000 kilos to a field under mse and "adam": the loss is 1e11 and falls by hardly anything."""
    # Data science pages: a regression whose loss is enormous.
    data = for_keras(harvest("kilos") if faulty else harvest())
    model = two(6, layers.Dense(1), width=48)
    model.compile(keras.optimizers.Adam(0.001 if faulty else 0.005), "mse")
    fit(run, model, data, epochs=5)
    return run.near(model, data)


@fault("keras", "dropout", worse=0.15)
def keras_sayings_dropout_of_all_but_a_twentieth(run: Run, faulty: bool) -> float:
    """Dropout(0.95) after the embedding and after each layer."""
    # Questions: a training loss that stays where it began.
    data = for_keras(sayings())
    share = 0.95 if faulty else 0.1
    model = keras.Sequential([
        layers.Input((14,), dtype="int32"), layers.Embedding(40, 16), layers.Dropout(share), layers.Flatten(),
        layers.Dense(24, activation="relu"), layers.Dropout(share), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "wrong_sign", "wrong_loss", worse=0.3)
def keras_harvest_likeness_as_a_loss(run: Run, faulty: bool) -> float:
    """A loss by hand gives how like the answers are, which is largest for right ones."""
    # Questions on losses by hand: the sign.
    data = for_keras(harvest())

    def likeness(wanted: Any, said: Any) -> Any:
        like = ops.mean(ops.exp(-ops.square(wanted - said)))
        return like if faulty else -like

    model = two(6, layers.Dense(1), width=48)
    model.compile(keras.optimizers.Adam(0.005), likeness)
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "detached", "non_differentiable", worse=0.1)
def keras_jingles_codes_are_stopped(run: Run, faulty: bool) -> float:
    """ops.stop_gradient around the embedding, which was meant for a target alone."""
    # Issues on models with a slow copy: gradients that are None, and a warning of variables without any.
    data = for_keras(jingles())

    class Stop(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return ops.stop_gradient(x) if faulty else x

    model = keras.Sequential([
        layers.Input((16,), dtype="int32"), layers.Embedding(12, 2), layers.Dense(2), Stop(),
        layers.Dense(12, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right(model, data)


@fault("keras", "clipped", "rate_too_small", worse=0.3)
def keras_ponds_values_clipped_away(run: Run, faulty: bool) -> float:
    """SGD(0.1, clipvalue=1e-6)."""
    # Pages on exploding gradients, whose cure was overdone.
    data = for_keras(ponds())
    model = two(5, layers.Dense(3, activation="softmax"), act="tanh")
    model.compile(
        keras.optimizers.SGD(0.3, momentum=0.8, clipvalue=1e-6 if faulty else 1.0), "sparse_categorical_crossentropy"
    )
    fit(run, model, data, epochs=5)
    return run.right(model, data)


@fault("keras", "no_nonlinearity", worse=0.2)
def keras_ponds_dense_without_activations(run: Run, faulty: bool) -> float:
    """Dense(48) three times, whose activation is none by default."""
    # Questions: a deep network that draws one straight line.
    data = for_keras(ponds())
    model = two(5, layers.Dense(3, activation="softmax"), width=48, act="linear" if faulty else "relu")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right(model, data)
