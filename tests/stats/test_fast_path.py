"""The short way of tensors."""

import pytest
import torch
from oracle import check

import fastact
from fastact import summarize


def test_the_short_way_of_tensors_refuses_and_detaches_too() -> None:
    x = torch.linspace(-2, 2, 100)
    want = summarize(x)
    assert summarize(x) == summarize(x.clone().requires_grad_()) == summarize(torch.nn.Parameter(x)) == want
    assert summarize(x.reshape(10, 10)) == want
    assert summarize(x[::2]).count == 50
    assert summarize(x[:0]).count == 0
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e5m2, torch.bool):
        first = summarize(x.to(dtype))
        assert summarize(x.to(dtype)) == first
        check(first, x.to(dtype).to(torch.float32).numpy(), 1e-6)
    negated = torch.complex(torch.ones(2), torch.ones(2)).conj().imag
    assert negated.is_neg()
    assert summarize(negated).mean == -1.0
    with pytest.raises(fastact.ArgumentValueError, match="meta"):
        summarize(x.to("meta"))
    with pytest.raises(fastact.ArgumentValueError, match="sparse"):
        summarize(x.to_sparse())
    for dtype in (torch.float32, torch.float64):  # seen before, and not
        freed = torch.ones(100, dtype=dtype)
        freed.untyped_storage().resize_(0)  # as FSDP does
        with pytest.raises(fastact.ArgumentValueError, match="freed"):
            summarize(freed)
