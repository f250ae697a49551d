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


@pytest.mark.parametrize(
    ("kind", "classes", "function"),
    [
        ("MLPRegressor", 0, "mean_squared_error"),
        ("MLPClassifier", 2, "binary_cross_entropy_with_logits"),
        ("MLPClassifier", 3, "cross_entropy"),
    ],
)
def test_the_loss_is_recorded_where_the_targets_are_given(
    rng: np.random.Generator, kind: str, classes: int, function: str
) -> None:
    neural_network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    x = rng.standard_normal((60, 4))
    y = np.array(["a", "b", "c"])[np.arange(60) % classes] if classes else 3 * rng.standard_normal(60)
    model = getattr(neural_network, kind)(
        hidden_layer_sizes=(5,), learning_rate_init=0.01, alpha=0.0, random_state=0
    ).partial_fit(x, y, **({"classes": np.unique(y)} if classes else {}))
    monitor = ActivationMonitor()
    fastact.sklearn.record(monitor, model, x, y)
    monitor.step()
    history = monitor.history
    loss = history["loss"]
    assert (loss.info.source, loss.info.facts["function"]) == ("output", function)
    # The loss is summed up while the network is trained by it, so it is near that of what the network became.
    if classes:
        want = -np.log(model.predict_proba(x)[np.arange(60), [*map("abc".index, y)]]).mean()
    else:
        want = ((model.predict(x) - y) ** 2).mean()
    assert loss["mean"][0] == pytest.approx(want, rel=0.05)
    baseline = np.log(classes) if classes else y.var()
    assert history["loss:baseline"]["mean"][0] == pytest.approx(baseline)
    assert history["optimiser"]["mean"][0] == 0.01
    with pytest.raises(ArgumentValueError, match="y: got shape"):
        fastact.sklearn.record(monitor, model, x, y[:-1])
    if classes:
        with pytest.raises(ArgumentValueError, match=r"not in model\.classes_"):
            fastact.sklearn.record(monitor, model, x, np.full(60, "d"))
