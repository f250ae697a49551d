"""Sweeps of tensors that lie on a GPU, where they lie: one launch each, nothing copied, on the caller's stream.

Nothing here is imported before a CUDA tensor is met: `numba.cuda` takes a third of a second to load.
"""
