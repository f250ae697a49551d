"""Two networks that should play against each other, and want the same."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence import baselines
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.network import LayerView, Network
from fastact.text import number

#: Rows for which all losses are next to nothing, and the most that is: one that guesses has 0.69.
_ROWS: Final = 20
_NOTHING: Final = 0.05
#: Losses of a game: of what is real, of what is made up, and of what is to be taken for real.
_LEAST: Final = 3


def want_the_same(s: Supervised, network: Network) -> Mismatch | None:
    """Losses of two players that are all next to nothing at once.

    A generator is to have its samples called real, and a discriminator is to call them made up: where the one's loss
    is small, the other's is large. Both are small where both ask for the same label.
    """
    if s.function is None or s.function.family != "binary" or s.target is None or not baselines.plays(network):
        return None
    names = {v.info.name.rpartition(".")[0] for v in network.typed(layer_types.OPTIMISER)}
    losses = baselines.losses(network)
    own = [view for view in losses if not view.info.facts.get("part")]
    if len(names) < 2 or len(own) < _LEAST or s.loss is not _last_of(own, s.loss):
        return None
    labels = []
    for view in own:
        if len(view.rows) < _ROWS or not (view.rows["mean"][-_ROWS:] <= _NOTHING).all():
            return None
        wanted = baselines.targets(view, network)
        if wanted is None:
            continue  # a sum of others
        rows = wanted.rows
        if not ((rows["min"] == rows["max"]) & (rows["min"] == rows["min"][0])).all():
            return None
        labels.append(float(rows["min"][0]))
    if len(labels) < _LEAST or len(set(labels)) != 2 or float(s.target.rows["min"][0]) != max(labels, key=labels.count):
        return None
    most = max(float(view.rows["mean"][-_ROWS:].max()) for view in own)
    what = f"all {len(own)} losses of both players have been at most {number(most)} in the last {_ROWS} rows"
    says = (
        "The loss compares made samples with the same label for both players: the generator is asked to be found out, "
        "and nobody plays against anybody."
    )
    fix = (
        "give the generator's loss the label of real samples: criterion(critic(fake), ones)",
        "where it is right, make the critic weaker: a loss of nothing teaches nothing",
    )
    return Mismatch("wrong_loss", "serious", what, says, fix, (what,))


def _last_of(losses: list[LayerView], loss: LayerView) -> LayerView:
    """The last one of those of the same model: the players' turns come in order."""
    prefix = loss.info.name.rpartition(".")[0]
    return [view for view in losses if view.info.name.rpartition(".")[0] == prefix][-1]
