"""Keras, held out: rates, what is left out, loops by train_step, how weights begin, depth, inputs, and targets."""

from typing import Any

import keras
import numpy as np
import torch
from keras import layers, ops

from bench.faults.case import fault
from bench.faults.data import for_keras
from bench.faults.held_out_data import (
    bricks,
    dials,
    fairs,
    gaits,
    geysers,
    herbs,
    notes,
    phrases,
    slots,
    tiles,
    wells,
)
from bench.faults.held_out_keras_outputs import SPARSE, dense, trained
from bench.faults.run import Run


class Own(keras.Model):  # type: ignore[misc]
    """A model with a train_step of its own, whose parts can be left out."""

    def __init__(self, net: Any, *, clear: str = "before", steps: bool = True) -> None:
        super().__init__()
        self.net, self.clear, self.steps = net, clear, steps

    def call(self, x: Any, training: bool = False) -> Any:
        return self.net(x, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        if self.clear == "before":
            self.zero_grad()
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        loss.backward()
        if self.clear == "after":
            for value in self.trainable_weights:
                value.value.grad.zero_()
        gradients = [value.value.grad for value in self.trainable_weights]
        if self.steps:
            with torch.no_grad():
                self.optimizer.apply(gradients, self.trainable_weights)
        return {"loss": loss.detach()}


@fault("keras", "rate_too_large", worse=0.2)
def keras_notes_adam_at_a_half(run: Run, faulty: bool) -> float:
    """Adam(learning_rate=0.5), a slip for 0.005, for an LSTM over embeddings."""
    # Data Science Stack Exchange: a text classifier that says one class after the first epoch.
    data = for_keras(notes())
    model = keras.Sequential([
        keras.Input((16,), dtype="int32"), layers.Embedding(28, 10, mask_zero=True), layers.LSTM(14),
        layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.5 if faulty else 0.02), SPARSE, metrics=["accuracy"])
    trained(run, model, data, size=32, epochs=4)
    return run.right(model, data)


@fault("keras", "rate_too_large", worse=0.3)
def keras_bricks_sgd_of_five(run: Run, faulty: bool) -> float:
    """SGD(5.0) for a regression by tanh; the twin's rate is 0.3, and it learns."""
    # Stack Overflow: from one loss of 1e8 to the next.
    data = for_keras(bricks())
    model = dense(7, 24, act="tanh", last=layers.Dense(1))
    model.compile(keras.optimizers.SGD(5.0 if faulty else 0.15), "mse")
    trained(run, model, data, size=16, epochs=2)
    return run.near(model, data)


@fault("keras", "rate_too_small", worse=0.3)
def keras_dials_sgd_with_decay_of_old(run: Run, faulty: bool) -> float:
    """InverseTimeDecay(1e-4, 1, 1.0): a rate and a decay of Keras 1, whose unit was another."""
    # Keras issues on decay=.
    data = for_keras(dials())
    model = keras.Sequential([
        keras.Input((14, 14, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(6, activation="softmax"),
    ])  # fmt: skip
    rate = keras.optimizers.schedules.InverseTimeDecay(1e-4 if faulty else 0.1, 1 if faulty else 200, 1.0)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), SPARSE, metrics=["accuracy"])
    trained(run, model, data, size=24, epochs=2)
    return run.right(model, data)


@fault("keras", "rate_zero", "rate_too_small", worse=0.2, since=50)
def keras_wells_scheduler_of_the_epoch(run: Run, faulty: bool) -> float:
    """LearningRateScheduler(lambda epoch, lr: lr * (1 - epoch)): the rate is zero from the second epoch on."""
    # Keras issues: the argument is the number of the epoch, from zero. The twin loses a tenth an epoch.
    data = for_keras(wells())
    model = dense(8, 32, 16, last=layers.Dense(3, activation="softmax"))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.8), SPARSE, metrics=["accuracy"])
    fall = keras.callbacks.LearningRateScheduler(lambda epoch, lr: max(lr * (1 - epoch * (1 if faulty else 0.1)), 0.0))
    trained(run, model, data, size=24, epochs=4, callbacks=[fall])
    return run.right(model, data)


@fault("keras", "momentum", "rate_too_large", worse=0.2)
def keras_slots_momentum_and_nesterov(run: Run, faulty: bool) -> float:
    """SGD(0.5, momentum=0.9995, nesterov=True): the third nine was one too many."""
    # Questions on SGD's arguments. The twin takes a rate of a half.
    data = for_keras(slots())
    model = dense(6, 16, act="tanh", last=layers.Dense(4, activation="softmax"))
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9995 if faulty else 0.6, nesterov=True)
    model.compile(optimizer, SPARSE, metrics=["accuracy"])
    trained(run, model, data, size=32, epochs=4)
    return run.right(model, data)


@fault("keras", "weight_decay", worse=0.2)
def keras_geysers_l2_in_each_gate(run: Run, faulty: bool) -> float:
    """kernel_regularizer and recurrent_regularizer of L2(3.0) in an LSTM: the forecast is flat."""
    # Pages on overfitting LSTMs.
    data, penalty = for_keras(geysers()), keras.regularizers.L2(3.0 if faulty else 1e-7)
    last = layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([
        keras.Input((26, 2)), layers.LSTM(12, kernel_regularizer=penalty, recurrent_regularizer=penalty), last,
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    trained(run, model, data, size=32, epochs=4)
    return run.near(model, data)


@fault("keras", "loss_scaled", "rate_too_small", worse=0.3)
def keras_dials_loss_weights_of_a_millionth(run: Run, faulty: bool) -> float:
    """compile(loss_weights=[1e-5]), left from a model of two answers, under SGD."""
    # Keras issues on loss_weights.
    data = for_keras(dials("tip"))
    model = keras.Sequential([keras.Input((14, 14, 1)), layers.Flatten(), layers.Dense(24, "tanh"), layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse", loss_weights=[1e-5 if faulty else 1.0])
    trained(run, model, data, size=16, epochs=2)
    return run.near(model, data)


@fault("keras", "clipped", "rate_too_small", worse=0.3)
def keras_phrases_clipvalue(run: Run, faulty: bool) -> float:
    """SGD(1.0, clipvalue=1e-6), for a tagger by convolution."""
    # Keras issues on clipvalue and clipnorm.
    data = for_keras(phrases())
    model = keras.Sequential([
        keras.Input((18,), dtype="int32"), layers.Embedding(10, 10), layers.Conv1D(24, 2, padding="causal"),
        layers.ReLU(), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(1.0, momentum=0.7, clipvalue=1e-6 if faulty else 0.5), SPARSE)
    trained(run, model, data, epochs=4)
    wanted = data.test_y.reshape(-1)
    said = run.answers(model, data.test_x).argmax(-1).numpy().reshape(-1)
    base = np.bincount(wanted).max() / len(wanted)
    return float(((said == wanted).mean() - base) / (1 - base))


@fault("keras", "frozen", worse=0.15, good=0.4)
def keras_notes_base_that_was_never_trained(run: Run, faulty: bool) -> float:
    """base.trainable = False for a base of one's own, with weights as they began: a narrow one."""
    # Keras issues on transfer learning, without load_weights.
    data = for_keras(notes())
    base = keras.Sequential([
        keras.Input((16,), dtype="int32"), layers.Embedding(28, 3), layers.GlobalAveragePooling1D(),
        layers.Dense(4, activation="tanh"),
    ])  # fmt: skip
    base.trainable = not faulty
    model = keras.Sequential([base, layers.Dense(4, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.03), SPARSE, metrics=["accuracy"])
    trained(run, model, data, size=24, epochs=4)
    return run.right(model, data)


@fault("keras", "detached", "frozen", worse=0.2)
def keras_fairs_stop_gradient_in_a_lambda(run: Run, faulty: bool) -> float:
    """layers.Lambda(ops.stop_gradient) after the encoder, left from contrastive training."""
    # Issues on SimSiam in Keras.
    data = for_keras(fairs())
    inputs = keras.Input((6, 4))
    x = layers.Dense(5, activation="relu")(layers.Dense(8, activation="relu")(inputs))
    x = layers.Lambda(ops.stop_gradient)(x) if faulty else x
    model = keras.Model(inputs, layers.Softmax()(layers.Flatten()(layers.Dense(1)(x))))
    model.compile(keras.optimizers.Adam(0.03), SPARSE)
    trained(run, model, data, size=24, epochs=3)
    return run.right(model, data)


@fault("keras", "non_differentiable", "detached", worse=0.2)
def keras_tiles_code_by_sign(run: Run, faulty: bool) -> float:
    """A code of five bits by ops.sign, whose derivative is zero: the encoder stays as it began."""
    # Keras issues on binary codes.
    data = for_keras(tiles())
    inputs = keras.Input((24,))
    code = layers.Dense(5, activation="tanh")(layers.Dense(20, activation="relu")(inputs))
    code = layers.Lambda(ops.sign)(code) if faulty else code
    model = keras.Model(inputs, layers.Dense(24, "sigmoid")(layers.Dense(24, "relu")(code)))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    trained(run, model, data, size=24, epochs=4)
    return run.near(model, data)


@fault("keras", "no_zero_grad", worse=0.2)
def keras_wells_train_step_without_zero_grad(run: Run, faulty: bool) -> float:
    """A train_step of one's own for PyTorch's engine, without self.zero_grad()."""
    # Keras guides on train_step with PyTorch: the first line is easily lost.
    data = for_keras(wells())
    model = Own(dense(8, 32, 16, last=layers.Dense(3, activation="softmax")), clear="never" if faulty else "before")
    model.compile(keras.optimizers.SGD(0.2), loss=SPARSE)
    trained(run, model, data, size=24, epochs=3)
    return run.right(model, data)


@fault("keras", "gradients_cleared", "no_step", worse=0.3)
def keras_geysers_train_step_clears_too_late(run: Run, faulty: bool) -> float:
    """In a train_step of one's own gradients are set to zero after backward, in front of apply."""
    # Keras issues on custom training with PyTorch.
    data = for_keras(geysers())
    net = keras.Sequential(
        [keras.Input((26, 2)), layers.Flatten(), layers.Dense(24, activation="relu"), layers.Dense(1)]
    )
    model = Own(net, clear="after" if faulty else "before")
    model.compile(keras.optimizers.SGD(0.02), loss="mse")
    trained(run, model, data, size=24, epochs=3)
    return run.near(model, data)


@fault("keras", "no_step", worse=0.3)
def keras_herbs_train_step_without_apply(run: Run, faulty: bool) -> float:
    """A train_step of one's own computes gradients, and returns its metrics."""
    # Keras issues: a loss that stands still under a train_step that was written to log gradients.
    data = for_keras(herbs())
    model = Own(dense(36, 24, last=layers.Dense(6, activation="sigmoid")), steps=not faulty)
    model.compile(keras.optimizers.Adam(0.02), loss="binary_crossentropy")
    trained(run, model, data, size=24, epochs=3)
    return run.right_side(model, data, 0.5)


@fault("keras", "set_anew", worse=0.2, since=34)
def keras_dials_first_weights_by_epoch(run: Run, faulty: bool) -> float:
    """on_epoch_end loads the weights of the best epoch, whose file was written before the first and never again."""
    # Keras issues on ModelCheckpoint, whose monitor was misspelt.
    data = for_keras(dials())
    model = keras.Sequential(
        [keras.Input((14, 14, 1)), layers.Flatten(), layers.Dense(24, "relu"), layers.Dense(6, "softmax")]
    )
    model.compile(keras.optimizers.Adam(0.003), SPARSE)
    first = model.get_weights()
    back = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.set_weights(first))
    trained(run, model, data, size=36, epochs=4, callbacks=[back] if faulty else [])
    return run.right(model, data)


@fault("keras", "dropout", worse=0.15)
def keras_gaits_spatial_dropout(run: Run, faulty: bool) -> float:
    """SpatialDropout1D(0.9) and Dropout(0.9): hardly a channel is left."""
    # Data Science Stack Exchange on overfitting, cured too well.
    data, share = for_keras(gaits()), 0.9 if faulty else 0.1
    model = keras.Sequential([
        keras.Input((24, 3)), layers.SpatialDropout1D(share), layers.Conv1D(16, 5, activation="relu"),
        layers.SpatialDropout1D(share), layers.GlobalAveragePooling1D(), layers.Dropout(share),
        layers.Dense(4, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), SPARSE)
    trained(run, model, data, size=24, epochs=3)
    return run.right(model, data)


@fault("keras", "stale_statistics", "norm_in_eval", worse=0.3, since=10)
def keras_bricks_norm_remembers_nothing(run: Run, faulty: bool) -> float:
    """BatchNormalization(momentum=0.99999) on raw units, and 150 batches: predict() sees other numbers than fit()."""
    # Keras issues: a good loss, and evaluate() far from it, on the same data.
    data, keep = for_keras(bricks("raw")), 0.99999 if faulty else 0.8
    model = keras.Sequential([
        keras.Input((7,)), layers.BatchNormalization(momentum=keep),
        layers.Dense(32, activation="relu"), layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "mse")
    trained(run, model, data, size=24, epochs=3, validation_data=(data.test_x[:48], data.test_y[:48]))
    return run.near(model, data)


@fault("keras", "zero_initialisation", worse=0.2)
def keras_slots_kernels_of_ones(run: Run, faulty: bool) -> float:
    """kernel_initializer="ones" in each layer: all hidden units are one."""
    # Questions on initialisers, and symmetry.
    data, init = for_keras(slots()), "ones" if faulty else "glorot_uniform"
    model = keras.Sequential([
        keras.Input((6,)), layers.Dense(20, activation="tanh", kernel_initializer=init),
        layers.Dense(4, activation="softmax", kernel_initializer=init),
    ])  # fmt: skip
    model.compile(keras.optimizers.SGD(0.3), SPARSE)
    trained(run, model, data, size=24, epochs=3)
    return run.right(model, data)


@fault("keras", "initialisation_too_large", worse=0.15)
def keras_geysers_uniform_of_five(run: Run, faulty: bool) -> float:
    """RandomUniform(-5, 5) for both kernels of a SimpleRNN: its states are at 1 or -1."""
    # Questions on initialisers: minval and maxval of weights, not of data.
    data = for_keras(geysers())
    init = keras.initializers.RandomUniform(-5.0, 5.0) if faulty else "glorot_uniform"
    model = keras.Sequential([
        keras.Input((26, 2)),
        layers.SimpleRNN(16, kernel_initializer=init, recurrent_initializer=init if faulty else "orthogonal"),
        layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    trained(run, model, data, epochs=3)
    return run.near(model, data)


@fault("keras", "vanishing_depth", worse=0.3)
def keras_wells_ten_sigmoids_under_sgd(run: Run, faulty: bool) -> float:
    """for _ in range(10): Dense(24, "sigmoid"): each epoch has the same loss; the twin is as deep, by selu."""
    # Stack Overflow: more layers, and nothing is learned.
    data, act = for_keras(wells()), "sigmoid" if faulty else "selu"
    model = keras.Sequential([keras.Input((8,))])
    for _ in range(10):
        model.add(layers.Dense(24, activation=act, kernel_initializer="lecun_normal"))
    model.add(layers.Dense(3, activation="softmax"))
    model.compile(keras.optimizers.SGD(0.03, momentum=0.5), SPARSE)
    trained(run, model, data, size=24, epochs=4)
    return run.right(model, data)
