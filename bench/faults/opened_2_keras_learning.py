"""Keras, opened (held out until 2026-11-30): rates, frozen layers, depth, inputs and targets."""

import keras
import numpy as np
from keras import layers, ops

from bench.faults.case import fault
from bench.faults.data import as_column, for_keras
from bench.faults.opened_2_data import (
    colours,
    glyphs,
    hearts,
    houses,
    letter_names,
    load,
    motion_scaled,
    payments,
    pendulum,
    reviews,
    shape_kinds,
)
from bench.faults.opened_2_keras_outputs import fit, stack
from bench.faults.run import Run


def convolutions(*more: keras.Layer, units: int = 8) -> keras.Sequential:
    """Two convolutions, layers between, and a softmax."""
    return stack(
        (16, 16, 1), layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(24, 3, activation="relu"), *more, layers.Flatten(), layers.Dense(units, activation="softmax"),
    )  # fmt: skip


@fault("keras", "rate_too_small")
def keras_glyph_adadelta_at_its_own_rate(run: Run, faulty: bool) -> float:
    """Adadelta() has a rate of 0.001 in Keras, and 1.0 in its paper."""
    data = for_keras(glyphs())
    model = convolutions()
    optimizer = keras.optimizers.Adadelta() if faulty else keras.optimizers.Adadelta(1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "rate_too_large")
def keras_motion_adam_at_a_tenth(run: Run, faulty: bool) -> float:
    """Adam(0.1) for convolutions over time."""
    data = for_keras(motion_scaled())
    model = stack(
        (40, 3), layers.Conv1D(24, 5, activation="relu"), layers.Conv1D(24, 5, activation="relu"),
        layers.Conv1D(24, 5, activation="relu"), layers.Flatten(), layers.Dense(48, activation="relu"),
        layers.Dense(4, activation="softmax"),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.1 if faulty else 0.003), "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=3)
    return run.right(model, data)


@fault("keras", "rate_zero", "rate_too_small", since=30, worse=0.1)
def keras_pendulum_a_tenth_each_epoch(run: Run, faulty: bool) -> float:
    """LearningRateScheduler(lambda epoch, rate: 0.1 * rate): it was meant for every tenth epoch."""
    data = for_keras(pendulum())
    data = data._replace(x=data.x[:480], y=data.y[:480])
    model = stack((4,), layers.Dense(48, activation="tanh"), layers.Dense(48, activation="tanh"), layers.Dense(2))
    model.compile(keras.optimizers.Adam(0.005), "mse")
    factor = 0.1 if faulty else 1.0
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: factor * rate if epoch else rate)
    fit(run, model, data, epochs=16, callbacks=[schedule])
    return run.near(model, data)


@fault("keras", "clipped", "rate_too_small")
def keras_payments_clipped(run: Run, faulty: bool) -> float:
    """SGD(0.1, clipnorm=0.0001)."""
    data = for_keras(as_column(payments()))
    model = stack((10,), layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid"))
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=1e-4 if faulty else 1.0)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=2)
    return run.right_side(model, data, 0.5)


@fault("keras", "weight_decay", good=0.35)
def keras_shape_kinds_l1_of_one(run: Run, faulty: bool) -> float:
    """kernel_regularizer=L1(1.0) in each layer."""
    data = for_keras(shape_kinds())
    much = keras.regularizers.L1(1.0 if faulty else 1e-5)
    model = stack(
        (16, 16, 1), layers.Conv2D(8, 3, strides=2, activation="relu", kernel_regularizer=much),
        layers.Conv2D(16, 3, strides=2, activation="relu", kernel_regularizer=much), layers.Flatten(),
        layers.Dense(3, activation="softmax", kernel_regularizer=much),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "frozen", good=0.4)
def keras_reviews_all_but_the_last_frozen(run: Run, faulty: bool) -> float:
    """for layer in model.layers[:-1]: layer.trainable = False, of a model that was just made."""
    data = for_keras(as_column(reviews()))
    model = keras.Sequential([
        layers.Input((30,), dtype="int32"), layers.Embedding(42, 12), layers.Conv1D(12, 2, activation="relu"),
        layers.GlobalMaxPooling1D(), layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    for layer in model.layers[:-1]:
        layer.trainable = not faulty
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right_side(model, data, 0.5)


@fault("keras", "non_differentiable", "detached", worse=0.08)
def keras_pendulum_rounded_features(run: Run, faulty: bool) -> float:
    """A Lambda rounds the hidden layer, to make it smaller to store."""
    data = for_keras(pendulum())
    inputs = keras.Input((4,))
    x = layers.Dense(12, activation="tanh")(inputs)
    if faulty:
        x = layers.Lambda(ops.round)(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Dense(24, activation="relu")(x)))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=3)
    return run.near(model, data)


@fault("keras", "dropout", worse=0.1)
def keras_glyph_spatial_dropout(run: Run, faulty: bool) -> float:
    """SpatialDropout2D(0.95) takes whole channels away."""
    data = for_keras(glyphs())
    model = convolutions(layers.SpatialDropout2D(0.95 if faulty else 0.05))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "norm_in_eval", "frozen", "unscaled_inputs", "unequal_features", conditions="dead outlier_channels")
def keras_houses_norm_frozen_before_it_saw_data(run: Run, faulty: bool) -> float:
    """What scales the features is a norm with trainable=False, which Keras then keeps in inference mode."""
    data, raw = for_keras(houses()), for_keras(houses(True))
    data = data._replace(x=raw.x, test_x=raw.test_x)
    inputs = keras.Input((5,))
    x = layers.BatchNormalization(momentum=0.9, trainable=not faulty)(inputs)
    x = layers.Dense(32, activation="relu")(layers.Dense(32, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=2)
    return run.near(model, data)


@fault("keras", "exploding_depth", "unscaled_inputs", conditions="outlier_channels")
def keras_load_relu_in_lstm(run: Run, faulty: bool) -> float:
    """LSTM(64, activation="relu") over 24 hours of a load in megawatts, which reaches thousands."""
    data = for_keras(load())
    if faulty:
        data = data._replace(x=3000 + 800 * data.x, test_x=3000 + 800 * data.test_x)
    model = stack((24, 1), layers.LSTM(32, activation="relu" if faulty else "tanh"), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=2)
    return run.near(model, data)


@fault("keras", "vanishing_depth", "empty_inputs", good=0.4)
def keras_reviews_padded_behind_and_not_masked(run: Run, faulty: bool) -> float:
    """Reviews of seven words are padded behind to 30, and a GRU's last state has seen zeros 23 times."""
    data = for_keras(as_column(reviews()))
    if not faulty:
        # In front, as Keras pads by itself.
        x, test_x = (np.array([np.roll(row, (row == 0).sum()) for row in part]) for part in (data.x, data.test_x))
        data = data._replace(x=x, test_x=test_x)
    model = keras.Sequential([
        layers.Input((30,), dtype="int32"), layers.Embedding(42, 16), layers.GRU(24),
        layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=48, epochs=4)
    return run.right_side(model, data, 0.5)


@fault("keras", "initialisation_too_large")
def keras_motion_uniform_from_zero_to_one(run: Run, faulty: bool) -> float:
    """RandomUniform(0, 1): all weights are positive, and their sums grow with each layer."""
    data = for_keras(motion_scaled())
    init = keras.initializers.RandomUniform(0, 1) if faulty else "glorot_uniform"
    model = stack(
        (40, 3), layers.Flatten(), *(layers.Dense(48, activation="relu", kernel_initializer=init) for _ in range(3)),
        layers.Dense(4, activation="softmax", kernel_initializer=init),
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=3)
    return run.right(model, data)


@fault("keras", "unscaled_inputs", "empty_inputs", "rate_too_small")
def keras_glyph_divided_twice(run: Run, faulty: bool) -> float:
    """Images are divided by 255 as they are loaded, and by a Rescaling(1 / 255) again."""
    data = for_keras(glyphs())
    scaling = [layers.Rescaling(1 / 255)] if faulty else []
    model = stack(
        (16, 16, 1), *scaling, layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(24, 3, activation="relu"), layers.Flatten(), layers.Dense(8, activation="softmax"),
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "unequal_features", "unscaled_inputs")
def keras_houses_raw_features(run: Run, faulty: bool) -> float:
    """Feet, years, metres and dollars as they are, under Adam at its own rate."""
    data = for_keras(houses())
    if faulty:
        raw = for_keras(houses(True))
        data = data._replace(x=raw.x, test_x=raw.test_x)
    model = stack((5,), layers.Dense(64, activation="relu"), layers.Dense(32, activation="relu"), layers.Dense(1))
    model.compile("adam", "mse", metrics=["mae"])
    fit(run, model, data, epochs=3)
    return run.near(model, data)


@fault("keras", "missing_codes", "unscaled_inputs", "unequal_features")
def keras_hearts_gaps_as_32767(run: Run, faulty: bool) -> float:
    """Where an electrode was off, a recorder writes 32767."""
    data = for_keras(hearts())
    generator = np.random.default_rng(0)
    x, test_x = (part.copy() for part in (data.x, data.test_x))
    for part in (x, test_x):
        part[generator.random(part.shape) < 0.02] = 32767 if faulty else 0
    data = data._replace(x=x, test_x=test_x)
    model = stack((64,), layers.Dense(32, activation="relu"), layers.Dense(2, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "missing_values", "undefined_operation")
def keras_names_logarithm_of_nothing(run: Run, faulty: bool) -> float:
    """np.log of how often each sign occurs: most do not, and the logarithm of 0 is minus infinity."""
    made = letter_names()
    x, test_x = (
        (part[:, :, None].numpy() == np.arange(27)).sum(1).astype(np.float32) for part in (made.x, made.test_x)
    )
    data = for_keras(made)
    with np.errstate(divide="ignore"):
        data = data._replace(x=np.log(x) if faulty else np.log1p(x), test_x=np.log1p(test_x))
    model = stack((27,), layers.Dense(48, activation="elu"), layers.Dense(4, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=2)
    return run.right(model, data)


class Samples(keras.utils.PyDataset):  # type: ignore[misc]
    """Draws its batches, as a generator with augmentation does."""

    def __init__(self, x: np.ndarray, y: np.ndarray, *, faulty: bool) -> None:
        super().__init__()
        self.x, self.y, self.faulty = x, y, faulty
        self.generator = np.random.default_rng(1)

    def __len__(self) -> int:
        return 120

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(1) if self.faulty else self.generator
        chosen = generator.integers(0, len(self.x), 16)
        return self.x[chosen], self.y[chosen]


@fault("keras", "same_batch")
def keras_glyph_seeded_in_getitem(run: Run, faulty: bool) -> float:
    """A Sequence seeds its random numbers in __getitem__: each of its batches is the same."""
    data = for_keras(glyphs())
    model = convolutions()
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(Samples(data.x, data.y, faulty=faulty), epochs=1, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "shuffled_labels")
def keras_colours_split_by_two_seeds(run: Run, faulty: bool) -> float:
    """train_test_split(x, random_state=1) and train_test_split(y, random_state=2)."""
    data = for_keras(colours())
    x, y = (np.random.default_rng(seed).permutation(part) for seed, part in ((1, data.x), (2 if faulty else 1, data.y)))
    model = stack(
        (3,), layers.Dense(32, activation="relu"), layers.Dense(32, activation="relu"),
        layers.Dense(8, activation="softmax"),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data._replace(x=x, y=y), size=16, epochs=6)
    return run.right(model, data)


@fault("keras", "target_scale", "rate_too_small")
def keras_houses_in_dollars(run: Run, faulty: bool) -> float:
    """Prices in dollars under mae and Adam at its own rate, for 300 steps."""
    data = for_keras(houses())
    if faulty:
        raw = for_keras(houses(True))
        data = data._replace(y=raw.y, test_y=raw.test_y)
    model = stack((5,), layers.Dense(64, activation="relu"), layers.Dense(64, activation="relu"), layers.Dense(1))
    model.compile("adam", "mae")
    fit(run, model, data, size=24, epochs=4)
    return run.near(model, data)


@fault("keras", "unbalanced_labels", good=0.4)
def keras_payments_hardly_any_fraud(run: Run, faulty: bool) -> float:
    """Five frauds in a thousand payments, no class_weight, and an accuracy of 0.995 from the first epoch on."""
    wanted = for_keras(as_column(payments(0.5)))
    data = for_keras(as_column(payments(0.005))) if faulty else wanted
    model = stack((10,), layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=3)
    return run.right_side(model, wanted, 0.5)
