"""Causes and remedies fit the layer and the network, for every rule; nothing that the network has."""

from synthetic import only, row, saturated, scaled, signals, watch


def test_no_remedy_that_the_network_has() -> None:
    norm = ("BatchNorm1d", [row(step) for step in range(10)])
    layer_norm = ("LayerNorm", [row(step) for step in range(10)])
    linear = ("Linear", [row(step) for step in range(10)])
    for sick in (("ReLU", [row(s, dead_neurons=60) for s in range(10)]), ("Tanh", saturated(0.9))):
        assert any("batch norm" in r for r in only({"0": sick, "1": linear}).remedies)
        assert not any("batch norm" in r for r in only({"0": sick, "1": norm}).remedies)
    explosion = ("Linear", scaled(*[10.0**i for i in range(9)]))
    assert any("layer norm" in r for r in only({"0": explosion, "1": norm}).remedies)
    assert not any("layer norm" in r for r in only({"0": explosion, "1": layer_norm}).remedies)
    for kind, has in (("Sigmoid", True), ("GELU", False)):
        culprit = watch(signals(0.5, 1e-6, 1e-9, layer_type=kind)).diagnose().culprits[0]
        assert any("ReLU family" in r for r in culprit.remedies) is has


def test_causes_and_remedies_fit_the_layer_and_the_network() -> None:
    dead = [row(s, dead_neurons=64, zeros=4096) for s in range(10)]
    relu, linear = only({"0": ("ReLU", dead)}), only({"0": ("Conv2d", dead)})
    assert any("leaky ReLU" in remedy for remedy in relu.remedies)
    assert not any("ReLU" in remedy for remedy in linear.remedies)
    assert "initialised or loaded" in linear.remedies[0]

    steps = range(40)
    fading = [row(s, within_std=0.9 if s < 20 else 1e-3) for s in steps]
    fed = watch(
        {"0": ("Linear", [row(s) for s in steps]), "1": ("Linear", fading), "2": ("LayerNorm", scaled(*[1] * 40))}
    )
    assert "keeps samples apart" in fed.diagnose().culprits[0].remedies[0]
    blank = watch({"1": ("Linear", [row(s, within_std=0.9 if s < 20 else 0.0) for s in steps]), "2": ("ReLU", fading)})
    assert "different samples in a batch" in blank.diagnose().culprits[0].remedies[0]

    for kind, words in (("Tanh", "Xavier"), ("ReLU", "He init"), ("Linear", "keeps the scale")):
        lost = watch(signals(0.5, 1e-6, 1e-9, layer_type=kind)).diagnose().culprits[0]
        assert words in " ".join(lost.remedies)

    bad = [row(s, nans=4) for s in range(3)]
    first, later = only({"0": ("Linear", bad)}), only({"0": ("ReLU", [row(0)]), "1": ("Linear", bad)})
    assert "check the data" in first.remedies[0]
    assert "epsilon" in later.remedies[0]
    own = only({"0": ("ReLU", [row(0)]), "1": ("Linear", [row(s, nans=64) for s in range(3)])})
    assert "Its weights held NaN" in own.cause
    assert "initialise its weights" in own.remedies[0]
