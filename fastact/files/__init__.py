"""Statistics of the arrays in files, without loading the files: `sweep_files`, `sweep_file`.

Files are mapped or read piece by piece and never run. They stand beside the adapters, not in `arrays`: they sweep what
they read, and so use `stats`.

- `source`: a file, local or remote; `find`: which files there are
- `array`: what is asked of an array and found of it; slabs of one that lies densely in a file
- `numpy_files`, `safetensors_files`, `arrow_files`, `chunked_files` (HDF5, zarr), `torch_files`: a reader each
- `readers`: which suffix is whose; add a reader there
- `sweep`, `progress`, `journal`, `found`: many files: workers, the bar, what is kept to go on from, the result
"""

from fastact.files.array import ArrayStats
from fastact.files.found import FilesStats
from fastact.files.readers import sweep_file
from fastact.files.sweep import sweep_files

__all__ = ["ArrayStats", "FilesStats", "sweep_file", "sweep_files"]
