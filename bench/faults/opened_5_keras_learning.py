"""Keras, opened (held out until 2026-12-01): rates, what is left out, how weights begin, depth, and inputs."""

from typing import Any

import keras
import numpy as np
from keras import layers

from bench.faults.case import fault
from bench.faults.data import for_keras
from bench.faults.opened_5_data import dishes, ferries, hives, loaves, quilts, runes, trams
from bench.faults.opened_5_keras_outputs import fit, tower
from bench.faults.run import Run

SPARSE = "sparse_categorical_crossentropy"


@fault("keras", "rate_too_large", worse=0.2)
def keras_trams_rmsprop_at_a_half(run: Run, faulty: bool) -> float:
    """RMSprop(0.5) for a GRU."""
    # Pages on a loss that jumps from epoch to epoch: what to lower first.
    data = for_keras(trams())
    model = keras.Sequential([layers.Input((20, 3)), layers.GRU(20), layers.Dense(5, activation="softmax")])
    model.compile(keras.optimizers.RMSprop(0.5 if faulty else 0.01), SPARSE, metrics=["accuracy"])
    fit(run, model, data)
    return run.right(model, data)


@fault("keras", "rate_too_large", worse=0.3)
def keras_loaves_sgd_at_two(run: Run, faulty: bool) -> float:
    """SGD(2.0), as of a tutorial with one weight, for three layers: NaN in the first epoch."""
    # Stack Overflow: why a network for a plain regression gives NaN.
    data = for_keras(loaves())
    model = tower((6,), layers.Dense(1))
    model.compile(keras.optimizers.SGD(2.0 if faulty else 0.05), "mse")
    fit(run, model, data, epochs=5)
    return run.near(model, data)


@fault("keras", "rate_too_small", worse=0.3)
def keras_quilts_adagrad_as_it_comes(run: Run, faulty: bool) -> float:
    """Adagrad at 0.0001: a tenth of what it comes with, which is small already."""
    # Keras issues on optimisers whose usual rates are smaller than those of the papers.
    data = for_keras(quilts())
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adagrad(0.0001 if faulty else 0.05), SPARSE, metrics=["accuracy"])
    fit(run, model, data)
    return run.right(model, data)


@fault("keras", "rate_zero", "rate_too_small", since=12, worse=0.2)
def keras_dishes_boundaries_in_epochs(run: Run, faulty: bool) -> float:
    """PiecewiseConstantDecay([4, 8], ...): boundaries that were meant as epochs are counted in batches."""
    # Questions on schedules: a loss that stands still after the first seconds.
    data = for_keras(dishes())
    one, other = layers.Input((1,), dtype="int32"), layers.Input((1,), dtype="int32")
    codes = [layers.Flatten()(layers.Embedding(size, 4)(part)) for size, part in ((35, one), (22, other))]
    h = layers.Dense(24, activation="relu")(layers.Concatenate()([*codes, layers.Multiply()(codes)]))
    model = keras.Model([one, other], layers.Dense(1)(h))
    places = [4, 8] if faulty else [150, 190]
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(places, [0.01, 1e-4, 1e-9])
    model.compile(keras.optimizers.Adam(rate), "mse")
    x, test_x = ([part[:, :1], part[:, 1:]] for part in (data.x, data.test_x))
    fit(run, model, data._replace(x=x), size=64, epochs=6)
    return run.near(model, data._replace(test_x=test_x))


@fault("keras", "clipped", "rate_too_small", worse=0.3)
def keras_loaves_global_norm_of_a_millionth(run: Run, faulty: bool) -> float:
    """SGD(0.05, global_clipnorm=1e-6)."""
    # Issues on clipnorm and clipvalue: what either is counted in.
    data = for_keras(loaves())
    model = tower((6,), layers.Dense(1))
    clip = 1e-6 if faulty else 5.0
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=clip), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "weight_decay", worse=0.2)
def keras_trams_l1_of_a_half(run: Run, faulty: bool) -> float:
    """kernel_regularizer="l1" as it comes would be 0.01; regularizers.L1(0.5) leaves nothing of the weights."""
    # Pages on overfitting, whose cure was overdone: an accuracy at chance.
    data = for_keras(trams())
    penalty = keras.regularizers.L1(0.5 if faulty else 1e-6)
    hidden = [layers.Dense(n, activation="relu", kernel_regularizer=penalty) for n in (40, 24)]
    model = keras.Sequential([
        layers.Input((20, 3)), layers.Flatten(), *hidden, layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), SPARSE, metrics=["accuracy"])
    fit(run, model, data)
    return run.right(model, data)


@fault("keras", "frozen", worse=0.15, good=0.4)
def keras_runes_encoder_not_trainable(run: Run, faulty: bool) -> float:
    """Embedding(trainable=False), for vectors that were never loaded, under a small recurrent layer."""
    # Questions on pretrained vectors: a network of text that hardly learns.
    data = for_keras(runes())
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"), layers.Embedding(30, 3, trainable=not faulty),
        layers.GRU(8, trainable=not faulty), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.03), SPARSE, metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right(model, data)


@fault("keras", "set_anew", worse=0.15)
def keras_hives_weights_put_back(run: Run, faulty: bool) -> float:
    """A callback for folds puts the first weights back at the start of each epoch."""
    # Forums on cross-validation: how a model is started anew, and when.
    data = for_keras(hives())
    model = tower((7,), layers.Dense(4, activation="softmax"), units=(48, 32))
    model.compile(keras.optimizers.Adam(0.004), SPARSE, metrics=["accuracy"])
    first = model.get_weights()
    back = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: model.set_weights(first))
    fit(run, model, data, epochs=5, callbacks=[back] if faulty else [])
    return run.right(model, data)


@fault("keras", "dropout", worse=0.15)
def keras_trams_keep_prob_as_rate(run: Run, faulty: bool) -> float:
    """Dropout(0.95) where keep_prob=0.95 had been in older code, after each layer."""
    # Pages on moving from the first TensorFlow to Keras.
    data = for_keras(trams())
    share = 0.95 if faulty else 0.05
    model = keras.Sequential([
        layers.Input((20, 3)), layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dropout(share),
        layers.Dense(24, activation="relu"), layers.Dropout(share), layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), SPARSE, metrics=["accuracy"])
    fit(run, model, data)
    return run.right(model, data)


@fault("keras", "stale_statistics", "norm_in_eval", worse=0.2, since=10)
def keras_quilts_norm_of_long_memory(run: Run, faulty: bool) -> float:
    """BatchNormalization(momentum=0.9999) and a hundred batches: what is remembered is how it began."""
    # Keras issues: a good training accuracy, and a validation accuracy at chance on the same images.
    data = for_keras(quilts())
    data = data._replace(x=20 * data.x, test_x=20 * data.test_x)
    keep = 0.9999 if faulty else 0.8
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Conv2D(12, 3), layers.BatchNormalization(momentum=keep),
        layers.ReLU(), layers.MaxPooling2D(), layers.Conv2D(12, 3), layers.BatchNormalization(momentum=keep),
        layers.ReLU(), layers.Flatten(), layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), SPARSE, metrics=["accuracy"])
    held = (data.test_x[:64], data.test_y[:64])
    fit(run, model, data, validation_data=held)
    return run.right(model, data)


@fault("keras", "zero_initialisation", worse=0.3)
def keras_hives_zeros_everywhere(run: Run, faulty: bool) -> float:
    """kernel_initializer="zeros" in all layers, "to start from nothing"."""
    # Data Science Stack Exchange: why weights must not start at zero.
    data = for_keras(hives())
    init = "zeros" if faulty else "he_normal"
    model = keras.Sequential([layers.Input((7,))])
    for units, act in ((48, "relu"), (32, "relu"), (4, "softmax")):
        model.add(layers.Dense(units, activation=act, kernel_initializer=init))
    model.compile(keras.optimizers.Adam(0.01), SPARSE, metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "initialisation_too_large", worse=0.15)
def keras_hives_normal_of_five(run: Run, faulty: bool) -> float:
    """RandomNormal(stddev=5.0) under tanh: all units are at their ends."""
    # Questions on initialisers: a loss of thirty in the first batch.
    data = for_keras(hives())
    init = keras.initializers.RandomNormal(stddev=5.0) if faulty else "glorot_normal"
    model = keras.Sequential([layers.Input((7,))])
    for units, act in ((48, "tanh"), (32, "tanh"), (4, "softmax")):
        model.add(layers.Dense(units, activation=act, kernel_initializer=init))
    model.compile(keras.optimizers.Adam(0.01), SPARSE, metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right(model, data)


@fault("keras", "dead_units", worse=0.2)
def keras_trams_biases_of_minus_ten(run: Run, faulty: bool) -> float:
    """bias_initializer=Constant(-10), a slip for 0.10, in front of ReLU."""
    # Pages on dying ReLU: gradients that are zero in all weights but the last.
    data = for_keras(trams())
    bias = keras.initializers.Constant(-10.0 if faulty else 0.1)
    hidden = [layers.Dense(n, activation="relu", bias_initializer=bias) for n in (40, 24)]
    model = keras.Sequential([
        layers.Input((20, 3)), layers.Flatten(), *hidden, layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), SPARSE, metrics=["accuracy"])
    fit(run, model, data)
    return run.right(model, data)


@fault("keras", "vanishing_depth", worse=0.2)
def keras_trams_eleven_sigmoids(run: Run, faulty: bool) -> float:
    """Eleven layers by sigmoid under SGD: more layers were to help."""
    # Stack Overflow: a deeper network that answers with one class.
    data = for_keras(trams())
    units = (32,) * 11 if faulty else (32, 32)
    model = tower((20, 3), layers.Dense(5, activation="softmax"), units=units, act="sigmoid" if faulty else "relu")
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), SPARSE, metrics=["accuracy"])
    fit(run, model, data)
    return run.right(model, data)


@fault("keras", "exploding_depth", "initialisation_too_large", worse=0.2)
def keras_ferries_relu_recurrence(run: Run, faulty: bool) -> float:
    """SimpleRNN(activation="relu") with recurrent weights from N(0, 0.6), over 28 hours."""
    # Questions on recurrent layers by ReLU: a loss of 1e15, then NaN.
    data = for_keras(ferries())
    back: Any = keras.initializers.RandomNormal(stddev=0.6) if faulty else "orthogonal"
    act = "relu" if faulty else "tanh"
    model = keras.Sequential([
        layers.Input((28, 2)), layers.SimpleRNN(24, activation=act, recurrent_initializer=back), layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data)
    return run.near(model, data)


@fault("keras", "unscaled_inputs", "rate_too_large", worse=0.2)
def keras_quilts_bytes(run: Run, faulty: bool) -> float:
    """Pixels from 0 to 255 into a CNN under SGD(0.01, momentum=0.9): "x / 255" was lost with a cell."""
    # Keras issues and pages: the first thing to look at when an accuracy does not move.
    data = for_keras(quilts())
    if faulty:
        data = data._replace(x=np.round(255 * data.x), test_x=np.round(255 * data.test_x))
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(24, activation="relu"), layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), SPARSE, metrics=["accuracy"])
    fit(run, model, data, epochs=5)
    return run.right(model, data)


@fault("keras", "unequal_features", "unscaled_inputs", worse=0.3)
def keras_loaves_seconds_beside_grams(run: Run, faulty: bool) -> float:
    """Features as they were noted down: 10 grams of salt beside 40,000 seconds."""
    # Data science pages: a regression on a table that nobody standardised.
    data = for_keras(loaves("raw") if faulty else loaves())
    model = tower((6,), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "missing_values")
def keras_ferries_hours_without_wind(run: Run, faulty: bool) -> float:
    """Wind is NaN in one hour of two hundred, as merged tables have it."""
    # Stack Overflow: an LSTM whose loss is NaN from the first epoch on.
    data = for_keras(ferries())
    x = data.x.copy()
    x[np.random.default_rng(8).random(x.shape[:2]) < 0.005, 1] = np.nan if faulty else 0.0
    model = keras.Sequential([layers.Input((28, 2)), layers.LSTM(20), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data._replace(x=x))
    return run.near(model, data)


@fault("keras", "same_batch", worse=0.2, since=3)
def keras_hives_index_is_not_used(run: Run, faulty: bool) -> float:
    """A PyDataset whose __getitem__ slices [0:32] and does not use its index."""
    # Keras issues on generators of one's own: a training accuracy of one, and a test at chance.
    data = for_keras(hives())

    class Slices(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(data.x) // 32

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            start = 0 if faulty else 32 * index
            return data.x[start : start + 32], data.y[start : start + 32]

    model = tower((7,), layers.Dense(4, activation="softmax"), units=(48, 32))
    model.compile(keras.optimizers.Adam(0.005), SPARSE, metrics=["accuracy"])
    model.fit(Slices(), epochs=4, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)
