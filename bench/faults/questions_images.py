"""Questions on Keras: pictures, by Dense layers, convolutions and autoencoders."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from bench.faults.case import fault, look_alike
from bench.faults.questions_data import digits, one_hot, photographs, same
from bench.faults.questions_toys import fit
from bench.faults.run import Run


def flat(*units: int, act: str = "relu", last: Any = "softmax", **options: Any) -> Any:
    """Flatten and Dense layers for the digits."""
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten()])
    for count in units:
        model.add(layers.Dense(count, activation=act, **options))
    model.add(layers.Dense(10, activation=last))
    return model


def convolutions(shape: tuple[int, ...], *more: Any, act: str = "relu") -> Any:
    """Two convolutions, each with a pooling, and what comes after them."""
    return keras.Sequential([
        layers.Input(shape), layers.Conv2D(16, 3, padding="same", activation=act), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation=act), layers.MaxPooling2D(), layers.Flatten(), *more,
    ])  # fmt: skip


@fault("keras", "unscaled_inputs", "rate_too_large")
def question_digits_not_divided(run: Run, faulty: bool) -> float:
    """Pixels from 0 to 255 into Dense layers with relu, under SGD(0.01)."""
    data = one_hot(digits(bits=faulty), 10)
    model = flat(64, 64)
    model.compile(keras.optimizers.SGD(0.01 if faulty else 0.1), "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10, validation_split=0.1)
    return run.right(model, data)


@fault("keras", "unscaled_inputs", "rate_too_small")
def question_digits_not_divided_by_sigmoids(run: Run, faulty: bool) -> float:
    """Pixels from 0 to 255 into sigmoid layers under SGD(0.02)."""
    data = digits(bits=faulty)
    model = flat(32, 32, act="sigmoid")
    optimizer = keras.optimizers.SGD(0.02) if faulty else keras.optimizers.RMSprop(0.01)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=64, epochs=10)
    return run.right(model, data)


@fault("keras", "rate_too_large")
def question_digits_adam_of_a_tenth(run: Run, faulty: bool) -> float:
    """Adam(lr=0.5): the loss is about 2.3 for all epochs."""
    data = digits()
    model = convolutions((8, 8, 1), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.5 if faulty else 0.001), "sparse_categorical_crossentropy")
    fit(run, model, data, epochs=6)
    return run.right(model, data)


@fault("keras", "rate_too_small", "wrong_loss", "regression_loss_on_labels")
def question_digits_mse_by_sgd(run: Run, faulty: bool) -> float:
    """A softmax under loss="mse" with SGD(0.01): one in ten is right after ten epochs."""
    data = one_hot(digits(), 10)
    model = flat(64, act="sigmoid")
    loss = "mse" if faulty else "categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.01 if faulty else 0.5), loss, metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right(model, data)


@fault("keras", "double_softmax", worse=0.05)
def question_digits_softmax_twice(run: Run, faulty: bool) -> float:
    """Dense(10, activation="softmax") and then Activation("softmax")."""
    data = one_hot(digits(), 10)
    model = flat(32)
    if faulty:
        model.add(layers.Activation("softmax"))
    model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right(model, data)


@fault("keras", "double_softmax", worse=0.05)
def question_digits_from_logits(run: Run, faulty: bool) -> float:
    """A softmax under SparseCategoricalCrossentropy(from_logits=True)."""
    data = digits()
    model = flat(32, last="softmax" if faulty else None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    fit(run, model, data, epochs=8)
    return run.right(model, data)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation")
def question_digits_no_softmax(run: Run, faulty: bool) -> float:
    """Dense(10) without an activation under loss="categorical_crossentropy"."""
    data = one_hot(digits(), 10)
    model = convolutions((8, 8, 1), layers.Dense(10, activation=None if faulty else "softmax"))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=6)
    return run.right(model, data)


@fault("keras", "wrong_output_activation", "relu_on_output", "logits_into_probability_loss")
def question_digits_relu_at_the_end(run: Run, faulty: bool) -> float:
    """Dense(10, activation="relu") under categorical_crossentropy."""
    data = one_hot(digits(), 10)
    model = flat(64, last="relu" if faulty else "softmax")
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right(model, data)


@fault("keras", "dropout", worse=0.15)
def question_digits_dropout_of_nine_tenths(run: Run, faulty: bool) -> float:
    """Dropout(0.9) after each layer."""
    data = digits()
    share = 0.95 if faulty else 0.2
    model = convolutions(
        (8, 8, 1), layers.Dropout(share), layers.Dense(32, activation="relu"), layers.Dropout(share),
        layers.Dense(10, activation="softmax"),
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=8)
    return run.right(model, data)


@fault("keras", "same_batch")
def question_digits_generator_begins_anew(run: Run, faulty: bool) -> float:
    """A generator whose place in the table is set back in each turn: it gives the first 32 pictures for ever."""
    data = digits()

    def pictures() -> Iterator[Any]:
        place = 0
        while True:
            yield data.x[place : place + 32], data.y[place : place + 32]
            place = 0 if faulty else (place + 32) % (len(data.x) - 32)

    model = flat(64)
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(pictures(), steps_per_epoch=39, epochs=8, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@fault("keras", "shuffled_labels")
def question_digits_labels_shuffled_alone(run: Run, faulty: bool) -> float:
    """np.random.shuffle(x) and np.random.shuffle(y), one after the other."""
    data = digits()
    order = np.random.default_rng(3).permutation(len(data.x))
    data = data._replace(x=data.x[order] if faulty else data.x)
    model = flat(32)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right(model, data)


@fault("keras", "rate_too_small", worse=0.3)
def question_digits_adadelta(run: Run, faulty: bool) -> float:
    """optimizer="adadelta", as an old tutorial has it: its rate is 0.001 now."""
    data = one_hot(digits(), 10)
    model = convolutions((8, 8, 1), layers.Dense(10, activation="softmax"))
    optimizer = "adadelta" if faulty else keras.optimizers.Adadelta(1.0)
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=8)
    return run.right(model, data)


@fault("keras", "vanishing_depth")
def question_digits_softmax_in_hidden_layers(run: Run, faulty: bool) -> float:
    """activation="softmax" in each hidden layer, too."""
    data = digits()
    model = flat(64, 64, 64, act="softmax" if faulty else "relu")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=8)
    return run.right(model, data)


@fault("keras", "softmax_over_one_unit")
def question_photographs_softmax_of_one(run: Run, faulty: bool) -> float:
    """Temple or flower by convolutions, dropout and Dense(1, activation="softmax")."""
    data = photographs()
    model = convolutions(
        (16, 16, 3), layers.Dense(32, activation="relu"), layers.Dropout(0.5),
        layers.Dense(1, activation="softmax" if faulty else "sigmoid"),
    )  # fmt: skip
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=8)
    return run.right_side(model, data, 0.5)


@fault("keras", "unscaled_inputs", "vanishing_depth")
def question_photographs_not_divided(run: Run, faulty: bool) -> float:
    """Colours from 0 to 255 into convolutions with tanh and a Dense layer with tanh."""
    data = photographs(bits=faulty)
    model = convolutions(
        (16, 16, 3), layers.Dense(32, activation="tanh"), layers.Dense(1, activation="sigmoid"), act="tanh"
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.05), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=10)
    return run.right_side(model, data, 0.5)


@fault("keras", "regression_loss_on_labels", "rate_too_large", "unscaled_inputs", worse=0.1)
def question_photographs_mse_and_sgd(run: Run, faulty: bool) -> float:
    """Colours from 0 to 255, Dense(1) with sigmoid under mse, SGD(0.01): all are flowers."""
    data = photographs(bits=faulty)
    model = convolutions((16, 16, 3), layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid"))
    loss = "mse" if faulty else "binary_crossentropy"
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    fit(run, model, data, epochs=8)
    return run.right_side(model, data, 0.5)


@fault("keras", "bounded_output")
def question_autoencoder_of_255(run: Run, faulty: bool) -> float:
    """An autoencoder with a sigmoid at the end, for pixels from 0 to 255."""
    whole = digits(bits=faulty)
    x = whole.x.reshape(len(whole.x), -1)
    data = same(x, x)
    model = keras.Sequential([
        layers.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(64, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    fit(run, model, data, epochs=15)
    return run.near(model, data)


@fault("keras", "relu_on_output", worse=0.1)
def question_autoencoder_relu_at_the_end(run: Run, faulty: bool) -> float:
    """An autoencoder of standardised pixels, half of which are below zero, that ends in a relu."""
    whole = digits()
    x = (whole.x.reshape(len(whole.x), -1) - whole.x.mean()) / whole.x.std()
    data = same(x, x)
    inputs = layers.Input((64,))
    code = layers.Dense(24, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(64, activation="relu" if faulty else None)(code))
    model.compile(keras.optimizers.Adam(0.01), "mean_squared_error")
    fit(run, model, data, epochs=15)
    return run.near(model, data)


@look_alike("keras", good=0.8)
def question_digits_by_train_on_batch(run: Run) -> float:
    """A loop of its own around train_on_batch."""
    data = digits()
    model = convolutions((8, 8, 1), layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = keras.callbacks.CallbackList(run.callbacks[:1], model=model)
    callbacks.on_train_begin()
    for _ in range(8):
        for place in range(0, len(data.x) - 31, 32):
            model.train_on_batch(data.x[place : place + 32], data.y[place : place + 32])
            callbacks.on_train_batch_end(place)
    callbacks.on_train_end()
    return run.right(model, data)


@look_alike("keras", good=0.3)
def question_digits_slowly(run: Run) -> float:
    """SGD(0.01) for eight epochs: slow, and sound."""
    data = digits()
    model = flat(64)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=16, epochs=8)
    return run.right(model, data)
