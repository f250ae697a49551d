"""Keras 3 on JAX or PyTorch (KERAS_BACKEND): one callback. Trains on scikit-learn's digits and finds a dead layer."""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
from sklearn.datasets import load_digits

from fastact.keras import ActivationCallback

x, y = load_digits(return_X_y=True)
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.layers.Input((64,)),
        keras.layers.Dense(64, activation="relu", name="hidden1"),
        # The mistake that fastact is to find.
        keras.layers.Dense(64, activation="relu", bias_initializer=keras.initializers.Constant(-10), name="hidden2"),
        keras.layers.Dense(10, name="output"),
    ]
)
model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
callback = ActivationCallback(sys.argv[1] if sys.argv[1:] else "runs/keras")
model.fit(x / 16, y, batch_size=128, epochs=4, validation_split=0.2, verbose=0, callbacks=[callback])
print(callback.monitor.diagnose())
