"""Keras, opened: outputs, losses, rates, frozen layers, depth, inputs, targets. Held out until 2026-11-30."""

import keras
import numpy as np
from keras import layers

from bench.faults.case import fault
from bench.faults.run import Data, Run, arrays, numbers


def forecaster(last: str = "linear") -> keras.Model:
    """A GRU over single numbers, by the functional API."""
    inputs = keras.Input((16, 1))
    x = layers.GRU(12)(inputs)
    return keras.Model(inputs, layers.Dense(1, activation=last)(x))


def convolutions(act: str | None, units: int, last: str | None) -> keras.Sequential:
    """Two convolutions, an average and a head, for patches of photographs."""
    return keras.Sequential([
        layers.Input((12, 12, 3)),
        layers.Conv2D(8, 3, strides=2, activation=act),
        layers.Conv2D(16, 3, strides=2, activation=act),
        layers.GlobalAveragePooling2D(),
        layers.Dense(units, activation=last),
    ])  # fmt: skip


@fault("keras", "softmax_over_one_unit", good=0.3)
def keras_patch_softmax_over_one_unit(run: Run, faulty: bool) -> float:
    """A CNN ends in Dense(1, activation="softmax"), under binary_crossentropy."""
    data = numbers(arrays("patches"))
    model = convolutions("elu", 1, "softmax" if faulty else "sigmoid")
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    model.fit(data.x, data.y, batch_size=32, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "softmax_over_one_unit", "bounded_output")
def keras_membrane_softmax_in_a_regression(run: Run, faulty: bool) -> float:
    """A forecast of a number ends in a softmax over one unit."""
    data = arrays("membrane")
    model = forecaster("softmax" if faulty else "linear")
    model.compile(keras.optimizers.Adam(0.02), "mae")
    model.fit(data.x, data.y, batch_size=64, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "double_softmax", worse=None)
def keras_iris_softmax_layer_and_from_logits(run: Run, faulty: bool) -> float:
    """A Softmax layer, one-hot labels, and CategoricalCrossentropy(from_logits=True)."""
    data = arrays("iris")
    data = data._replace(y=keras.utils.to_categorical(data.y, 3))
    inputs = keras.Input((4,))
    outputs = layers.Softmax()(layers.Dense(3)(layers.Dense(16, activation="selu")(inputs)))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.02), keras.losses.CategoricalCrossentropy(from_logits=faulty))
    model.fit(data.x, data.y, batch_size=16, epochs=8, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation")
def keras_wine_without_softmax(run: Run, faulty: bool) -> float:
    """Dense(3) and categorical_crossentropy."""
    data = arrays("wine")
    data = data._replace(y=keras.utils.to_categorical(data.y, 3))
    model = keras.Sequential([layers.Input((13,)), layers.Dense(16, activation="selu"), layers.Dense(3)])
    if not faulty:
        model.add(layers.Softmax())
    model.compile(keras.optimizers.Adam(0.02), "categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=16, epochs=6, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "relu_on_output", "wrong_output_activation", worse=None)
def keras_wine_relu_under_from_logits(run: Run, faulty: bool) -> float:
    """A ReLU on the scores, under SparseCategoricalCrossentropy(from_logits=True)."""
    data = arrays("wine")
    model = keras.Sequential([
        layers.Input((13,)),
        layers.Dense(16, activation="selu"),
        layers.Dense(3, activation="relu" if faulty else None),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data.x, data.y, batch_size=16, epochs=6, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "bounded_output")
def keras_shares_sigmoid_on_output(run: Run, faulty: bool) -> float:
    """Changes of prices by a sigmoid, under log_cosh."""
    data = arrays("shares")
    model = keras.Sequential([
        layers.Input((12,)),
        layers.Dense(32, activation="silu"),
        layers.Dense(1, activation="sigmoid" if faulty else None),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "log_cosh")
    model.fit(data.x, data.y, batch_size=48, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "wrong_loss", "target_scale")
def keras_shares_percentage_error_around_zero(run: Run, faulty: bool) -> float:
    """mean_absolute_percentage_error of changes around zero: what is near zero counts a million times."""
    data = arrays("shares")
    model = keras.Sequential([layers.Input((12,)), layers.Dense(32, activation="silu"), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.02), "mean_absolute_percentage_error" if faulty else "mse")
    model.fit(data.x, data.y, batch_size=48, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "no_nonlinearity", good=0.35)
def keras_fault_line_dense_without_activation(run: Run, faulty: bool) -> float:
    """Dense layers in a row and no activation at all."""
    data = arrays("fault_line")
    data = Data(*(np.ascontiguousarray(part[:, :2]) if part.shape[1] == 14 else part for part in data))
    act = None if faulty else "tanh"
    inputs = keras.Input((2,))
    x = inputs
    for _ in range(3):
        x = layers.Dense(48, activation=act)(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    model.fit(data.x, data.y, batch_size=200, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "rate_zero", "rate_too_small", since=6, good=0.3)
def keras_patch_decay_each_step(run: Run, faulty: bool) -> float:
    """ExponentialDecay with decay_steps=1, where epochs were meant."""
    data = arrays("patches")
    model = convolutions("elu", 2, "softmax")
    schedule = keras.optimizers.schedules.ExponentialDecay(0.02, 1 if faulty else 1000, 0.1)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=32, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "rate_too_large")
def keras_membrane_rate_too_large(run: Run, faulty: bool) -> float:
    """RMSprop(1.0) for a GRU."""
    data = arrays("membrane")
    model = forecaster()
    model.compile(keras.optimizers.RMSprop(1.0 if faulty else 0.01), "mse")
    model.fit(data.x, data.y, batch_size=64, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "rate_too_small")
def keras_wine_rate_too_small(run: Run, faulty: bool) -> float:
    """SGD(1e-6)."""
    data = arrays("wine")
    model = keras.Sequential([
        layers.Input((13,)), layers.Dense(16, activation="selu"), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(1e-6 if faulty else 0.1), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=16, epochs=5, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "frozen", "detached")
def keras_mail_embedding_frozen(run: Run, faulty: bool) -> float:
    """Embedding(trainable=False) without pretrained vectors."""
    data = numbers(arrays("words"))
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"),
        layers.Embedding(1501, 8, trainable=not faulty),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    model.fit(data.x, data.y, batch_size=32, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "detached", "frozen", worse=None)
def keras_membrane_stop_gradient(run: Run, faulty: bool) -> float:
    """stop_gradient after the recurrent layer, which is narrow."""
    data = arrays("membrane")
    inputs = keras.Input((16, 1))
    x = layers.SimpleRNN(3)(inputs)
    if faulty:
        x = layers.Lambda(keras.ops.stop_gradient)(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.03), "mse")
    model.fit(data.x, data.y, batch_size=64, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "unscaled_inputs", "unequal_features")
def keras_wine_raw(run: Run, faulty: bool) -> float:
    """The table as it is loaded, with one feature up to 1,680."""
    data = arrays("wine_raw" if faulty else "wine")
    model = keras.Sequential([
        layers.Input((13,)), layers.Dense(16, activation="tanh"), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=16, epochs=6, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "target_scale", "rate_too_small")
def keras_fault_line_in_metres(run: Run, faulty: bool) -> float:
    """Heights in metres under mae."""
    data = arrays("fault_line_raw" if faulty else "fault_line")
    model = keras.Sequential([layers.Input((14,)), layers.Dense(64, activation="gelu"), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.02), "mae")
    model.fit(data.x, data.y, batch_size=250, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "zero_initialisation", conditions="constant", good=0.3)
def keras_patch_ones(run: Run, faulty: bool) -> float:
    """kernel_initializer="ones" throughout: all units are alike, and large."""
    data = arrays("patches")
    init = "ones" if faulty else "he_uniform"
    model = keras.Sequential([
        layers.Input((12, 12, 3)),
        layers.Conv2D(8, 3, strides=2, activation="tanh", kernel_initializer=init),
        layers.Conv2D(16, 3, strides=2, activation="tanh", kernel_initializer=init),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, activation="softmax", kernel_initializer=init),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=32, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)
