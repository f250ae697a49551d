"""Sweeps on CPU: loops that Numba compiles once for each element type, and what runs them on threads.

How it is compiled:

- `jit`: the compiler's flags, and `kernel`, which builds an entry point.
- `linking`, `notice`: an entry point is optimised once, with all that it is made of; what says so where it is long.
- `cache`, `objects`: machine code on disk: the folder, and the format of a file.
- `prebuilt`, `prebuild`: machine code that comes with the package, and what builds it.
- `intrinsics`: the few instructions that Numba has no name for.
- `widen`: stored elements as float32 or float64, the one decoder of narrow floats.
- `simd`, `stored`: vector registers; of elements of 16 and 8 bits as they are stored.
- `tally`: counting in the lanes of vectors, and what else keeps the units of a CPU evenly busy.
- `states`: states in memory, laid out as `arithmetic.state` says.

The folds, from elements to states:

- `flat`: of an array into one state, block by block; `halves`, of a block of floats of 16 bits; `octets`, of an array
  of 8-bit integers; `folds`, which one for which element type.
- `columns`: of a matrix into a state for each column.
- `runs`: of an image batch into a state for each channel.
- `neuron_sums`, `neuron_merge`: what is summed for each neuron and how it is joined, for both of these; the merge of
  their parts.
- `scratch`: the memory that they work in.
- `neuron_summary`: what a row of the log says of a layer's neurons.
- `extras`: third and fourth moments, what narrower types would lose, and buckets; and what runs it.

What runs them:

- `sweep`: a flat array.
- `sweep_many`, `numpy_headers`: many flat arrays at once, and where NumPy's have their elements.
- `neuron_kernels`, `workspace`: neurons: the entry points and their memory, how a shape is split and swept.
- `threads`, `openmp`: plain threads, and those that torch computes with.
- `warmup`: compiles all of it.

Three words for a piece of data: a block is folded in one go, before it is joined in float64; a part has states of its
own, which are merged in their order; a task is what a thread takes at a time: one block of columns of one part, or one
part of a flat array.
"""
