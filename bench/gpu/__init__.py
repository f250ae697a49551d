"""What runs on a GPU: sweeps beside what the device can do and beside PyTorch and CuPy, and the cost of watching.

python -m bench.gpu            # the tables, and bench/results/gpu_*.json; some ten minutes, exit code 2 without a GPU
python -m bench.gpu --quick    # small and few, nothing written

Functions take the device's name: all but the bare kernels run on "cpu" as well, where a test runs them.
"""
