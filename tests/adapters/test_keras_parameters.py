"""Keras records weights, gradients and updates around its optimiser's steps, in a loop of fit's and of one's own."""

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


def _of(rows: Any, layer_type: str) -> dict[str, Any]:
    return {name: row for name, row in rows.items() if row["layer_type"] == layer_type}


def test_weights_gradients_and_updates_have_rows_at_each_step_of_the_optimiser(run: Any) -> None:
    rows = run["fit"]["rows"]
    trained = ["norm/gamma", "norm/beta", "out/kernel", "out/bias"]
    assert list(_of(rows, "Parameter")) == ["still/kernel", "still/bias", *trained]
    assert list(_of(rows, "ParameterGradient")) == [f"{name}:grad" for name in trained]
    assert list(_of(rows, "Update")) == [f"{name}:update" for name in trained]
    assert all(rows[f"{name}{end}"]["step"] == [0, 1, 2] for name in trained for end in ("", ":grad", ":update"))


def test_what_is_frozen_is_recorded_once_and_told_so(run: Any) -> None:
    rows = run["fit"]["rows"]
    assert rows["still/kernel"]["step"] == [0]
    facts = rows["still/kernel"]["facts"]
    assert (facts["trainable"], facts["optimiser"], facts["gradient"]) == (False, False, False)
    facts = rows["out/kernel:update"]["facts"]
    assert (facts["trainable"], facts["optimiser"], facts["gradient"]) == (True, True, True)
    assert (facts["layer"], facts["shape"], facts["elements"], facts["sampled"]) == ("out", [16, 2], 32, 32)
    facts = rows["optimiser"]["facts"]
    assert (facts["frozen"], facts["frozen_elements"], facts["elements"]) == (["still/kernel", "still/bias"], 64, 66)
    assert facts["untrained"] == facts["frozen"]


def test_an_update_is_what_a_step_has_added_and_a_gradient_what_it_was_given(run: Any) -> None:
    rows = run["fit"]["rows"]
    before, added, gradient = (rows[f"out/kernel{end}"] for end in ("", ":update", ":grad"))
    for now, plus, then in zip(before["mean"], added["mean"], before["mean"][1:], strict=False):
        assert then == pytest.approx(now + plus, abs=1e-7)
    for plus, slope in zip(added["extent"], reversed(gradient["extent"]), strict=True):
        assert plus == pytest.approx(-0.5 * slope, abs=1e-7)  # plain descent
    assert before["neurons"] == 2
    assert max(map(abs, added["extent"])) > 1e-3


def test_a_loop_of_one_s_own_of_a_model_that_is_built_in_its_first_step(run: Any) -> None:
    rows = run["loop"]["rows"]
    assert set(_of(rows, "Update")) == {f"{layer}/{own}:update" for layer in "ab" for own in ("kernel", "bias")}
    assert rows["b/kernel:update"]["step"] == [0, 2]  # parameters_every=2
    assert len(rows["loss"]["step"]) == 3
    assert rows["loss"]["source"] == "b"
    assert rows["optimiser"]["facts"]["parameters"] == 4
    assert rows["optimiser"]["extent"] == pytest.approx([0.01, 0.5])  # the rates of both
    assert rows["optimiser"]["step"] == [0, 1, 2]


def test_training_is_what_it_would_be_without_us(runs: dict[str, Any]) -> None:
    assert runs["torch"]["fit"]["loss"] == runs["torch"]["plain"]


def test_gradients_that_are_accumulated_count_where_weights_change(runs: dict[str, Any]) -> None:
    rows = runs["torch"]["piled"]["rows"]
    assert rows["out/kernel:update"]["step"] == [1, 5]  # of 1, 3, 5
    assert min(rows["out/kernel:update"]["std"]) > 0.0


def test_the_weights_of_both_directions_are_told_apart(runs: dict[str, Any]) -> None:
    names = _of(runs["torch"]["piled"]["rows"], "Parameter")
    kernels = [name for name in names if name.endswith("/kernel")]
    assert kernels == ["both/kernel", next(name for name in names if "backward" in name), "out/kernel"]
    assert len(names) == 8


def test_an_output_without_a_loss_has_no_gradient(runs: dict[str, Any]) -> None:
    rows, unseen = runs["torch"]["spare"]["rows"], runs["torch"]["spare"]["unseen"]
    assert rows["optimiser"]["facts"]["without_gradient"] == ["spare/kernel", "spare/bias"]
    assert set(unseen) == {"spare/kernel:grad", "spare/bias:grad"}
    assert rows["spare/kernel:update"]["std"] == [0.0]
    assert rows["spare/kernel"]["facts"]["gradient"] is False


def test_what_was_trained_is_told_from_what_was_drawn(runs: dict[str, Any]) -> None:
    drawn = runs["torch"]["drawn"]
    assert drawn == {name: [True, False] for name in drawn}
    assert len(drawn) == 8


_PROGRAMS = """
import json, sys, warnings
import keras, numpy as np, fastact, fastact.keras

warnings.simplefilter("ignore", UserWarning)  # Keras sees an output without a gradient, too
L, torch_runs = keras.layers, keras.backend.backend() == "torch"
rng = np.random.default_rng(0)
x, label = rng.standard_normal((6, 4, 3)).astype("float32"), np.arange(6) % 2
result = {}

def keep(name, monitor, **others):
    rows = {n: {"layer_type": h.info.layer_type, "source": h.info.source, "facts": dict(h.info.facts),
                "step": h["step"].tolist(), "mean": h["mean"].tolist(), "std": h["std"].tolist(),
                "neurons": int(h["neurons"][0]), "extent": [float(h["min"][0]), float(h["max"][0])]}
            for n, h in monitor.history.items()}
    result[name] = {"rows": rows, "unseen": monitor.unseen, **others}

def watched(every):
    monitor = fastact.ActivationMonitor()
    return monitor, fastact.keras.ActivationCallback(
        monitor, parameters_every=every, strict=True)

def fit(model, callbacks, y=label, size=2):
    options = {"batch_size": size, "verbose": 0, "shuffle": False, "callbacks": callbacks}
    return model.fit(x, y, **options).history["loss"]

def compiled(optimiser, *layers):
    model = keras.Sequential([keras.Input((4, 3)), *layers, L.Dense(2, "softmax", name="out")])
    model.compile(optimiser, "sparse_categorical_crossentropy")
    return model

def simple():
    keras.utils.set_random_seed(0)
    layers = L.GlobalAveragePooling1D(), L.Dense(16, "tanh", name="still", trainable=False)
    return compiled(keras.optimizers.SGD(0.5), *layers, L.BatchNormalization(name="norm"))

monitor, callback = watched(1)
model = simple()
keep("fit", monitor, loss=fit(model, [callback]))
assert "apply" not in vars(model.optimizer)

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = L.Dense(3, "relu", name="a"), L.Dense(2, "softmax", name="b")
    def call(self, x):
        return self.b(self.a(x))

adam, descent = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.5)
model = Own()
model.compile(keras.optimizers.MultiOptimizer(lambda weight: adam if "a/" in weight.path else descent),
              "sparse_categorical_crossentropy")
monitor, callback = watched(2)
callbacks = keras.callbacks.CallbackList([callback], model=model)
callbacks.on_train_begin()
for batch in range(3):
    model.train_on_batch(x[2 * batch: 2 * batch + 2, 0], label[2 * batch: 2 * batch + 2])
    callbacks.on_train_batch_end(batch)
callbacks.on_train_end()
keep("loop", monitor)

if torch_runs:  # what is the same on both
    result["plain"] = fit(simple(), [])
    monitor, callback = watched(2)
    both = L.Bidirectional(L.SimpleRNN(2, name="rnn"), name="both")
    fit(compiled(keras.optimizers.Adam(0.01, gradient_accumulation_steps=2), both), [callback], size=1)
    keep("piled", monitor)
    inputs = keras.Input((4, 3))
    flat = L.Flatten()(inputs)
    outputs = {"out": L.Dense(2, "softmax", name="out")(flat), "spare": L.Dense(2, name="spare")(flat)}
    model = keras.Model(inputs, outputs)
    model.compile("adam", {"out": "sparse_categorical_crossentropy"})
    monitor, callback = watched(9)
    fit(model, [callback], {"out": label})
    keep("spare", monitor)
    from fastact.keras.initial import is_untrained

    def kinds(layer, *shape):  # as it was built, and with each weight moved by a little
        layer.build((None, *shape))
        def known():
            parts = [part for part in layer._flatten_layers() if part._trainable_variables]
            return all(is_untrained(part, part._trainable_variables) for part in parts)
        before = known()
        for variable in layer.trainable_variables:
            variable.assign(variable.value + 0.01 * keras.ops.sign(variable.value + 1e-9))
        return [before, known()]

    result["drawn"] = {
        "dense": kinds(L.Dense(16), 8), "he": kinds(L.Dense(16, kernel_initializer="he_normal"), 8),
        "images": kinds(L.Conv2D(4, 3), 5, 5, 2), "words": kinds(L.Embedding(50, 4)),
        "lstm": kinds(L.LSTM(4), 5, 3), "gru": kinds(L.GRU(4), 5, 3), "both": kinds(L.Bidirectional(L.LSTM(4)), 5, 3),
        "apart": kinds(L.SeparableConv1D(8, 3), 5, 4),
    }
print(json.dumps(result))
"""
