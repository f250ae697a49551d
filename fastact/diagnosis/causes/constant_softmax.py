"""Softmaxes whose answer is foregone: over one element, or of one class for every sample."""

from fastact.diagnosis.causes import peaked_softmax
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.causes.inputs import far_inputs
from fastact.diagnosis.causes.remedies import LOWER_RATE
from fastact.diagnosis.evidence import data_shift
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity, graded
from fastact.diagnosis.network import LayerView, Network


def over_one(layer: LayerView, network: Network, rows: int) -> Finding | None:
    """The finding for a softmax over an axis of length one, in each of at least `rows` rows."""
    streak = layer.streaks.get("of_one")
    if streak is None or streak.rows < rows or streak.step > layer.start:
        return None
    # Attention to a memory of one place is of no use, and none to worry about either; and a sample that goes to one
    # expert gets its answer, though nothing teaches the router.
    router = layer.place < network.output and peaked_softmax.is_router(layer, network)
    harmless = layer.info.layer_type == "MultiheadAttention" or router
    severity: Severity = NOTE if harmless else graded(serious=True, critical=layer.place >= network.output)
    value = 0 if layer.info.layer_type == "LogSoftmax" else 1
    evidence = Evidence(constant_ratio=1.0, value=value, outputs=int(layer.rows[-1]["count"]))
    message = f"{layer.name} has been constant since step {layer.start}: every output is {value}, whatever comes in."
    cause = "The softmax runs over an axis of length one, so that each output is divided by itself."
    remedies: tuple[str, ...] = (
        "check the dimension that the softmax runs over",
        "for one output unit, use a sigmoid with binary cross-entropy, or two units with softmax",
    )
    if router:
        cause += " It weights the one expert that was chosen, and hands the router no gradient."
        remedies = ("take the softmax over all experts before the best one is chosen, as Switch Transformers do",)
    said = (f"the smallest and the largest output were exactly {value} in every row",)
    proved = Cause("softmax_of_one", cause, remedies, said, proved=True)
    return best([proved]).finding(layer.info.name, "constant", severity, layer.start, evidence, message)


def one_class(layer: LayerView, network: Network, rows: int) -> Finding | None:
    """The finding for a softmax at the end that is sure of one and the same class, whatever comes in."""
    streak = layer.streaks.get("one_class")
    within = layer.place < network.output
    if streak is None or streak.rows < rows or (within and not peaked_softmax.is_router(layer, network)):
        return None
    last = layer.rows[-1]
    evidence = Evidence(constant_ratio=1.0, within_std=float(last["within_std"]), std=float(last["std"]))
    if within:
        message = (
            f"{layer.name} has been constant since step {streak.step}: it chooses one expert for every sample, and no "
            "other has a weight."
        )
        verdict = best([peaked_softmax.router_cause(layer, network)])
        return verdict.finding(layer.info.name, "constant", "serious", streak.step, evidence, message)
    message = f"{layer.name} has been constant since step {streak.step}: it is sure of one class for every sample."
    one = "The outputs before the softmax no longer depend on the input."
    remedies = "check that a batch has samples of several classes", LOWER_RATE
    refuted = data_shift.not_by_an_update(layer, network, streak.step).refuted_by
    rate = Cause("learning_rate", f"An update was too large. {one}", (LOWER_RATE,), (), refuted)
    far = far_inputs(network, f"so that updates throw the outputs far. {one}", ())
    told = best([rate, *far], remedies)
    return told.finding(layer.info.name, "constant", "serious", streak.step, evidence, message)
