"""Keras, held out: the last layer, the loss, shapes, and numbers that are not finite."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from bench.faults.case import fault
from bench.faults.data import as_column, for_keras
from bench.faults.held_out_data import (
    bricks,
    claims,
    dials,
    films,
    gaits,
    herbs,
    queues,
    slots,
    specks,
    tiles,
    wells,
)
from bench.faults.run import Data, Run

SPARSE = "sparse_categorical_crossentropy"


def trained(run: Run, model: Any, data: Data, *, size: int = 32, epochs: int = 3, **more: Any) -> Any:
    """model.fit, with fastact's callbacks before what else is called."""
    calls = [*run.callbacks, *more.pop("callbacks", [])]
    model.fit(data.x, data.y, batch_size=size, epochs=epochs, callbacks=calls, verbose=0, **more)
    return model


def dense(width: int, *units: int, act: str = "relu", last: Any = None) -> Any:
    """A functional model of dense layers over `width` numbers; last: what comes last."""
    inputs = x = keras.Input((width,))
    for n in units:
        x = layers.Dense(n, activation=act)(x)
    return keras.Model(inputs, x if last is None else last(x))


@fault("keras", "softmax_over_one_unit", worse=0.3)
def keras_claims_predictions_of_a_softmax(run: Run, faulty: bool) -> float:
    """predictions = Dense(1, activation="softmax")(x) in a functional model, under binary_crossentropy."""
    # Stack Overflow: val_accuracy is the same in each epoch. The twin has batches of eight.
    data = for_keras(as_column(claims()))
    model = dense(14, 20, last=layers.Dense(1, activation="softmax" if faulty else "sigmoid"))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.005
    trained(run, model, data, size=8, epochs=1)
    return run.right_side(model, data, 0.5)


@fault("keras", "double_sigmoid", "wrong_output_activation", worse=0.3, good=0.35)
def keras_herbs_sigmoid_in_model_and_loss(run: Run, faulty: bool) -> float:
    """Dense(6, "sigmoid") and BinaryCrossentropy(from_logits=True); answers go through ops.sigmoid once more."""
    # Questions on multi-label models: everything is said to hold.
    data = for_keras(herbs())
    model = dense(36, 24, last=layers.Dense(6, activation="sigmoid" if faulty else None))
    model.compile(keras.optimizers.Adam(0.02), keras.losses.BinaryCrossentropy(from_logits=True))
    trained(run, model, data, size=20, epochs=3)
    return run.right_side(model, data, 0.0)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation", worse=0.15)
def keras_gaits_one_hot_and_a_linear_layer(run: Run, faulty: bool) -> float:
    """to_categorical labels and Dense(4) without an activation under "categorical_crossentropy"."""
    # Stack Overflow: a loss of eight or so that jumps; numbers below zero are clipped, and have no gradient.
    data = for_keras(gaits())
    data = data._replace(y=keras.utils.to_categorical(data.y, 4))
    model = keras.Sequential([keras.Input((24, 3)), layers.Conv1D(8, 5, activation="relu"), layers.Flatten()])
    model.add(layers.Dense(4, activation=None if faulty else "softmax"))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.5), "categorical_crossentropy", metrics=["accuracy"])
    trained(run, model, data, size=24, epochs=3)
    return run.right(model, data)


@fault("keras", "logits_into_probability_loss", "wrong_output_activation", worse=0.2)
def keras_tiles_decoder_without_a_sigmoid(run: Run, faulty: bool) -> float:
    """A coder whose last Dense(24) is linear, under "binary_crossentropy", as in a well known example that has one."""
    # Stack Overflow on autoencoders: a loss that stays at some number above one.
    data = for_keras(tiles())
    inputs = keras.Input((24,))
    code = layers.Dense(5, activation="tanh")(layers.Dense(20, activation="relu")(inputs))
    copied = layers.Dense(24, activation=None if faulty else "sigmoid")(layers.Dense(20, activation="relu")(code))
    model = keras.Model(inputs, copied)
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    trained(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "wrong_output_activation", "bounded_output", "softmax_over_one_unit", worse=0.3)
def keras_bricks_softmax_for_a_number(run: Run, faulty: bool) -> float:
    """Dense(1, activation="softmax") under "mae": a regression begun from a classifier says 1 for each brick."""
    # Stack Overflow: all predictions are 1.0.
    data = for_keras(bricks())
    model = dense(7, 40, 20, last=layers.Dense(1, activation="softmax" if faulty else "linear"))
    model.compile(keras.optimizers.Nadam(0.01), "mae")
    trained(run, model, data, epochs=3)
    return run.near(model, data)


@fault("keras", "relu_on_output", "bounded_output", "wrong_output_activation", worse=0.2)
def keras_dials_relu_for_the_tip(run: Run, faulty: bool) -> float:
    """A CNN whose last Dense(2, activation="relu") is to say where a tip is, -1 to 1."""
    # Questions on key points: half of them lie at zero.
    data = for_keras(dials("tip"))
    model = keras.Sequential([
        keras.Input((14, 14, 1)), layers.Conv2D(8, 3, strides=2, activation="relu"), layers.Flatten(),
        layers.Dense(2, activation="relu" if faulty else None),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "mse")
    trained(run, model, data, epochs=3)
    return run.near(model, data)


@fault("keras", "bounded_output", "wrong_output_activation", "target_scale", worse=0.3)
def keras_films_tanh_for_stars(run: Run, faulty: bool) -> float:
    """A product of embeddings goes through "tanh", and is to say 1 to 5 stars; the twin says 3 + 2 tanh."""
    # Questions on recommenders in Keras: a loss that stays at four.
    data = for_keras(films())
    who, what = keras.Input((1,), dtype="int32"), keras.Input((1,), dtype="int32")
    users, items = layers.Embedding(50, 4)(who), layers.Embedding(40, 4)(what)
    x = layers.Flatten()(layers.Concatenate()([users, items, layers.Multiply()([users, items])]))
    x = layers.Dense(1, activation="tanh")(layers.Dense(24, activation="relu")(x))
    model = keras.Model([who, what], x if faulty else layers.Rescaling(2.0, offset=3.0)(x))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    split = [[part[:, :1], part[:, 1:]] for part in (data.x, data.test_x)]
    trained(run, model, data._replace(x=split[0]), size=48, epochs=4)
    return run.near(model, data._replace(test_x=split[1]))


@fault("keras", "regression_loss_on_labels", "wrong_loss", worse=0.2)
def keras_slots_mse_of_levers(run: Run, faulty: bool) -> float:
    """A wrapper takes "mse" for whatever it is given: Dense(1) is to say the number of the lever, 0 to 3."""
    # Questions on KerasRegressor and KerasClassifier.
    data = for_keras(slots())
    last = layers.Dense(1) if faulty else layers.Dense(4, activation="softmax")
    model = dense(6, 12, last=last)
    model.compile(keras.optimizers.Adam(0.02), "mse" if faulty else SPARSE)
    trained(run, model, data, size=24, epochs=3)
    return run.right_number(model, data) if faulty else run.right(model, data)


@fault("keras", "wrong_sign", "wrong_loss", worse=0.3)
def keras_tiles_likeness_is_made_small(run: Run, faulty: bool) -> float:
    """-keras.losses.cosine_similarity(...), of a version in which it had no minus of its own."""
    # Keras issues: CosineSimilarity is -1 for what is alike.
    data = for_keras(tiles())
    data = Data(*(part - 0.5 for part in data))
    model = dense(24, 16, 4, last=layers.Dense(24))

    def likeness(wanted: Any, said: Any) -> Any:
        value = keras.losses.cosine_similarity(wanted, said)
        return -value if faulty else value

    model.compile(keras.optimizers.Adam(0.01), likeness)
    trained(run, model, data, epochs=4)
    said = run.answers(model, data.test_x)
    said = said / said.norm(dim=1, keepdim=True).clamp_min(1e-6)
    wanted = data.test_y / np.linalg.norm(data.test_y, axis=1, keepdims=True)
    return float((said.numpy() * wanted).sum(1).mean())


@fault("keras", "several_labels_for_one", "wrong_output_activation", "wrong_loss", worse=0.2, good=0.4)
def keras_herbs_categorical_for_several(run: Run, faulty: bool) -> float:
    """Dense(6, "softmax") and "categorical_crossentropy", for rows with several ones, or none."""
    # Stack Overflow on MultiLabelBinarizer.
    data = for_keras(herbs())
    model = dense(36, 24, last=layers.Dense(6, activation="softmax" if faulty else "sigmoid"))
    model.compile(keras.optimizers.Adam(0.02), "categorical_crossentropy" if faulty else "binary_crossentropy")
    trained(run, model, data, size=24, epochs=3)
    return run.right_side(model, data, 0.5)


@fault("keras", "term_outweighs", "weight_decay", worse=0.3)
def keras_dials_activity_regularizer_of_one(run: Run, faulty: bool) -> float:
    """activity_regularizer=L2(5.0), copied from kernel_regularizer, on both hidden layers: they are to say zero."""
    # Questions on regularisers: which of the three is which?
    data = for_keras(dials())
    model = keras.Sequential([keras.Input((14, 14, 1)), layers.Flatten()])
    for n in (32, 16):
        penalty = keras.regularizers.L2(5.0 if faulty else 1e-7)
        model.add(layers.Dense(n, activation="relu", activity_regularizer=penalty))
    model.add(layers.Dense(6, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.005), SPARSE, metrics=["accuracy"])
    trained(run, model, data, epochs=3)
    return run.right(model, data)


@fault("keras", "no_nonlinearity", worse=0.2)
def keras_bricks_activation_is_a_name(run: Run, faulty: bool) -> float:
    """Dense(n, name="relu"), where activation="relu" was meant: three linear layers."""
    # Code Review on keyword arguments.
    data = for_keras(bricks())
    model = keras.Sequential([keras.Input((7,))])
    for place, n in enumerate((48, 24)):
        model.add(layers.Dense(n, name=f"relu_{place}") if faulty else layers.Dense(n, activation="relu"))
    model.add(layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    trained(run, model, data, epochs=4)
    return run.near(model, data)


@fault("keras", "class_index_beyond_units", "one_hot_against_sparse", "constant_labels", worse=0.2)
def keras_gaits_two_columns_for_four(run: Run, faulty: bool) -> float:
    """ops.one_hot(y, 2) and Dense(2), of an example with two classes: gaits 2 and 3 have rows of zeros."""  # fmt: skip
    # Questions on num_classes.
    data, count = for_keras(gaits()), 2 if faulty else 4
    data = data._replace(y=np.eye(4, dtype=np.float32)[data.y][:, :count])
    model = keras.Sequential([keras.Input((24, 3)), layers.LSTM(16), layers.Dense(count, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.02), "categorical_crossentropy")
    trained(run, model, data, size=24, epochs=3)
    return run.right(model, data)


@fault("keras", "broadcast", "wrong_loss", worse=0.3)
def keras_queues_loss_by_hand_broadcasts(run: Run, faulty: bool) -> float:
    """ops.mean(ops.square(ops.squeeze(y_true, -1) - y_pred)), where y_pred still is a column."""
    # Keras issues on losses by hand: a mean for all samples.
    data = for_keras(queues())

    def squares(wanted: Any, said: Any) -> Any:
        return ops.mean(ops.square((ops.squeeze(wanted, -1) if faulty else wanted) - said))

    model = dense(5, 24, 12, last=layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.02), squares)
    trained(run, model, data, size=24, epochs=3)
    return run.near(model, data)


@fault("keras", "wrong_axis", worse=0.2, good=0.4)
def keras_specks_softmax_over_rows(run: Run, faulty: bool) -> float:
    """layers.Softmax(axis=1) on (rows, columns, 2): pixels of a column compete, not "speck" with "none"."""
    # Issues on segmentation: axis=1 is where the classes are in PyTorch.
    data = for_keras(specks())
    data = data._replace(y=np.concatenate([1 - data.y, data.y], -1))
    model = keras.Sequential([
        keras.Input((12, 12, 1)), layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(2, 3, padding="same"),
        layers.Softmax(axis=1 if faulty else -1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "categorical_crossentropy")
    trained(run, model, data, size=16, epochs=3)
    said, wanted = run.answers(model, data.test_x).argmax(-1) > 0, data.test_y[..., 0] > 0.5
    both, either = float((said.numpy() & wanted).sum()), float((said.numpy() | wanted).sum())
    return both / max(either, 1.0)


@fault("keras", "undefined_operation", "logits_into_probability_loss", "wrong_output_activation", worse=0.3)
def keras_wells_logarithm_of_a_relu(run: Run, faulty: bool) -> float:
    """-sum(y log p) by hand, without a clip, of shares that a ReLU and a sum have made: 0 / 0, and log 0."""
    # Stack Overflow: NaN in the first epoch with a crossentropy of one's own.
    data = for_keras(wells())
    data = data._replace(y=keras.utils.to_categorical(data.y, 3))

    def crossentropy(wanted: Any, said: Any) -> Any:
        share = said / ops.sum(said, -1, keepdims=True)
        return -ops.sum(wanted * ops.log(share), -1)

    model = dense(8, 32, 16, last=layers.Dense(3, activation="relu" if faulty else "softplus"))
    model.compile(keras.optimizers.Adam(0.01), crossentropy)
    trained(run, model, data, epochs=4)
    return run.right(model, data)


@fault("keras", "unscaled_inputs", "exponential_overflows", worse=0.3)
def keras_queues_exponential_of_raw_hours(run: Run, faulty: bool) -> float:
    """Dense(1, activation="exponential") under "poisson", for features that are forty times as large as thought."""
    # Questions on Poisson regression: inf, and then NaN.
    data = for_keras(queues())
    if faulty:
        data = data._replace(x=150 * data.x, test_x=150 * data.test_x)
    model = dense(5, 16, last=layers.Dense(1, activation="exponential"))
    model.compile(keras.optimizers.SGD(0.02), "poisson")
    trained(run, model, data, size=24, epochs=3)
    return run.near(model, data)
