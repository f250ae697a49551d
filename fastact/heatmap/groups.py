"""Rows of a map for more layers than it has rows: modules stand for their layers, as their names have it."""

import heapq
from collections.abc import Sequence

from fastact.history import LayerInfo

#: What stands between the parts of a layer's name.
_DOT = "."


def groups_of(infos: Sequence[LayerInfo], most: int) -> list[list[int]]:
    """Places in `infos` in at most so many groups, in forward order.

    A group is one layer, a module with all of its layers, or, where a module has too many of them by itself,
    neighbours within it. The largest modules are taken apart first. Layers of different types of rows (gradients,
    parameters, whatever follows a colon) stay apart as far as there is room.

    Example:
        >>> infos = [LayerInfo(name, i) for i, name in enumerate(["a.x", "a.y", "b.x", "b.y.p", "b.y.q"])]
        >>> groups_of(infos, 4)
        [[0], [1], [2], [3, 4]]
        >>> groups_of(infos, 2)
        [[0, 1], [2, 3, 4]]
    """
    places = sorted(range(len(infos)), key=lambda i: (infos[i].order, infos[i].name))
    if len(places) <= most:
        return [[place] for place in places]
    paths = {place: _path(infos[place]) for place in places}
    ranks = {place: rank for rank, place in enumerate(places)}
    # The largest first; of equals, the first in forward order.
    heap: list[tuple[int, int, int, list[int]]] = [(-len(places), 0, 0, places)]
    done: list[tuple[int, list[int]]] = []
    count = 1
    while heap:
        size, first, depth, members = heapq.heappop(heap)
        children = _children(members, paths, depth)
        if -size == 1:
            done.append((first, members))
        elif count - 1 + len(children) <= most:
            count += len(children) - 1
            for child in children:
                heapq.heappush(heap, (-len(child), ranks[child[0]], depth + 1, child))
        else:
            done.append((first, members))
    return _split(done, most, len(places))


def _path(info: LayerInfo) -> tuple[str, ...]:
    name, colon, suffix = info.name.partition(":")
    return (suffix if colon and not suffix.isdigit() else "", *name.split(_DOT), suffix)


def _children(members: list[int], paths: dict[int, tuple[str, ...]], depth: int) -> list[list[int]]:
    children: dict[str, list[int]] = {}
    for place in members:
        path = paths[place]
        children.setdefault(path[depth] if depth < len(path) else "", []).append(place)
    return list(children.values())


def _split(groups: list[tuple[int, list[int]]], most: int, layers: int) -> list[list[int]]:
    """Takes groups apart into neighbours, as long as there is room, each by its share of the layers."""
    spare = most - len(groups)
    found: list[list[int]] = []
    for _, members in sorted(groups):
        pieces = min(len(members), 1 + spare * len(members) // layers)
        size = -(-len(members) // pieces)
        found += [members[i : i + size] for i in range(0, len(members), size)]
    return found
