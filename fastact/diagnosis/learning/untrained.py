"""Parameters that stay behind while others learn: left out of the optimiser, or without a gradient."""

import re
from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes import initial_weights
from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.evidence import baselines, updates
from fastact.diagnosis.evidence.initial_weights import copies, never_trained
from fastact.diagnosis.evidence.progress import progress
from fastact.diagnosis.finding import NOTE, Evidence, Finding, Severity
from fastact.diagnosis.learning import loops, norms, rates, reasons, resets, settings
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.rule import Outcome
from fastact.fields import COLUMN
from fastact.text import shown

_NEURONS: Final = COLUMN["neurons"]
#: The number of a layer among others, in its name.
_NUMBER: Final = re.compile(r"(?<![^.])\d+(?![^.])")
_FEW: Final = 2
#: Ratio of updates to weights at which a head on good features leaves a constant answer's loss in a few dozen steps.
_MOVES: Final = 3e-3
#: Rows after which features that are drawn at random, and serve, have shown it, and the share of a constant answer's
#: loss below which they have.
_SOON: Final = 16
_HARDLY: Final = 0.75
#: The same of rows after which good features have brought the loss down further.
_LONG: Final = 96
_SLOWLY: Final = 0.65
#: Rows of which the later half tells how a loss falls now.
_MANY: Final = 64
#: Share of a constant answer's loss that is much of what there is to learn.
_MUCH: Final = 0.1
#: The same of what requires gradients, gets them, and is in no optimiser: whoever leaves it as drawn at random on
#: purpose freezes it.
_FORGOTTEN: Final = 0.5
#: Share of a constant answer's loss below which all is well, whatever a setting is.
_WELL: Final = 0.25


def check(optimiser: LayerView, network: Network, condition: str, least: int, patience: int) -> Finding | Outcome:
    """What an optimiser leaves out of the model; of several optimisers, the first one tells.

    Args:
        optimiser: the optimiser's row.
        network: the group that it is in.
        condition: that of the rule.
        least: rows that it takes.
        patience: rows after which a loss should have left a constant answer's.
    """
    if optimiser.place:
        return Outcome.NOT_FOUND
    if (left := settings.stopped(network)) is not None:
        step, name, cause = left
        message = f"{shown(name, 40)} has made no step since step {step}, while another one goes on."
        return best([cause]).finding(name, condition, "serious", step, Evidence(), message)
    known = updates.parameters(network)
    losses = bool(network.typed(layer_types.LOSS))
    proofs = [cause for cause in reasons.proofs(network) if cause.proved]
    if proofs:  # that is the loss's finding, where there is one
        if losses or len(optimiser.rows) < least:
            return Outcome.NOT_FOUND if losses else Outcome.NOT_ENOUGH_DATA
        told = best(proofs)
        message = f"Nothing is learned since step {optimiser.start}: {told.cause.speaks_for[0]}."
        evidence = Evidence(parameters=known.total)
        return told.finding(optimiser.info.name, condition, "critical", optimiser.start, evidence, message)
    if len(optimiser.rows) < _FEW:
        return Outcome.NOT_ENOUGH_DATA
    if (alike := initial_weights.all_alike(network)) and baselines.hardly_learned(network, 1, 0.5):
        cause = initial_weights.symmetric(network)
        message = f"All units of a layer began alike at step {optimiser.start}, and learn alike: {updates.few(alike)}."
        told, evidence = best([cause._replace(proved=True)]), Evidence(parameters=len(alike))
        return told.finding(optimiser.info.name, condition, "warning", optimiser.start, evidence, message)
    if (cause_of_loop := loops.never_cleared(network)) is not None:
        severity: Severity = "serious" if baselines.hardly_learned(network, patience // 3) else "warning"
        message = f"Gradients have not been cleared between steps since step {optimiser.start}: they pile up."
        evidence = Evidence(parameters=known.total)
        return best([cause_of_loop]).finding(
            optimiser.info.name, condition, severity, optimiser.start, evidence, message
        )
    if (odd := _of_loop(optimiser, network, least)) is not None:
        step, message, cause = odd
        told, evidence = best([cause]), Evidence(parameters=known.total)
        return told.finding(optimiser.info.name, condition, "warning", step, evidence, message)
    if known.strays_inside and known.strays:
        (cause,) = (each for each in rates.causes(network) if each.name == "not_in_optimiser")
        message = (
            f"The model has used weights since step {optimiser.start} that no optimiser holds: {rates.hidden(network)}."
        )
        evidence = Evidence(parameters=known.strays, trainable=known.total)
        return best([cause._replace(proved=True)]).finding(
            optimiser.info.name, condition, "warning", optimiser.start, evidence, message
        )
    outside, drawn = known.outside, never_trained(known.frozen, network)
    if outside and (followers := copies(outside, network)):
        outside = tuple(name for name in outside if name not in followers)
    if outside:
        names, cause = outside, reasons.not_in_optimiser(known)
        what = "that no optimiser holds"
    elif known.without_gradient:
        names, cause = known.without_gradient, reasons.no_gradient(known)
        what = "that never get a gradient"
    elif drawn:
        names, cause = drawn, reasons.frozen_as_drawn(drawn, known)
        what = "that are frozen as they were drawn"
    elif known.zero_gradient and len(known.zero_gradient) < known.measured:
        names, cause = known.zero_gradient, rates.zero_gradients(known)
        what = "whose gradient is zero"
    else:
        return Outcome.NOT_FOUND
    # What learns moves as it should and gets nowhere: then what does not would have been needed.
    rows = patience // 3 if updates.moves(network).ratio > _MOVES else patience
    severity = "warning"
    if not baselines.hardly_learned(network, rows) or (names is drawn and _on_purpose(names, network)):
        seen = max(len(view.rows) for view in (optimiser, *baselines.losses(network)))
        if names is known.zero_gradient and not _comes_first(names, network, seen):
            return Outcome.NOT_FOUND  # gates that begin at zero, experts without a token, biases before a norm
        severity = _harm(names, network) if names not in (drawn, known.zero_gradient) else NOTE
        severity = "warning" if names is known.zero_gradient else severity
    if names is known.without_gradient and not set(names) - ends_of_stacks(names, network):
        severity = NOTE if severity == "warning" and baselines.is_learning(network) else severity
    elif severity == NOTE and names is not known.zero_gradient:
        severity = _of_untrained(names, known, network)
    if names is known.without_gradient and severity == NOTE and _chooses(names, network):
        severity = "warning"
    message = f"Parameters {what} have stayed as they were since step {optimiser.start}: {updates.few(names)}."
    evidence = Evidence(parameters=len(names), trainable=known.total)
    return best([cause._replace(proved=True)]).finding(
        optimiser.info.name, condition, severity, optimiser.start, evidence, message
    )


def _of_loop(optimiser: LayerView, network: Network, least: int) -> tuple[int, str, Cause] | None:
    """What a loop or a setting does to what is learned, with the step since which, and the sentence that says so."""
    if (reset := resets.set_anew(network)) is not None:
        step, cause = reset
        return step, f"What was learned has been lost since step {step}: the weights are set anew.", cause
    if (put_back := resets.restored(network)) is not None:
        step, cause = put_back
        return step, f"What was learned has been lost since step {step}: earlier weights are put back.", cause
    if (anew := resets.starts_over(network)) is not None:
        step, cause = anew
        return step, f"What was learned has been lost since step {step}: the weights are set anew.", cause
    if (idle := norms.idle(network)) is not None:
        step, name, cause = idle
        return step, f"{name} has normalised nothing since step {step}: it hands on what it is given.", cause
    if (rounded := settings.rounded_away(network)) is not None:
        return optimiser.start, f"Most of each step has been lost since step {optimiser.start}.", rounded
    if (cause_of_loop := loops.thrown_away(network)) is not None:
        return optimiser.start, f"Most gradients have been cleared unused since step {optimiser.start}.", cause_of_loop
    rows = len(optimiser.rows)
    if rows >= least and (odd := settings.momentum(network)) and not baselines.has_learned(network, _WELL):
        return optimiser.start, f"Steps have overshot since step {optimiser.start}: {odd.speaks_for[0]}.", odd
    if (
        rows >= _SOON
        and (sided := initial_weights.one_sided(network))
        and baselines.hardly_learned(network, _SOON, 0.5)
    ):
        (wide,) = (cause for cause in rates.causes(network) if cause.name == "one_sided_initialisation")
        what = f"All weights of {updates.few(sided)} began on one side of zero at step {optimiser.start}"
        return optimiser.start, f"{what}, and little is learned.", wide._replace(proved=True)
    return None


def _comes_first(names: tuple[str, ...], network: Network, rows: int) -> bool:
    """Whether whole layers never get a gradient, for many rows, and all that learns comes after them."""
    flat = {updates.layer_of(name, network) for name in names}
    graded = [
        name.removesuffix(layer_types.GRADIENT_SUFFIX)
        for name, view in network.everything.items()
        if view.info.layer_type == layer_types.PARAMETER_GRADIENT
    ]
    learns = {updates.layer_of(name, network) for name in graded if name not in names}
    places = {
        name: view.info.order
        for name, view in network.everything.items()
        if updates.weighs(view) and not view.info.mode
    }
    first = [places[name] for name in flat - learns if name in places]
    then = [places[name] for name in learns if name in places]
    return rows >= 2 * _SOON and bool(first) and bool(then) and max(first) < min(then)


def _chooses(names: tuple[str, ...], network: Network) -> bool:
    """Whether a layer chooses rows of a table for what comes after, which learns, and what it chooses by never does.

    An argmax has no gradient, so that the choice stays as it was drawn; an estimator that passes it by has one.
    """
    chosen = bool(network.typed(layer_types.USAGE))
    rows = max((len(view.rows) for view in baselines.losses(network)), default=0)
    return chosen and _comes_first(names, network, rows)


def ends_of_stacks(names: tuple[str, ...], network: Network) -> frozenset[str]:
    """Those of these parameters that are of the last of several layers in a row which are built alike.

    What the last of them hands on to a next one, such as the way past a block, has nowhere to go, and is used by
    nothing: that the others learn shows that the way back is not cut.
    """
    owners = {name: updates.layer_of(name, network) for name in names}
    found = set()
    for name, owner in owners.items():
        number = next(reversed(list(_NUMBER.finditer(owner))), None)
        if number is None:
            continue
        near = [f"{owner[: number.start()]}{int(number[0]) + by}{owner[number.end() :]}" for by in (-1, 1)]
        before, last = (network.everything.get(each) for each in (near[0], owner))
        if before is None or last is None or near[0] in owners.values() or near[1] in network.everything:
            continue
        if before.info.layer_type == last.info.layer_type and before.last[_NEURONS] == last.last[_NEURONS]:
            found.add(name)
    return frozenset(found)


def _of_untrained(names: tuple[str, ...], known: updates.Parameters, network: Network) -> Severity:
    """A warning for what was never trained by anyone: as it was drawn at random, and used by what learns.

    Whoever gives it to an optimiser wants it to learn. Features that are left as they are drawn on purpose are good
    enough to learn from: there the loss leaves a constant answer's soon.
    """
    if not never_trained(names, network):
        return NOTE
    frozen = bool(known.frozen) and set(names) <= set(known.frozen)
    if frozen and _on_purpose(names, network):
        return NOTE
    # What is frozen on purpose, to be thawed, stays so for a while.
    rows = 2 * _SOON if frozen else _SOON
    share = _FORGOTTEN if names and set(names) <= set(known.outside) else _HARDLY
    slow = baselines.hardly_learned(network, rows, share) or baselines.hardly_learned(network, _LONG, _SLOWLY)
    if names is known.without_gradient or slow:
        return "warning"
    return NOTE


def _on_purpose(names: tuple[str, ...], network: Network) -> bool:
    """Whether what is frozen as it was drawn serves: an adapter is trained beside it, or a head on it learns on."""
    modules = {updates.layer_of(each, network) for each in updates.parameters(network).held}
    head = any(name in modules and updates.weighs(view) for name, view in network.everything.items())
    return set(names) <= adapted(names, network) or (head and _harm(names, network) == NOTE and _falls_on(network))


def _falls_on(network: Network) -> bool:
    """Whether a loss still falls so fast that as many steps again would teach it much of what there is to learn.

    A head on features that were drawn at random, on purpose, learns all the time, if more slowly than a network.
    """
    known = [(view, worth) for view in baselines.losses(network) if (worth := baselines.constant(view, network))]
    for view, worth in known:
        values = view.rows["mean"]
        course = progress(values if len(values) < _MANY else values[len(values) // 2 :])
        if course is None or course.pace * max(len(values), _LONG) < _MUCH * worth:
            return False
    return bool(known)


def adapted(names: tuple[str, ...], network: Network) -> frozenset[str]:
    """Those of these parameters beside which an adapter is trained: weights of the same module that began at zero."""
    zero = {
        _parent(updates.layer_of(name, network))
        for name, view in network.everything.items()
        if view.info.layer_type == layer_types.PARAMETER
        and view.info.facts.get("trainable", True)
        and len(view.info.facts.get("shape", ())) > 1
        and view.oldest == view.start
        and view.rows["zeros"][0] >= view.rows["count"][0]
    }
    return frozenset(
        name
        for name in names
        if {updates.layer_of(name, network), _parent(updates.layer_of(name, network))} & (zero - {""})
    )


def _parent(module: str) -> str:
    return module.rpartition("/")[0] or module.rpartition(".")[0]


def _harm(names: tuple[str, ...], network: Network) -> Severity:
    """A note where only a head is trained on what comes before it, or what is left behind is used by nothing.

    Features that are kept and a new head on top are usual, and so are heads that one of several losses leaves out. A
    layer that is left behind others that learn before it is an oversight.
    """
    modules = {updates.layer_of(name, network) for name in names}
    places = {}
    for name, view in network.everything.items():
        if updates.weighs(view) and not view.info.mode:
            places[name] = view.info.order
    behind = [places[name] for name in places if name in modules]
    trained = [places[name] for name in places if name not in modules]
    return "warning" if behind and trained and max(behind) > min(trained) else NOTE
