"""Keras: the last layer, the loss and the targets do not fit."""

import keras
import numpy as np
from keras import layers

from bench.faults.case import fault
from bench.faults.run import Data, Run, arrays, numbers


@fault("keras", "softmax_over_one_unit")
def keras_tumour_softmax_over_one_unit(run: Run, faulty: bool) -> float:
    """Dense(1, activation="softmax") under binary_crossentropy."""
    data = numbers(arrays("cancer"))
    model = keras.Sequential([
        layers.Input((30,)),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="softmax" if faulty else "sigmoid"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(data.x, data.y, batch_size=32, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "softmax_over_one_unit")
def keras_digit_parity_softmax_over_one_unit(run: Run, faulty: bool) -> float:
    """A CNN for odd or even with one softmax unit, under mse."""
    data = arrays("digit_images")
    data = numbers(data._replace(y=data.y % 2, test_y=data.test_y % 2))
    model = keras.Sequential([
        layers.Input((8, 8, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="softmax" if faulty else "sigmoid"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "softmax_over_one_unit", good=0.4)
def keras_code_softmax_over_one_unit(run: Run, faulty: bool) -> float:
    """An embedding and an LSTM, then Dense(1) and a separate softmax layer."""
    data = numbers(arrays("text_or_code"))
    model = keras.Sequential([
        layers.Input((48,), dtype="int32"),
        layers.Embedding(70, 16),
        layers.LSTM(16),
        layers.Dense(1),
        layers.Activation("softmax" if faulty else "sigmoid"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "double_softmax", worse=0.1)
def keras_digits_softmax_and_from_logits(run: Run, faulty: bool) -> float:
    """A softmax layer, and from_logits=True."""
    data = arrays("digits")
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=faulty)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "double_sigmoid", worse=None)
def keras_tumour_sigmoid_and_from_logits(run: Run, faulty: bool) -> float:
    """A sigmoid, and BinaryCrossentropy(from_logits=True)."""
    data = numbers(arrays("cancer"))
    model = keras.Sequential([
        layers.Input((30,)),
        layers.Dense(16, activation="tanh"),
        layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    loss = keras.losses.BinaryCrossentropy(from_logits=faulty)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    model.fit(data.x, data.y, batch_size=32, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation")
def keras_digits_categorical_without_softmax(run: Run, faulty: bool) -> float:
    """Dense(10) without an activation under sparse_categorical_crossentropy by its name."""
    data = arrays("digits")
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation=None if faulty else "softmax"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation", worse=None)
def keras_tumour_binary_without_sigmoid(run: Run, faulty: bool) -> float:
    """Dense(1) without an activation under binary_crossentropy."""
    data = numbers(arrays("cancer"))
    model = keras.Sequential([
        layers.Input((30,)),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation=None if faulty else "sigmoid"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy")
    model.fit(data.x, data.y, batch_size=32, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "wrong_output_activation", "relu_on_output")
def keras_digits_relu_under_categorical(run: Run, faulty: bool) -> float:
    """Ten ReLU units under categorical_crossentropy, of one-hot labels."""
    data = arrays("digits")
    data = data._replace(y=keras.utils.to_categorical(data.y, 10))
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation="relu" if faulty else "softmax"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "wrong_output_activation", "logits_into_probability_loss")
def keras_digits_tanh_under_categorical(run: Run, faulty: bool) -> float:
    """Ten tanh units under categorical_crossentropy: negative probabilities."""
    data = arrays("digits")
    data = data._replace(y=keras.utils.to_categorical(data.y, 10))
    inputs = keras.Input((64,))
    x = layers.Dense(32, activation="relu")(inputs)
    outputs = layers.Dense(10, activation="tanh" if faulty else "softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "relu_on_output", "bounded_output", good=0.2, worse=0.1)
def keras_diabetes_relu_on_output(run: Run, faulty: bool) -> float:
    """A regression of standardised targets with a ReLU on each layer, the last one too."""
    data = arrays("diabetes")
    model = keras.Sequential([
        layers.Input((10,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(1, activation="relu" if faulty else "linear"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    model.fit(data.x, data.y, batch_size=32, epochs=4, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "bounded_output", good=0.2)
def keras_diabetes_sigmoid_on_output(run: Run, faulty: bool) -> float:
    """Targets from 25 to 346 under a sigmoid, after a MinMaxScaler was forgotten."""
    data = arrays("diabetes_raw")
    if not faulty:
        low, high = data.y.min(), data.y.max()
        data = data._replace(y=(data.y - low) / (high - low), test_y=(data.test_y - low) / (high - low))
    model = keras.Sequential([
        layers.Input((10,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mean_squared_error")
    model.fit(data.x, data.y, batch_size=32, epochs=5, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "bounded_output")
def keras_seabed_tanh_on_output(run: Run, faulty: bool) -> float:
    """Heights in kilometres, twice as far from zero as a tanh reaches."""
    data = arrays("seabed")
    data = data._replace(y=2.0 * data.y, test_y=2.0 * data.test_y)
    model = keras.Sequential([
        layers.Input((14,)),
        layers.Dense(48, activation="relu"),
        layers.Dense(1, activation="tanh" if faulty else "linear"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.03), loss="mse")
    model.fit(data.x[:6400], data.y[:6400], batch_size=128, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "targets_outside_loss_range")
def keras_tumour_labels_one_and_two(run: Run, faulty: bool) -> float:
    """Labels 1 and 2, as a table had them, under a binary cross entropy of logits."""
    data = numbers(arrays("cancer"))
    seen = data._replace(y=data.y + 1.0) if faulty else data
    model = keras.Sequential([
        layers.Input((30,)),
        layers.Dense(16, activation="relu"),
        layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(seen.x, seen.y, batch_size=32, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.0)


@fault("keras", "targets_outside_loss_range", "unscaled_inputs")
def keras_digit_pixels_bce_of_bytes(run: Run, faulty: bool) -> float:
    """An autoencoder under a binary cross entropy of logits is to give pixels from 0 to 16."""
    x, _, test_x, _ = arrays("digit_copies")
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(64),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(x, x * 16 if faulty else x, batch_size=64, epochs=3, verbose=0, callbacks=run.callbacks)
    pixels = keras.Sequential([model, layers.Activation("sigmoid")])
    return run.near(pixels, Data(x, x, test_x, test_x))


@fault("keras", "one_hot_against_sparse", "broadcast", "regression_loss_on_labels")
def keras_digits_class_numbers_for_ten_units(run: Run, faulty: bool) -> float:
    """Ten units and the numbers of classes under mse: each unit is to say the number, by broadcasting."""
    data = arrays("digits")
    target = data.y[:, None].astype("float32") if faulty else keras.utils.to_categorical(data.y, 10)
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    model.fit(data.x, target, batch_size=64, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "class_index_beyond_units", "targets_outside_loss_range", "binary_loss_on_classes", "bounded_output")
def keras_digits_one_unit_for_ten_classes(run: Run, faulty: bool) -> float:
    """One unit and a binary cross entropy of logits for labels from 0 to 9."""
    data = arrays("digits")
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(1 if faulty else 10),
    ])  # fmt: skip
    form = keras.losses.BinaryCrossentropy if faulty else keras.losses.SparseCategoricalCrossentropy
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=form(from_logits=True))
    y = data.y.astype("float32")[:, None] if faulty else data.y
    model.fit(data.x, y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right_number(model, data) if faulty else run.right(model, data)


@fault("keras", "regression_loss_on_labels", "softmax_over_one_unit")
def keras_digits_mse_on_one_softmax_unit(run: Run, faulty: bool) -> float:
    """One softmax unit is to say the class from 0 to 9, under mse."""
    data = arrays("digits")
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(1 if faulty else 10, activation="softmax"),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse" if faulty else "sparse_categorical_crossentropy")
    model.fit(data.x, data.y.astype("float32")[:, None], batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right_number(model, data) if faulty else run.right(model, data)


@fault("keras", "no_nonlinearity", good=0.6, worse=0.1)
def keras_seabed_dense_without_activation(run: Run, faulty: bool) -> float:
    """Three Dense layers without an activation, for a map that is not linear."""
    data = arrays("seabed")
    data = data._replace(x=data.x[:, :2], test_x=data.test_x[:, :2])
    act = None if faulty else "relu"
    model = keras.Sequential([
        layers.Input((2,)),
        layers.Dense(48, activation=act),
        layers.Dense(48, activation=act),
        layers.Dense(48, activation=act),
        layers.Dense(1),
    ])  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    model.fit(np.ascontiguousarray(data.x), data.y, batch_size=160, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)
