"""Sweeps of tensors that lie on a GPU, where they lie: one launch each, nothing copied, on the caller's stream.

Nothing here is imported before a CUDA tensor is met: `numba.cuda` takes a third of a second to load.

What the host does:

- `arrays`: any framework's array on a GPU as an address, a shape and strides
- `sweep`: one tensor in a launch, or many; waits for the numbers
- `deferred`: the rows of a monitor, for which nobody waits; all that `fastact.monitor` needs to know
- `recorder`: one such row, and what launches them on a device
- `ring`: their layout in device memory, and their way to the host
- `layouts`: how a tensor is shared out among blocks and threads
- `workspace`: memory that sweeps work in
- `info`: the line of `fastact info`

What the device does:

- `fold`: elements to a row of numbers. A new statistic of the state is added here
- `block`: the threads of a block fold and join their rows
- `kernels`: the entry points, which sweep, or sweep and leave a row in a ring
- `neuron_summary`: what such a row tells of its neurons
- `rows`: states in memory, laid out as `fastact.arithmetic.state` says

What knows numba-cuda:

- `compiler`: its decorators, or stand-ins where it is not installed
- `driver`: devices, streams, memory, launches
- `instructions`, `vectors`, `words`: device code that Python has no words for
"""
