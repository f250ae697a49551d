"""Settings that every test shares."""

import os

from hypothesis import settings

# Keras asks for TensorFlow unless it is told otherwise.
os.environ.setdefault("KERAS_BACKEND", "jax")

# No test is timed: these machines are shared.
settings.register_profile("fastact", deadline=None)
settings.load_profile("fastact")
