"""Keras: nothing learns, for rates, frozen layers, initialisation, depth, inputs or targets."""

import keras
import numpy as np
from keras import layers

from bench.faults.case import fault
from bench.faults.run import Run, arrays, numbers


def dense(*sizes: int, act: str = "relu", last: str = "softmax", **options: str) -> keras.Sequential:
    """Dense layers of one activation, and a last one of another."""
    model = keras.Sequential([layers.Input((sizes[0],))])
    for size in sizes[1:-1]:
        model.add(layers.Dense(size, activation=act, **options))
    model.add(layers.Dense(sizes[-1], activation=last, **options))
    return model


@fault("keras", "rate_too_small")
def keras_digits_rate_too_small(run: Run, faulty: bool) -> float:
    """Adam(1e-7)."""
    data = arrays("digits")
    model = dense(64, 32, 10)
    model.compile(keras.optimizers.Adam(1e-7 if faulty else 0.01), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "rate_too_large")
def keras_digits_rate_too_large(run: Run, faulty: bool) -> float:
    """Adam(1.0), as somebody read learning_rate=1."""
    data = arrays("digits")
    model = dense(64, 32, 32, 10)
    model.compile(keras.optimizers.Adam(1.0 if faulty else 0.01), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "rate_too_large", good=0.2)
def keras_diabetes_sgd_diverges(run: Run, faulty: bool) -> float:
    """SGD(1.0) on a regression."""
    data = arrays("diabetes")
    model = dense(10, 32, 1, last="linear")
    model.compile(keras.optimizers.SGD(1.0 if faulty else 0.05), "mse")
    model.fit(data.x, data.y, batch_size=32, epochs=4, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "frozen")
def keras_digits_base_frozen_and_untrained(run: Run, faulty: bool) -> float:
    """A narrow base that was never trained is frozen, as one does with a pretrained one."""
    data = arrays("digit_images")
    base = keras.Sequential([
        layers.Input((8, 8, 1)),
        layers.Conv2D(4, 3, strides=2, activation="relu"),
        layers.Conv2D(8, 3, activation="relu"),
        layers.Flatten(),
    ], name="base")  # fmt: skip
    base.trainable = not faulty
    model = keras.Sequential([layers.Input((8, 8, 1)), base, layers.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "frozen")
def keras_tumour_model_not_trainable(run: Run, faulty: bool) -> float:
    """All Dense layers are set to trainable = False; a norm in front of them is all that learns."""
    data = numbers(arrays("cancer"))
    model = keras.Sequential([layers.Input((30,)), layers.BatchNormalization(scale=False)])
    model.add(layers.Dense(16, activation="relu"))
    model.add(layers.Dense(1, activation="sigmoid"))
    if faulty:
        for layer in model.layers[1:]:
            layer.trainable = False
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    model.fit(data.x, data.y, batch_size=32, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "zero_initialisation")
def keras_digits_zeros(run: Run, faulty: bool) -> float:
    """kernel_initializer="zeros" throughout."""
    data = arrays("digits")
    model = dense(64, 32, 10, kernel_initializer="zeros" if faulty else "glorot_uniform")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "initialisation_too_large", conditions="outlier_channels")
def keras_digits_wide_normal(run: Run, faulty: bool) -> float:
    """RandomNormal(stddev=5) for a network of ReLU."""
    data = arrays("digits")
    model = keras.Sequential([layers.Input((64,))])
    for size in (64, 32):
        wide = keras.initializers.RandomNormal(stddev=5.0, seed=size)
        model.add(layers.Dense(size, activation="relu", kernel_initializer=wide if faulty else "he_normal"))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "vanishing_depth")
def keras_digits_eight_sigmoid_layers(run: Run, faulty: bool) -> float:
    """Eight Dense layers of sigmoids."""
    data = arrays("digits")
    sizes = [64] + [32] * 8 + [10] if faulty else [64, 32, 10]
    model = dense(*sizes, act="sigmoid")
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "dropout")
def keras_digits_dropout(run: Run, faulty: bool) -> float:
    """Dropout(0.95) after both hidden layers."""
    data = arrays("digits")
    rate = 0.95 if faulty else 0.05
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu"), layers.Dropout(rate),
        layers.Dense(32, activation="relu"), layers.Dropout(rate),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "weight_decay")
def keras_digits_l2_too_strong(run: Run, faulty: bool) -> float:
    """kernel_regularizer=L2(10)."""
    data = arrays("digits")
    regularizer = keras.regularizers.L2(10.0 if faulty else 1e-4)
    model = keras.Sequential([
        layers.Input((64,)),
        layers.Dense(32, activation="relu", kernel_regularizer=regularizer),
        layers.Dense(10, activation="softmax", kernel_regularizer=regularizer),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "unscaled_inputs")
def keras_digits_bytes(run: Run, faulty: bool) -> float:
    """Images from 0 to 255 into a CNN."""
    data = arrays("digit_images")
    raw = arrays("digits_raw")
    scale = 255.0 / 16.0 if faulty else 1.0 / 16.0
    x, test_x = (part.reshape(-1, 8, 8, 1) * scale for part in (raw.x, raw.test_x))
    model = keras.Sequential([
        layers.Input((8, 8, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(x, data.y, batch_size=48, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data._replace(test_x=test_x))


@fault("keras", "unequal_features", "unscaled_inputs")
def keras_tumour_raw_features(run: Run, faulty: bool) -> float:
    """The table as it is loaded, from thousandths to thousands."""
    data = numbers(arrays("cancer_raw" if faulty else "cancer"))
    model = dense(30, 16, 8, 1, last="sigmoid")
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    model.fit(data.x, data.y, batch_size=32, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)


@fault("keras", "shuffled_labels")
def keras_digits_shuffled_apart(run: Run, faulty: bool) -> float:
    """np.random.shuffle(y), and not of x."""
    data = arrays("digits")
    y = data.y.copy()
    if faulty:
        np.random.shuffle(y)  # noqa: NPY002
    model = dense(64, 32, 10)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(data.x, y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "target_scale", "rate_too_small", good=0.2)
def keras_diabetes_targets_in_hundreds(run: Run, faulty: bool) -> float:
    """Targets around 150 under mse and Adam's default rate."""
    data = arrays("diabetes_raw" if faulty else "diabetes")
    model = dense(10, 32, 32, 1, last="linear")
    model.compile(keras.optimizers.Adam(0.005), "mse")
    model.fit(data.x, data.y, batch_size=32, epochs=5, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@fault("keras", "constant_labels")
def keras_tumour_only_benign(run: Run, faulty: bool) -> float:
    """A filter has left benign cases alone."""
    data = numbers(arrays("cancer"))
    kept = data.y[:, 0] == 1 if faulty else np.ones(len(data.y), bool)
    model = dense(30, 16, 1, last="sigmoid")
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    model.fit(data.x[kept], data.y[kept], batch_size=32, epochs=4, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, data, 0.5)
