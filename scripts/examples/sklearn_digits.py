"""scikit-learn: a function beside `partial_fit`. Trains an MLPClassifier on the digits and finds a dead layer."""

import sys

from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import fastact
import fastact.sklearn

x, y = load_digits(return_X_y=True)
x /= 16
model = MLPClassifier(hidden_layer_sizes=(64, 64), learning_rate_init=0.003, random_state=0)
with fastact.ActivationMonitor(sys.argv[1] if sys.argv[1:] else "runs/sklearn") as monitor:
    for epoch in range(60):
        model.partial_fit(x, y, classes=range(10))
        if epoch == 0:
            model.intercepts_[1][:] = -10.0  # the mistake that fastact is to find
        fastact.sklearn.record(monitor, model, x[:256], y[:256])
        monitor.step()
    print(monitor.diagnose())
