"""A loop without a framework: `record` and `step`. Trains on scikit-learn's digits in NumPy and finds a dead layer."""

import sys

import numpy as np
from sklearn.datasets import load_digits

import fastact

run = sys.argv[1] if sys.argv[1:] else "runs/numpy"
x, y = load_digits(return_X_y=True)
x = (x / 16).astype(np.float32)
random = np.random.default_rng(1)
weights = [random.standard_normal((n, m), np.float32) * (2 / n) ** 0.5 for n, m in [(64, 64), (64, 64), (64, 10)]]
biases = [np.zeros(weight.shape[1], np.float32) for weight in weights]
biases[1][:] = -10.0  # the mistake that fastact is to find

with fastact.ActivationMonitor(run) as monitor:
    for _ in range(60):
        batch = random.integers(len(x), size=128)
        inputs, h = [], x[batch]
        for place, (weight, bias) in enumerate(zip(weights, biases), 1):
            inputs.append(h)
            h = h @ weight + bias
            monitor.record(f"hidden{place}" if place < 3 else "output", h, axis=-1, layer_type="Linear")
            if place < 3:
                h = np.maximum(h, 0)
                monitor.record(f"act{place}", h, axis=-1, layer_type="ReLU")
        # Backwards, from the softmax: a step of gradient descent.
        h = np.exp(h - h.max(axis=1, keepdims=True))
        slope = (h / h.sum(axis=1, keepdims=True) - np.eye(10, dtype=np.float32)[y[batch]]) / len(batch)
        for place in (2, 1, 0):
            into = slope @ weights[place].T * (inputs[place] > 0)
            weights[place] -= 0.1 * inputs[place].T @ slope
            biases[place] -= 0.1 * slope.sum(axis=0)
            slope = into
        monitor.step()
    print(monitor.diagnose())
