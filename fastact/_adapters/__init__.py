"""What the adapters to frameworks share.

- `attachment`: the monitor as an adapter holds it, which opens and closes with the training
- `extras`: the error of an adapter whose framework is not installed
- `layers`: which layers the user wants, what their outputs are called, and whose output a tensor is

What the adapters to PyTorch's trainers share beyond that is in `fastact.torch.callback`.
"""
