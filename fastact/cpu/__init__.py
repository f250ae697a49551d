"""The sweep on CPU threads: kernels, how they are compiled and cached, and how the work is shared out."""
