"""How fast `summarize` is on this machine, beside NumPy and PyTorch doing the same work and a bare read of memory.

- `sweeps`: measures whole tensors by size
- `peers`: the same numbers by NumPy and by PyTorch, and the exact answer
- `turns`: how everything is timed
- `bandwidth`: the bare read
- `figures`: figures as text
"""
