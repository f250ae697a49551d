"""The heat map of a report: its cells within so many bytes, its rows' names, and a picture that needs no script."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.report import Diagnosis
from fastact.heatmap.collect import Collection, Level, coarser, without
from fastact.heatmap.statistics import STATISTICS, Floats, Statistic
from fastact.history import LayerInfo
from fastact.html.colours import DIVERGING, SEQUENTIAL, png
from fastact.html.pack import Cells, Packed, deflated, pack
from fastact.html.scales import label, round_numbers, scale_of
from fastact.text import shown

#: How the groups of rows are called, in the order in which they are offered.
GROUP_NAMES: Final = {
    layer_types.LAYERS: "layers", layer_types.EVALUATION: "in evaluation", layer_types.GRADIENT: "gradients",
    layer_types.PARAMETER: "parameters", layer_types.PARAMETER_GRADIENT: "gradients of parameters",
    layer_types.UPDATE: "updates", layer_types.USAGE: "codebooks", layer_types.VOCABULARY: "vocabularies",
    layer_types.LOSSES: "losses", layer_types.LOSSES_IN_EVALUATION: "losses in evaluation",
    layer_types.OPTIMISER: "optimisers",
}  # fmt: skip
#: Statistics of single layers, where the map's rows are several.
_DETAIL: Final = ("rms", "mean", "absmax", "zero_ratio", "saturation_ratio", "non_finite_ratio", "dead_ratio", "signal")
#: Lengths of names, tried in turn until they fit.
_LENGTHS: Final = (160, 100, 64, 40, 24, 12)
_STATIC_ROWS: Final = 120
#: Statistics of what is no layer's output; the mean of gradients and the like is noise, of losses it is the loss.
_FEW: Final = frozenset({"rms", "zero_ratio", "non_finite_ratio"})
_WITH_MEAN: Final = frozenset({layer_types.LOSSES, layer_types.LOSSES_IN_EVALUATION, layer_types.OPTIMISER})
#: By how much a number may be off, tried in turn: twice that share of itself.
_PRECISIONS: Final = (0.004, 0.01, 0.03)


def group_name(info: LayerInfo) -> str:
    """The group of rows that a layer is shown in."""
    return GROUP_NAMES[layer_types.group_of(info.layer_type, info.mode)]


def picture(
    collection: Collection, diagnosis: Diagnosis, findings: Sequence[dict[str, Any]], room: int
) -> tuple[dict[str, Any], dict[str, Any], str, list[str]]:
    """What the script needs, the still picture, the cells in base64, and what was merged, a line each."""
    about, cut = _about(collection, diagnosis, room // 3)
    levels, packed = _fit(collection, room - len(about))
    place = {info.name: i for i, info in enumerate(collection.layers)}
    data = {
        "about": about,
        "statistics": [[each.name, each.kind, each.meaning] for each in _kept(levels)],
        "levels": packed.levels[: len(levels)],
        "losses": [] if collection.fine is None else [places[0] for places in collection.fine.rows],
        "fine": packed.levels[-1] if len(packed.levels) > len(levels) else None,
        "first": collection.first,
        "last": collection.last,
        "findings": [
            {
                "id": finding["id"], "number": finding["number"], "severity": finding["severity"],
                "layers": [place[name] for name in finding["layers"] if name in place][:200],
                "since": finding["since"], "statistic": finding["statistic"], "adjective": finding["adjective"],
            }
            for finding in findings
        ],
    }  # fmt: skip
    return data, _static(levels[0], collection, findings), packed.blob, _merged(levels, collection, cut)


def shows(info: LayerInfo, statistic: str) -> bool:
    """Whether a statistic says something of a layer: saturation of what has bounds; of parameters and the like a few.

    Example:
        >>> [shows(LayerInfo("a", 0, layer_type), "saturation_ratio") for layer_type in ("Linear", "Tanh")]
        [False, True]
    """
    group = layer_types.group_of(info.layer_type, info.mode)
    if group not in layer_types.OUTPUTS:
        return statistic in _FEW or (statistic == "mean" and group in _WITH_MEAN)
    return statistic != "saturation_ratio" or info.layer_type in layer_types.BOUNDED


def _indexed(texts: Sequence[str]) -> dict[str, Any]:
    """Texts of which many are the same: the different ones, and the place of each among them."""
    known = list(dict.fromkeys(texts))
    places = {text: i for i, text in enumerate(known)}
    return {"texts": known, "of": [places[text] for text in texts]}


def _about(collection: Collection, diagnosis: Diagnosis, room: int) -> tuple[str, int]:
    """What is known of each layer, deflated, in so many bytes; and the length that names were cut to, 0 where none was.

    That is JSON of names, types, groups and severities.
    """
    layers = collection.layers
    health = {layer.name: layer.severity for layer in diagnosis.layers}
    order = {name: i for i, name in enumerate(GROUP_NAMES.values())}
    groups = sorted({group_name(info) for info in layers}, key=order.__getitem__)
    facts: dict[str, Any] = {
        "kinds": _indexed([shown(info.layer_type, 40) for info in layers]),
        "groups": groups,
        "group": [groups.index(group_name(info)) for info in layers],
        "severity": _indexed([health.get(info.name, "") for info in layers]),
    }
    if len(collection.levels) > 1:
        row = {place: i for i, places in enumerate(collection.levels[0].rows) for place in places}
        facts["row"] = [row[place] for place in range(len(layers))]
    longest = max(len(info.name) for info in layers)
    for length in _LENGTHS:
        text = json.dumps(facts | {"layers": [shown(info.name, length) for info in layers]}, ensure_ascii=False)
        found = deflated(text.encode())
        if len(found) <= room:
            break
    return found, length if longest > length else 0


def _kept(levels: Sequence[Level]) -> list[Statistic]:
    return [each for each in STATISTICS.values() if each.name in levels[0].parts]


def _fit(collection: Collection, room: int) -> tuple[list[Level], Packed]:
    """The levels as exact, and then in as many columns, as there is room for; the losses' level is the last."""
    levels = [
        without(level, lambda name: [shows(info, name) for info in collection.layers]) for level in collection.levels
    ]
    fine = collection.fine
    losses = None if fine is None or "mean" not in fine.parts else _with(fine, {"mean": tuple(fine.parts["mean"])})
    trial = 0
    while True:
        found = [_cells(level, detail=i > 0) for i, level in enumerate(levels)]
        packed = pack(found, _PRECISIONS[min(trial, len(_PRECISIONS) - 1)], losses)
        if len(packed.blob) <= room:
            return levels, packed
        trial += 1
        # Where it is far too much, rounding alone won't do.
        if trial < len(_PRECISIONS) and len(packed.blob) < 2 * room:
            continue
        several = len(levels) > 1
        if several and levels[1].columns > 4:
            levels[1] = coarser(levels[1], 2)
        elif levels[0].columns > 24:
            levels[0] = coarser(levels[0], 2)
        elif several and levels[1].columns > 1:
            levels[1] = coarser(levels[1], 2)
        elif levels[0].columns > 2:
            levels[0] = coarser(levels[0], 2)
        elif several:
            levels.pop()
        else:
            return levels, packed


def _with(level: Level, parts: dict[str, tuple[Floats, ...]]) -> Cells:
    return Cells(level.rows, level.origin, level.width, level.columns, level.count, parts)


def _cells(level: Level, *, detail: bool) -> Cells:
    parts: dict[str, tuple[Floats, ...]] = {
        name: (part.median,) if detail else tuple(part)
        for name, part in level.parts.items()
        if not detail or name in _DETAIL
    }
    return _with(level, parts)


def _merged(levels: Sequence[Level], collection: Collection, cut: int) -> list[str]:
    said = []
    rows = f"{collection.taken:,} rows of {len(collection.layers):,} layers"
    width, columns = levels[0].width, levels[0].columns
    if width > 1:
        said.append(
            f"The map was made from {rows} in steps {collection.first:,} to {collection.last:,}: {columns} columns of "
            f"{width:,} steps. A cell has the least and the largest value of all of its rows; its median and "
            "quartiles are those of up to 8 of them, evenly spread over its steps."
        )
    else:
        said.append(f"The map was made from {rows}; each column is one step.")
    if len(levels) > 1:
        said.append(
            f"The layers are more than the map has rows, so its {len(levels[0].rows)} rows are modules; unfold one to "
            f"see its layers in {levels[1].columns} columns of {levels[1].width:,} "
            f"step{'s' * (levels[1].width > 1)}, medians alone."
        )
    if cut:
        said.append(f"Names longer than {cut} characters are cut in the middle.")
    return said


def _static(level: Level, collection: Collection, findings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The map of the first finding's statistic, or of the rms, as a picture with labels."""
    wanted = [finding["statistic"] for finding in findings[:1]] + ["rms", *level.parts]
    statistic = STATISTICS[next(name for name in wanted if name in level.parts)]
    groups = [{group_name(collection.layers[place]) for place in row} for row in level.rows]
    marked = {name for finding in findings for name in finding["layers"][:1]}
    sick = [any(collection.layers[place].name in marked for place in row) for row in level.rows]
    rows = [i for i, group in enumerate(groups) if GROUP_NAMES[layer_types.LAYERS] in group or sick[i]]
    rows = rows or list(range(len(level.rows)))
    if len(rows) > _STATIC_ROWS:
        rows = rows[:: -(-len(rows) // _STATIC_ROWS)]
    values = level.parts[statistic.name].median[rows]
    scale, below, above = scale_of([values], statistic.kind)
    anchors = DIVERGING if statistic.kind == "signed" else SEQUENTIAL
    place = {info.name: i for i, info in enumerate(collection.layers)}
    of_layer = {layer: i for i, row in enumerate(rows) for layer in level.rows[row]}
    height = max(6.0, min(18.0, 620.0 / len(rows)))
    left, width = 190.0, 700.0
    span = level.columns * level.width
    marks = []
    for finding in findings:
        row = of_layer.get(place.get(finding["layer"], -1))
        if row is not None:
            share = min(max(finding["since"] - level.origin, 0) / span, 1.0)
            marks.append(
                (round(left + width * share, 1), round((row + 0.5) * height, 1), finding["number"], finding["id"])
            )
    last = level.origin + span - 1
    ticks = [
        (round(left + width * (step - level.origin) / span, 1), label(step))
        for step in round_numbers(float(level.origin), float(last if last > level.origin else level.origin + 1), 6)
    ]
    every = math.ceil(11.0 / height)
    names = []
    for i in range(0, len(rows), every):
        first = collection.layers[level.rows[rows[i]][0]].name
        more = len(level.rows[rows[i]]) - 1
        names.append((round((i + 0.5) * height, 1), shown(first, 26) + (f" +{more}" if more else "")))
    legend = png(np.linspace(0.0, 1.0, 64)[None], anchors)
    return {
        "statistic": statistic.name,
        "meaning": statistic.meaning,
        "png": base64.b64encode(png(scale(values), anchors, level.count[rows] > 0)).decode(),
        "bare": base64.b64encode(png(np.full((1, 1), np.nan), anchors, np.ones((1, 1), bool))).decode(),
        "legend": base64.b64encode(legend).decode(),
        "low": ("≤ " if below else "") + label(scale.low),
        "high": ("≥ " if above else "") + label(scale.high),
        "shape": scale.shape,
        "left": left, "width": width, "height": round(height * len(rows), 1), "full": round(height * len(rows) + 22, 1),
        "names": names, "ticks": ticks, "marks": marks, "shown": len(rows), "rows": len(level.rows),
    }  # fmt: skip
