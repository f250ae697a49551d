"""How a tensor is shared out among blocks and threads, and how bounds are rounded."""

import math

import numpy as np
from on_device import (
    normal,
)

from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cuda import layouts
from fastact.cuda.instructions import THREADS


def test_a_plan_takes_each_element_once_and_no_more_blocks_than_fit() -> None:
    from fastact.cuda.layouts import plan

    for name, itemsize in (("float32", 4), ("bfloat16", 2), ("int64", 8), ("bool", 1)):
        for shape in [
            (1, 1, 1),
            (1000, 1, 1),
            (1 << 28, 1, 1),
            (64, 512, 49),
            (64, 512, 64),
            (8192, 4096, 1),
            (3, 70, 1),
        ]:
            for address in (1 << 20, (1 << 20) + itemsize):
                way = plan(address, name, shape, 132)
                layout, (head, edges, packets, neurons, inner, pitch, apart) = way.layout, way.numbers
                width, _ = layouts.loads_of(ELEMENT_TYPES[name], layout)
                assert (packets * width + edges) * neurons == math.prod(shape)
                assert head <= edges <= THREADS
                assert way.groups * layout.beside >= neurons
                assert way.parts == 1 or way.groups * way.parts <= 4 * 132
                if layout.packed:
                    assert (address + head * itemsize) % 16 == 0 or not packets
                    assert layout is layouts.FLAT or pitch % 16 == apart % 16 == 0
                assert layout is layouts.FLAT or (inner * width, apart) == (shape[2], shape[2] * itemsize)
                assert pitch == apart * neurons
    assert plan(1 << 20, "float32", (1 << 28, 1, 1), 132).parts == 4 * 132


def test_work_bounds_keep_every_comparison() -> None:
    from fastact.cuda.layouts import work_bounds

    rng = np.random.default_rng(4)
    x = np.concatenate([normal(200), np.array([0, np.inf, -np.inf, 0.99, -0.99, 3.4e38, 1e-45], np.float32)])
    for bound in [0.99, -0.99, 1e300, -1e300, math.inf, -math.inf, 1e-60, 0.0, *rng.standard_normal(50)]:
        low, high, near = work_bounds((bound, bound, abs(bound)), "float16")
        wide = x.astype(np.float64)
        assert ((x < np.float32(low)) == (wide < bound)).all()
        assert ((x > np.float32(high)) == (wide > bound)).all()
        assert ((np.abs(x) <= np.float32(near)) == (np.abs(wide) <= abs(bound))).all()
        assert work_bounds((bound, bound, abs(bound)), "float64") == (bound, bound, abs(bound))
