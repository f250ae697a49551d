"""Many rows merge to one as each field declares."""

import numpy as np
import pytest

from fastact.fields import COPY, NEURON, ROW, ROW_DTYPE, STATE, Field
from fastact.log.thin import Merged
from fastact.replay.keyed import keyed
from fastact.replay.merge import _MERGE, merge_rows


def test_every_field_declares_a_way_that_is_known() -> None:
    for field in STATE:
        assert field.merge in ("sum", "moment", "min", "max"), field.name
    for field in ROW:
        assert field in STATE or field.merge in ("first", "equal", *_MERGE), field.name


@pytest.mark.parametrize("field", NEURON, ids=lambda field: field.name)
def test_neurons_merge_by_what_their_field_declares(field: Field) -> None:
    rows = np.zeros(5, ROW_DTYPE)
    rows["count"], rows["neurons"] = 10, [4, 4, 4, 4, 5]
    rows["min"], rows["max"] = -1.0, [1, 3, 3, 2, 1]
    if field.name != "neurons":
        rows[field.name] = [7, 5, 3, 6, 1]
    one, other = merge_rows(rows, np.array([0, 3]))[field.name].tolist()
    wanted = {"min": 3, "max": 7, "equal": 4, "of the peak": 3, "pooled": pytest.approx((83 / 3) ** 0.5)}
    assert one == wanted[field.merge]
    assert other == field.nothing or np.isnan([other, field.nothing]).all()  # rows of 4 and of 5 neurons


@pytest.mark.parametrize("field", COPY, ids=lambda field: field.name)
def test_sums_of_bits_add_up_modulo_2_to_the_64(field: Field) -> None:
    rows = np.zeros(4, ROW_DTYPE)
    rows["count"] = rows["layer"] = 1
    rows[field.name] = [2**62, 2**62, 2**62, 3 - 2**61]
    want = (sum([2**62, 2**62, 2**62, 3 - 2**61]) + 2**63) % 2**64 - 2**63
    thinned = Merged(10)
    thinned.add(rows[:3])
    thinned.add(rows[3:])
    (kept,) = thinned.take(1, everything=True)
    table = keyed((rows["step"],), {name: np.ascontiguousarray(rows[name]) for name in ROW_DTYPE.names or ()})
    for merged in (merge_rows(rows, np.array([0])), kept, table.rows()):
        assert merged[field.name].tolist() == [want]
