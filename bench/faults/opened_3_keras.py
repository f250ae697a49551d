"""Keras, opened (held out until 2026-11-30)."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bench.faults.case import fault
from bench.faults.data import as_column, for_keras
from bench.faults.opened_3_data import (
    bars,
    lines,
    moons,
    numerals,
    patients,
    powers,
    prices,
    rides,
    rings,
    roll,
    shells,
    spectra,
    tones,
    topics,
    votes,
)
from bench.faults.run import Data, Run


def fitted(run: Run, model: keras.Model, data: Data, *, size: int = 32, epochs: int = 2, **options: Any) -> None:
    """Trains, with what watches it."""
    told = [*options.pop("callbacks", []), *run.callbacks]
    model.fit(data.x, data.y, batch_size=size, epochs=epochs, verbose=0, callbacks=told, **options)


def dense(inputs: int, *more: keras.Layer, width: int = 32, act: str = "relu") -> keras.Sequential:
    """Two layers of units, and what comes after them."""
    hidden = [layers.Dense(width, activation=act) for _ in range(2)]
    return keras.Sequential([layers.Input((inputs,)), *hidden, *more])


def small_cnn(channels: int = 1, act: str = "relu") -> keras.Sequential:
    """Two convolutions, and four classes."""
    return keras.Sequential([
        layers.Input((12, 12, channels)), layers.Conv2D(8, 3, activation=act), layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation=act), layers.Flatten(), layers.Dense(4, activation="softmax"),
    ])  # fmt: skip


@fault("keras", "softmax_over_one_unit")
def keras_rings_softmax_over_one_unit(run: Run, faulty: bool) -> float:
    """Dense(1, activation="softmax") under binary_crossentropy."""
    # Stack Overflow, again and again: an accuracy of one half that never changes.
    data = for_keras(as_column(rings()))
    model = dense(2, layers.Dense(1, activation="softmax" if faulty else "sigmoid"))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, size=25, epochs=4)
    return run.right_side(model, data, 0.5)


@fault("keras", "wrong_output_activation", "wrong_loss", "several_labels_for_one", good=0.4, worse=0.15)
def keras_topics_softmax_for_many_labels(run: Run, faulty: bool) -> float:
    """Six labels, of which a text may have several, by softmax and categorical_crossentropy."""
    # Stack Overflow: many labels, and answers that never go above a half.
    data = for_keras(topics())
    model = dense(24, layers.Dense(6, activation="softmax" if faulty else "sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), "categorical_crossentropy" if faulty else "binary_crossentropy")
    fitted(run, model, data, epochs=5)
    return run.right_side(model, data, 0.5)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation")
def keras_spectra_without_softmax(run: Run, faulty: bool) -> float:
    """Dense(4) without an activation, under "sparse_categorical_crossentropy"."""
    # Keras issue: a loss that stays at one odd number; the last activation had been left out.
    made = spectra()
    data = for_keras(made._replace(x=made.x / 40 + 1, test_x=made.test_x / 40 + 1))
    model = dense(24, layers.Dense(4, activation=None if faulty else "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, size=16, epochs=3)
    return run.right(model, data)


@fault("keras", "bounded_output", "regression_loss_on_labels", "wrong_output_activation", worse=0.15)
def keras_shells_sigmoid_for_five_classes(run: Run, faulty: bool) -> float:
    """Labels 0 to 4 under Dense(1, activation="sigmoid") and mse."""
    # Stack Overflow: several classes asked of one sigmoid, which gives 1 for nearly all.
    data = for_keras(shells())
    last = layers.Dense(1, activation="sigmoid") if faulty else layers.Dense(5, activation="softmax")
    model = dense(4, last, width=48)
    model.compile(
        keras.optimizers.Adam(0.01), "mse" if faulty else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )  # fmt: skip
    fitted(run, model, data, epochs=3)
    return run.right_number(model, data) if faulty else run.right(model, data)


@fault("keras", "target_scale", "unscaled_inputs", "rate_too_small")
def keras_powers_as_they_are(run: Run, faulty: bool) -> float:
    """y = x**4 of x from -100 to 100, with nothing scaled."""
    # Stack Overflow: a network that learns x**3 in a small range and fails at x**4.
    data = for_keras(powers(not faulty))
    model = dense(1, layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fitted(run, model, data, size=25, epochs=4)
    return run.near(model, data)


@fault("keras", "unscaled_inputs", "target_scale", "rate_too_small", conditions="vanishing")
def keras_prices_in_dollars(run: Run, faulty: bool) -> float:
    """An LSTM over prices of 3,000 dollars or so, not scaled: its states saturate, and it says one price."""
    # Stack Overflow: an LSTM for a share's price whose forecast is a flat line.
    data = for_keras(prices(not faulty))
    model = keras.Sequential([layers.Input((20, 1)), layers.LSTM(32), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mean_squared_error")
    fitted(run, model, data, epochs=3)
    return run.near(model, data)


@fault("keras", "unscaled_inputs", "rate_too_large")
def keras_bars_bytes_under_sgd(run: Run, faulty: bool) -> float:
    """Pixels from 0 to 255 into Dense layers, at a rate that suits pixels from 0 to 1."""
    # Keras issue: a classifier of images that gives one class; x / 255 was missing.
    data = for_keras(bars())
    if faulty:
        data = data._replace(x=np.round(255 * data.x), test_x=np.round(255 * data.test_x))
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Flatten(), layers.Dense(48, activation="relu"),
        layers.Dense(24, activation="relu"), layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "rate_too_large")
def keras_bars_adam_at_one_half(run: Run, faulty: bool) -> float:
    """Adam(learning_rate=0.5)."""
    # Keras issue: a loss of 1.386 in each epoch, after a first one of thousands.
    data = for_keras(bars())
    model = small_cnn()
    model.compile(keras.optimizers.Adam(0.5 if faulty else 0.005), "sparse_categorical_crossentropy")
    fitted(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "zero_initialisation")
def keras_moons_kernels_of_zeros(run: Run, faulty: bool) -> float:
    """kernel_initializer="zeros" in each layer."""
    # Stack Overflow: weights that stay equal, and one answer for all samples.
    data = for_keras(as_column(moons(0.1)))
    init = "zeros" if faulty else "he_uniform"
    model = keras.Sequential([layers.Input((2,))])
    for units, act in ((24, "relu"), (24, "relu"), (1, "sigmoid")):
        model.add(layers.Dense(units, activation=act, kernel_initializer=init))
    model.compile(keras.optimizers.SGD(0.2, momentum=0.9), "binary_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, size=20, epochs=3)
    return run.right_side(model, data, 0.5)


@fault("keras", "vanishing_depth")
def keras_shells_nine_sigmoid_layers(run: Run, faulty: bool) -> float:
    """Nine Dense layers by sigmoid, "to make it deep"."""
    # Stack Overflow: a deeper network that is worse than one of a single layer.
    data = for_keras(shells())
    act = "sigmoid" if faulty else "elu"
    model = keras.Sequential([layers.Input((4,)), *(layers.Dense(32, activation=act) for _ in range(8))])
    model.add(layers.Dense(5, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "relu_on_output", "wrong_output_activation", "bounded_output", worse=0.15)
def keras_roll_relu_for_what_lies_about_zero(run: Run, faulty: bool) -> float:
    """Dense(1, activation="relu") for standardised targets, half of them negative."""
    # Data Science Stack Exchange: a regression that is zero for a half of all samples.
    data = for_keras(roll())
    model = dense(3, layers.Dense(1, activation="relu" if faulty else "linear"), width=48)
    model.compile(keras.optimizers.Adam(0.005), "mae")
    fitted(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "frozen", worse=0.1)
def keras_tones_base_frozen_with_random_weights(run: Run, faulty: bool) -> float:
    """base.trainable = False, though base was made with weights=None."""
    # Stack Overflow: transfer learning that stays at chance.
    made = tones()
    data = Data(*(np.swapaxes(part.numpy(), 1, 2) if part.ndim == 3 else part.numpy() for part in made))
    base = keras.Sequential(
        [
            layers.Input((64, 1)), layers.Conv1D(6, 5, strides=3, activation="relu"),
            layers.Conv1D(4, 3, strides=2, activation="relu"), layers.GlobalMaxPooling1D(),
        ],
        name="base",
    )  # fmt: skip
    base.trainable = not faulty
    model = keras.Sequential([layers.Input((64, 1)), base, layers.Dense(5, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, epochs=6)
    return run.right(model, data)


@fault("keras", "stale_statistics", since=30)
def keras_bars_norms_of_few_batches(run: Run, faulty: bool) -> float:
    """BatchNormalization() keeps 0.999 of what it knew, for 96 batches about 1,000: validation stays at chance."""
    # Keras issue: a training accuracy of 0.9 and a validation accuracy at chance, with the same data.
    data = for_keras(bars())
    x, test_x = (40 * part + 1000 for part in (data.x, data.test_x))
    data = data._replace(x=x, test_x=test_x)
    much = 0.999 if faulty else 0.8
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Conv2D(8, 3, strides=2), layers.BatchNormalization(momentum=much),
        layers.ReLU(), layers.Conv2D(16, 3), layers.BatchNormalization(momentum=much), layers.ReLU(),
        layers.Flatten(), layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, epochs=3, validation_data=(data.test_x[:96], data.test_y[:96]))
    return run.right(model, data)


@fault("keras", "unbalanced_labels", good=0.4)
def keras_patients_one_in_a_hundred(run: Run, faulty: bool) -> float:
    """One patient in a hundred is ill: an accuracy of 0.99, and nobody is found."""
    # Stack Overflow: a high accuracy, and a matrix of confusion with one empty column.
    wanted = for_keras(as_column(patients()))
    data = for_keras(as_column(patients(0.01))) if faulty else wanted
    model = dense(14, layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, epochs=3)
    return run.right_side(model, wanted, 0.5)


@fault("keras", "non_differentiable", "wrong_loss")
def keras_patients_score_as_a_loss(run: Run, faulty: bool) -> float:
    """A loss of one less the F1 score, of rounded answers, which have no gradient."""
    # Stack Overflow: how to train by F1, and a loss that does not change.
    data = for_keras(as_column(patients()))

    def score(wanted: Any, said: Any) -> Any:
        said = ops.round(said) if faulty else said
        both = ops.sum(wanted * said)
        return 1 - 2 * both / (ops.sum(wanted) + ops.sum(said) + 1e-7)

    model = dense(14, layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.005), score)
    fitted(run, model, data, epochs=3)
    return run.right_side(model, data, 0.5)


@fault("keras", "weight_decay")
def keras_rides_l2_of_ten(run: Run, faulty: bool) -> float:
    """kernel_regularizer=L2(10) in each layer: the mean fare for each ride."""
    # Data Science Stack Exchange: a regression that gives the mean, and a loss far above its error.
    data = for_keras(rides())
    penalty = keras.regularizers.L2(10.0 if faulty else 1e-5)
    model = keras.Sequential([layers.Input((4,))])
    for units, act in ((32, "relu"), (16, "relu"), (1, None)):
        model.add(layers.Dense(units, activation=act, kernel_regularizer=penalty))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fitted(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "rate_zero", "rate_too_small", since=9)
def keras_numerals_rate_of_whole_numbers(run: Run, faulty: bool) -> float:
    """A scheduler gives 0.01 * (1 // (epoch + 1)): from the second epoch on it is zero."""
    # TensorFlow issue: a loss that is the same from the second epoch on; the scheduler was misused.
    data = for_keras(numerals())
    model = keras.Sequential([
        layers.Input((12,), dtype="int32"), layers.Embedding(6, 8), layers.Flatten(),
        layers.Dense(24, activation="relu"), layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    how = (lambda epoch: 0.01 * (1 // (epoch + 1))) if faulty else (lambda epoch: 0.01 / (1 + 0.02 * epoch))
    fitted(run, model, data, epochs=14, callbacks=[keras.callbacks.LearningRateScheduler(how)])
    return run.near(model, data)


@fault("keras", "missing_values")
def keras_rides_without_a_thermometer(run: Run, faulty: bool) -> float:
    """Degrees are NaN for one ride in thirty."""
    # Keras issue: a loss that is NaN in a regression; the table had gaps.
    data = for_keras(rides())
    x = data.x.copy()
    x[np.random.default_rng(1).random(len(x)) < 0.03, 2] = np.nan if faulty else 0
    model = dense(4, layers.Dense(1))
    model.compile("adam", "mse")
    fitted(run, model, data._replace(x=x), size=16, epochs=3)
    return run.near(model, data)


@fault("keras", "wrong_axis")
def keras_votes_softmax_over_the_batch(run: Run, faulty: bool) -> float:
    """layers.Softmax(axis=0): the answers of a batch add up to one, and a sample alone gets 1 for all."""
    # Stack Overflow: probabilities of a softmax that do not add up to one.
    data = for_keras(votes())
    model = keras.Sequential([
        layers.Input((16,), dtype="int32"), layers.Embedding(4, 8), layers.GlobalAveragePooling1D(),
        layers.Dense(16, activation="relu"), layers.Dense(3), layers.Softmax(axis=0 if faulty else -1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fitted(run, model, data, epochs=2)
    run.close()
    said = model.predict(data.test_x[:120], batch_size=1, verbose=0).argmax(1)
    return (3 * float((said == data.test_y[:120]).mean()) - 1) / 2


@fault("keras", "undefined_operation", "wrong_loss", good=0.3)
def keras_lines_cross_entropy_by_hand(run: Run, faulty: bool) -> float:
    """A focal loss by hand without an epsilon: log of a probability that has become 0."""
    # Stack Overflow: a custom loss in Keras that turns to NaN in the first epoch.
    made = lines()
    data = for_keras(made)

    def focal(wanted: Any, said: Any) -> Any:
        least = 0.0 if faulty else 1e-6
        said = ops.clip(said, least, 1 - least)
        of_line = -12 * wanted * (1 - said) ** 2 * ops.log(said)
        return ops.mean(of_line - (1 - wanted) * said**2 * ops.log(1 - said))

    model = keras.Sequential([
        layers.Input((16, 16, 1)), layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(8, 3, padding="same", activation="relu"), layers.Conv2D(1, 1),
        layers.Rescaling(40.0), layers.Activation("sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), focal)
    fitted(run, model, data, size=16, epochs=3)
    said, wanted = run.answers(model, data.test_x) > 0.5, made.test_y.movedim(1, -1) > 0.5
    finite = bool(run.answers(model, data.test_x).isfinite().all())
    return 2 * float((said & wanted).sum()) / float(said.sum() + wanted.sum()) if finite else float("nan")
