"""Keras records losses and targets by itself: what the user compiled, on what the user gave, on both backends."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from frameworks import run_keras

BACKENDS = ("jax", "torch")


def _run(backend: str) -> Any:
    return json.loads(run_keras(_PROGRAMS, backend).stdout)


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    """What the programs below had recorded, by backend; both run at once."""
    pytest.importorskip("keras", reason="Keras is not installed")
    with ThreadPoolExecutor() as pool:
        return dict(zip(BACKENDS, pool.map(_run, BACKENDS), strict=True))


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest, runs: dict[str, Any]) -> Any:
    return runs[request.param]


def test_one_loss_is_recorded_with_the_targets_as_they_were_given(run: Any) -> None:
    rows = run["one"]["rows"]
    assert list(rows) == ["input", "hidden", "out", "loss:target", "loss", "loss:baseline", "optimiser"]
    assert rows["loss"]["source"] == "out"
    assert (rows["out"]["layer_type"], rows["out"]["source"]) == ("Softmax", "hidden")
    assert rows["hidden"]["facts"] == {"layer": "Dense", "trainable": False}
    facts = rows["loss"]["facts"]
    prediction = facts.pop("prediction")
    assert facts == {
        "function": "binary_cross_entropy",
        "spelled": "binary_crossentropy",
        "framework": "keras",
        "reduction": "mean",
        "weighted": False,
        "squeezes": True,
        "metrics": ["accuracy", "auc"],
        "steps": 2,
    }
    assert (prediction["shape"], prediction["units"], prediction["sums_to_one"]) == ([8, 1], 1, True)
    target = rows["loss:target"]["facts"]
    assert (target["shape"], target["distinct"]) == ([8], [0.0, 1.0])


def test_it_is_the_loss_that_is_trained_by_and_no_validation_is_in_it(run: Any) -> None:
    loss = run["one"]["rows"]["loss"]["mean"]
    assert len(loss) == 4
    assert sum(loss[2:]) / 2 == pytest.approx(run["one"]["history"]["loss"][-1], rel=1e-5)


def test_the_learning_rate_of_each_step_is_recorded_and_what_is_not_trained_is_known(run: Any) -> None:
    optimiser = run["one"]["rows"]["optimiser"]
    assert optimiser["mean"] == pytest.approx([0.1, 0.05, 0.025, 0.0125])
    facts = optimiser["facts"]
    assert (facts["function"], facts["momentum"], facts["missing"]) == ("SGD", 0.5, [])
    assert facts["frozen"] == ["hidden/kernel", "hidden/bias"]
    assert (facts["parameters"], facts["trainable"], facts["elements"]) == (2, 2, 6)


def test_the_first_batch_of_inputs_is_looked_at(run: Any) -> None:
    facts = run["one"]["rows"]["input"]["facts"]
    assert (facts["shape"], facts["features"], facts["constant_features"]) == ([8, 4], 4, 0)


def test_each_output_has_a_loss_of_its_own(run: Any) -> None:
    rows = run["two"]["rows"]
    losses = {name: row["facts"] for name, row in rows.items() if row["layer_type"] == "Loss"}
    assert {name: facts["function"] for name, facts in losses.items()} == {
        "loss.reg": "mean_squared_error",
        "loss.cls": "sparse_categorical_crossentropy_of_logits",
    }
    assert {name: rows[name]["source"] for name in losses} == {"loss.reg": "reg", "loss.cls": "act"}
    # A penalty on weights is no part of the rows, and said to be there.
    assert all(facts["added"] == 1 and facts["weighted"] for facts in losses.values())
    assert rows["act"]["layer_type"] == "Softmax"
    assert not any(row["layer_type"] == "Baseline" for row in rows.values())


def test_a_loss_of_the_model_s_own_has_no_function(run: Any) -> None:
    loss = run["own"]["rows"]["loss"]
    assert (loss["source"], loss["facts"]["function"], loss["facts"]["spelled"]) == ("last", "", "compute_loss")
    assert run["own"]["unseen"] == {}


def test_a_loss_that_nobody_sees_is_said_to_be_unseen(runs: dict[str, Any]) -> None:
    step = runs["torch"]["step"]
    assert not any(name.startswith("loss") for name in step["rows"])
    assert "train_step" in step["unseen"]["loss"]


def test_losses_that_a_train_step_calls_by_itself_are_recorded(runs: dict[str, Any]) -> None:
    called = runs["torch"]["called"]
    losses = {name: row for name, row in called["rows"].items() if row["layer_type"] == "Loss"}
    assert {name: row["facts"]["function"] for name, row in losses.items()} == {
        "loss": "mean_squared_error", "loss:2": "",
    }  # fmt: skip
    assert all(row["source"] == "last" and len(row["mean"]) == 3 for row in losses.values())
    assert called["unseen"] == {}


def test_what_a_loss_takes_is_known_from_how_it_is_spelled(runs: dict[str, Any]) -> None:
    known = runs["jax"]["known"]
    assert {spelled: function for spelled, (function, _) in known.items()} == {
        "CategoricalCrossentropy": "categorical_crossentropy_of_logits",
        "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
        "BinaryCrossentropy": "binary_cross_entropy_with_logits",
        "KLDivergence": "kl_divergence_of_probabilities",
        "hinge": "hinge",
        "Huber": "huber",
        "Poisson": "poisson_nll",
        "mean_squared_error": None,
        "Own": None,
    }
    facts = {spelled: facts for spelled, (_, facts) in known.items()}
    assert facts["CategoricalCrossentropy"]["weighted"]
    assert facts["SparseCategoricalCrossentropy"]["ignore_index"] == 0
    assert facts["BinaryCrossentropy"]["reduction"] == "sum"
    assert facts["hinge"]["converts"] is True
    assert (facts["mean_squared_error"]["squeezes"], facts["Own"]["squeezes"]) == (True, False)


_PROGRAMS = """
import functools, json, sys, warnings
import keras, numpy as np, fastact, fastact.keras, fastact.losses
from fastact.keras.losses import known_of

warnings.simplefilter("ignore", UserWarning)  # Keras sees the softmax over one unit, too
L, torch_runs = keras.layers, keras.backend.backend() == "torch"
rng = np.random.default_rng(0)
x, number = rng.standard_normal((24, 4)).astype("float32"), rng.standard_normal(24).astype("float32")
yes, label = np.arange(24) % 2, np.arange(24) % 3
result = {}

def fit(name, model, y, epochs=1, **options):
    monitor = fastact.ActivationMonitor()
    callback = fastact.keras.ActivationCallback(monitor, weights=False, gradients=False, updates=False, strict=True)
    history = model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, shuffle=False, callbacks=[callback], **options)
    rows = {n: {"layer_type": h.info.layer_type, "source": h.info.source, "facts": dict(h.info.facts),
                "mean": h["mean"].tolist()} for n, h in monitor.history.items()}
    assert "compute_loss" not in vars(model)
    result[name] = {"rows": rows, "unseen": monitor.unseen, "history": history.history}

keras.utils.set_random_seed(0)
one = keras.Sequential([keras.Input((4,)), L.Dense(5, "relu", name="hidden"), L.Dense(1, "softmax", name="out")])
one.layers[0].trainable = False
rate = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=1, decay_rate=0.5)
metrics = ["accuracy", keras.metrics.AUC(name="auc")]
one.compile(keras.optimizers.SGD(rate, momentum=0.5), "binary_crossentropy", metrics=metrics)
fit("one", one, yes, epochs=2, validation_split=1 / 3)

inputs = keras.Input((4,))
hidden = L.Dense(5, "tanh", kernel_regularizer="l2")(inputs)
outputs = {"reg": L.Dense(1, name="reg")(hidden), "cls": L.Activation("softmax", name="act")(L.Dense(3)(hidden))}
two = keras.Model(inputs, outputs)
two.compile("sgd", {"reg": "mse", "cls": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})
fit("two", two, {"reg": number, "cls": label}, sample_weight={"reg": np.ones(24), "cls": np.ones(24)})

class Own(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.abs(y - y_pred[:, 0]))

own = Own(inputs, L.Dense(1, name="last")(hidden))
own.compile("sgd")
fit("own", own, number)

if torch_runs:
    class Step(keras.Model):
        def train_step(self, data):
            self.zero_grad()
            loss = ((self(data[0])[:, 0] - data[1]) ** 2).mean()
            loss.backward()
            return {"loss": loss}

    step = Step(inputs, L.Dense(1, name="last")(hidden))
    step.compile("sgd", "mse")
    fit("step", step, number)

if torch_runs:
    class Twice(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return 2.0 * keras.losses.Huber()(y_true, y_pred)

    squares, twice, call = keras.losses.MeanSquaredError(), Twice(), keras.losses.Loss.__call__

    class Called(keras.Model):
        def train_step(self, data):
            self.zero_grad()
            answers = self(data[0])
            loss = squares(data[1], answers) + twice(data[1], answers)
            loss.backward()
            return {"loss": loss}

    model = Called(inputs, L.Dense(1, name="last")(hidden))
    model.compile("sgd")
    fit("called", model, number[:, None])
    assert keras.losses.Loss.__call__ is call and "train_step" not in vars(model)

def mean_squared_error(y_true, y_pred):
    return 2 * keras.losses.mean_squared_error(y_true, y_pred)

class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred - y_true

OwnLoss.__name__ = "Own"
wrapper = type(two._compile_loss._flat_losses[0].loss)
losses = [
    keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    keras.losses.SparseCategoricalCrossentropy(ignore_class=0),
    keras.losses.BinaryCrossentropy(from_logits=True, reduction="sum"),
    keras.losses.KLDivergence(), wrapper(functools.partial(keras.losses.hinge)), keras.losses.Huber(),
    keras.losses.Poisson(), wrapper(mean_squared_error), OwnLoss(),
]
known = [known_of(loss) for loss in losses]
found = [fastact.losses.find(each.function) for each in known]
result["known"] = {each.facts["spelled"]: (loss and loss.name, each.facts) for each, loss in zip(known, found)}
print(json.dumps(result))
"""
