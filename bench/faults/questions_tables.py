"""Questions on Keras: tables such as iris, wine, tumours and diabetes."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bench.faults.case import fault, look_alike
from bench.faults.questions_data import one_hot, table
from bench.faults.questions_toys import dense, fit
from bench.faults.run import Run


@fault("keras", "wrong_output_activation", "binary_loss_on_classes", "bounded_output", worse=0.1)
def question_iris_tanh_at_the_end(run: Run, faulty: bool) -> float:
    """Dense(3, activation="tanh") under categorical_crossentropy."""
    data = one_hot(table("iris"), 3)
    model = dense(4, 10, 3, act="tanh", last="tanh" if faulty else "softmax")
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=10, epochs=40)
    return run.right(model, data)


@fault("keras", "rate_too_small")
def question_iris_ten_epochs_of_sgd(run: Run, faulty: bool) -> float:
    """SGD(lr=0.0001) for iris: each class gets a third."""
    data = one_hot(table("iris"), 3)
    model = dense(4, 8, 3, last="softmax")
    model.compile(keras.optimizers.SGD(1e-4 if faulty else 0.1), "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=5, epochs=30, validation_data=(data.test_x, data.test_y))
    return run.right(model, data)


@fault("keras", "softmax_over_one_unit", "regression_loss_on_labels", "class_index_beyond_units", "wrong_loss")
def question_iris_one_unit_for_three(run: Run, faulty: bool) -> float:
    """Classes 0, 1 and 2 from Dense(1, activation="softmax") under mse."""
    data = table("iris")
    model = dense(4, 16, 1 if faulty else 3, last="softmax")
    model.compile("adam", "mse" if faulty else "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=8, epochs=60)
    return run.right_number(model, data) if faulty else run.right(model, data)


@fault("keras", "sorted_data", worse=None)
def question_iris_not_shuffled(run: Run, faulty: bool) -> float:
    """Iris as it is in the file, class after class, with shuffle=False."""
    data = table("iris")
    order = np.argsort(data.y, kind="stable")
    data = data._replace(x=data.x[order], y=data.y[order])
    model = dense(4, 16, 3, last="softmax")
    model.compile(keras.optimizers.SGD(0.3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=10, epochs=15, shuffle=not faulty)
    return run.right(model, data)


@fault("keras", "unequal_features", "unscaled_inputs", "rate_too_large")
def question_wine_as_it_is(run: Run, faulty: bool) -> float:
    """Wine, whose proline is above 1,000, under "sgd" without a scaler."""
    data = one_hot(table("wine", scaled=not faulty), 3)
    model = dense(13, 20, 20, 3, last="softmax")
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=16, epochs=30)
    return run.right(model, data)


@fault("keras", "unequal_features", "unscaled_inputs", worse=0.05)
def question_tumours_as_they_are(run: Run, faulty: bool) -> float:
    """Tumours without a scaler: one feature is above 2,000, others below 0.01; sigmoid layers."""
    data = table("breast_cancer", scaled=not faulty, numbers=True)
    model = dense(30, 16, 16, 1, act="sigmoid", last="sigmoid")
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=15)
    return run.right_side(model, data, 0.5)


@fault("keras", "softmax_over_one_unit")
def question_tumours_softmax_of_one(run: Run, faulty: bool) -> float:
    """Activation("softmax") after Dense(1), with rmsprop and validation_split."""
    data = table("breast_cancer", numbers=True)
    model = keras.Sequential([
        layers.Input((30,)), layers.Dense(15, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2),
        layers.Dense(1), layers.Activation("softmax" if faulty else "sigmoid"),
    ])  # fmt: skip
    model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=12, validation_split=0.2)
    return run.right_side(model, data, 0.5)


@fault("keras", "bounded_output")
def question_diabetes_by_sigmoid(run: Run, faulty: bool) -> float:
    """Targets from 25 to 346 are asked of a sigmoid."""
    data = table("diabetes", numbers=True)
    if not faulty:
        data = data._replace(y=data.y / 100, test_y=data.test_y / 100)
    model = dense(10, 16, 1, last="sigmoid" if faulty else None)
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["accuracy"])
    fit(run, model, data, epochs=30)
    return run.near(model, data)


@fault("keras", "rate_too_large", "target_scale", good=0.3)
def question_diabetes_by_sgd(run: Run, faulty: bool) -> float:
    """SGD(0.01) with targets up to 346 as they are: NaN in the first epoch."""
    data = table("diabetes", numbers=True)
    model = dense(10, 32, 1)
    model.compile(keras.optimizers.SGD(0.01) if faulty else keras.optimizers.Adam(0.05), "mse")
    fit(run, model, data, epochs=40)
    return run.near(model, data)


@fault("keras", "target_scale", "rate_too_small", good=0.3)
def question_diabetes_hardly_moves(run: Run, faulty: bool) -> float:
    """Targets up to 346 by Adam(0.001), 20 epochs: it says about 5 for everybody."""
    data = table("diabetes", numbers=True)
    if not faulty:
        data = data._replace(y=(data.y - 150) / 75, test_y=(data.test_y - 150) / 75)
    model = dense(10, 16, 1)
    model.compile(keras.optimizers.Adam(0.001 if faulty else 0.005), "mse", metrics=["mae"])
    fit(run, model, data, epochs=20)
    return run.near(model, data)


@fault("keras", "missing_values")
def question_diabetes_holes(run: Run, faulty: bool) -> float:
    """A table with empty cells: the loss is NaN from the first epoch on."""
    data = table("diabetes", numbers=True)
    x = data.x.copy()
    x[::17, 4] = np.nan if faulty else 0
    data = data._replace(x=x, y=(data.y - 150) / 75, test_y=(data.test_y - 150) / 75)
    model = dense(10, 16, 1)
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=20)
    return run.near(model, data) if not faulty else float("nan")


@fault("keras", "missing_codes", good=0.3, worse=0.1)
def question_diabetes_minus_999(run: Run, faulty: bool) -> float:
    """Empty cells are -999, and nobody has scaled anything after it."""
    data = table("diabetes", numbers=True)
    x = data.x.copy()
    x[np.random.default_rng(1).random(x.shape) < 0.05] = -999 if faulty else 0
    data = data._replace(x=x, y=(data.y - 150) / 75, test_y=(data.test_y - 150) / 75)
    model = dense(10, 32, 16, 1)
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=20)
    return run.near(model, data)


@fault("keras", "dropout", good=0.3)
def question_diabetes_dropout_at_the_end(run: Run, faulty: bool) -> float:
    """Dropout(0.5) after the last layer: half of the answers are zero."""
    data = table("diabetes", numbers=True)
    model = dense(10, 32, 1)
    if faulty:
        model.add(layers.Dropout(0.7))
    model.compile(keras.optimizers.Adam(0.03), "mse")
    fit(run, model, data, epochs=30)
    return run.near(model, data)


@fault("keras", "broadcast", good=0.3, worse=0.1)
def question_diabetes_rows_against_columns(run: Run, faulty: bool) -> float:
    """A loss by hand: targets (n,) minus answers (n, 1) is a matrix."""
    data = table("diabetes", numbers=True)
    data = data._replace(y=(data.y - 150) / 75, test_y=(data.test_y - 150) / 75)

    def squares(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(ops.reshape(y_true, (-1,)) - (y_pred if faulty else ops.reshape(y_pred, (-1,)))))

    model = dense(10, 32, 1)
    model.compile(keras.optimizers.Adam(0.005), squares)
    fit(run, model, data, epochs=20)
    return run.near(model, data)


@fault("keras", "wrong_loss", "softmax_over_one_unit", "class_index_beyond_units")
def question_tumours_categorical_of_one(run: Run, faulty: bool) -> float:
    """Dense(1, activation="sigmoid") under categorical_crossentropy: the loss is tiny, the accuracy stays."""
    data = table("breast_cancer", numbers=True)
    model = dense(30, 16, 1, last="sigmoid")
    model.compile("adam", "categorical_crossentropy" if faulty else "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=15)
    return run.right_side(model, data, 0.5)


@fault("keras", "unbalanced_labels", worse=0.1, good=0.3)
def question_tumours_five_in_a_hundred(run: Run, faulty: bool) -> float:
    """Eight tumours among four hundred are malign, and nothing weighs them; few epochs."""
    whole = table("breast_cancer", numbers=True)
    few, many = np.flatnonzero(whole.y[:, 0] == 0)[:8], np.flatnonzero(whole.y[:, 0] == 1)
    x, y = np.concatenate([whole.x[few], whole.x[many]])[:, :3], np.concatenate([whole.y[few], whole.y[many]])
    data = whole._replace(x=x, y=y, test_x=whole.test_x[:, :3]) if faulty else whole._replace(
        x=whole.x[:, :3], test_x=whole.test_x[:, :3]
    )  # fmt: skip
    model = dense(3, 8, 1, last="sigmoid")
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=16, epochs=20)
    return run.right_side(model, data, 0.5)


@fault("keras", "wrong_sign", "wrong_loss")
def question_tumours_accuracy_as_a_loss(run: Run, faulty: bool) -> float:
    """The loss by hand is how many answers agree, which grows with each right one."""
    data = table("breast_cancer", numbers=True)

    def agreement(y_true: Any, y_pred: Any) -> Any:
        agree = ops.mean(y_true * y_pred + (1 - y_true) * (1 - y_pred))
        return agree if faulty else -agree

    model = dense(30, 16, 1, last="sigmoid")
    model.compile("adam", agreement, metrics=["accuracy"])
    fit(run, model, data, epochs=12)
    return run.right_side(model, data, 0.5)


@fault("keras", "rate_zero", "rate_too_small", since=20)
def question_tumours_decay_each_step(run: Run, faulty: bool) -> float:
    """SGD(lr=0.1, decay=...): the rate is divided by a hundred within an epoch."""
    data = table("breast_cancer", numbers=True)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.02, 1, 0.5 if faulty else 0.9999)
    model = dense(30, 32, 32, 32, 1, act="tanh", last="sigmoid")
    model.compile(keras.optimizers.SGD(schedule), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=15)
    return run.right_side(model, data, 0.5)


@look_alike("keras", good=0.3)
def question_diabetes_with_accuracy(run: Run) -> float:
    """A regression with metrics=["accuracy"], which says 0: what is learned is right."""
    data = table("diabetes", numbers=True)
    data = data._replace(y=(data.y - 150) / 75, test_y=(data.test_y - 150) / 75)
    model = dense(10, 16, 1)
    model.compile(keras.optimizers.Adam(0.005), "mse", metrics=["accuracy"])
    fit(run, model, data, size=10, epochs=15)
    return run.near(model, data)


@look_alike("keras")
def question_iris_fit_again_and_again(run: Run) -> float:
    """fit is called for each epoch, and compile before each fifth one."""
    data = table("iris")
    model = dense(4, 16, 3, last="softmax")
    callbacks = run.callbacks
    for turn in range(20):
        if turn % 5 == 0:
            model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(data.x, data.y, batch_size=16, epochs=1, verbose=0, callbacks=callbacks)
    return run.right(model, data)


@look_alike("keras")
def question_iris_whole_in_a_batch(run: Run) -> float:
    """One batch of all rows an epoch, 300 epochs."""
    data = one_hot(table("iris"), 3)
    model = dense(4, 8, 3, last="softmax")
    model.compile(keras.optimizers.Adam(0.02), "categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=200, epochs=300)
    return run.right(model, data)


@look_alike("keras", good=0.8)
def question_tumours_binary_with_two_softmax(run: Run) -> float:
    """Two units with softmax, one-hot labels and loss="binary_crossentropy": unusual, and it learns."""
    data = one_hot(table("breast_cancer"), 2)
    model = dense(30, 16, 2, last="softmax")
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, size=16, epochs=20, validation_split=0.1)
    return run.right(model, data)
