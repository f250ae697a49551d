"""The layers of scikit-learn's networks are those that predict."""

import numpy as np
import pytest

import fastact.sklearn
from fastact import ActivationMonitor, ArgumentTypeError, ArgumentValueError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_layers_of_an_mlp_are_those_that_predict(rng: np.random.Generator, activation: str, sparse: bool) -> None:
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    import scipy.sparse

    x, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    model = neural_network.MLPRegressor(hidden_layer_sizes=(5, 3), activation=activation, random_state=0).partial_fit(
        x, y
    )
    monitor = ActivationMonitor()
    fastact.sklearn.record(monitor, model, scipy.sparse.csr_array(x) if sparse else x)
    monitor.step()
    history = monitor.history
    acts = [] if activation == "identity" else ["act1", "act2"]
    assert sorted(history) == sorted(["hidden1", "hidden2", "output", *acts])
    assert history["output"]["mean"][0] == pytest.approx(model.predict(x).mean())
    assert history["output"]["std"][0] == pytest.approx(model.predict(x).std())
    if acts:
        assert history["act1"].info.kind == {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}[activation]
        assert history["act2"]["neurons"][0] == 3


def test_sklearn_refuses_what_it_cannot_read() -> None:
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    monitor, x = ActivationMonitor(), np.ones((3, 2))
    with pytest.raises(ArgumentTypeError, match="model: got str, want an MLPClassifier or MLPRegressor"):
        fastact.sklearn.record(monitor, "model", x)
    model = neural_network.MLPRegressor(hidden_layer_sizes=(2,))
    with pytest.raises(ArgumentValueError, match="model: got an unfitted MLPRegressor"):
        fastact.sklearn.record(monitor, model, x)
    model.partial_fit(x, x[:, 0])
    with pytest.raises(ArgumentValueError, match=r"x: got shape \(3, 5\), want \(samples, 2\)"):
        fastact.sklearn.record(monitor, model, np.ones((3, 5)))
