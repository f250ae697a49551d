"""Buffers of any kind as NumPy arrays over their own memory, in the shapes that kernels take.

- `host`: recognises owners (NumPy, torch, Arrow, protocols) and views memory that the CPU reads
- `dlpack`: DLPack as NumPy does not read it: narrow floats, and memory of a GPU
- `shapes`: one row of elements, or [outer, neurons, inner]

Views of memory on a GPU are made in `fastact.cuda.arrays`. Files of arrays are read by `fastact.files`, which stands
above: it sweeps what it reads.
"""
