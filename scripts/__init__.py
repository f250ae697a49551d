"""The project's own commands: `setup`, `test` and `demo` for a shell; these modules for its documentation.

- ``python -m scripts.pages``: what the pages in fastact/pages take from the code.
- ``python -m scripts.api``: the reference in fastact/pages/api, from the docstrings.
- ``python -m scripts.readme``: the figures in README.md and bench/results/README.md; `scripts.plot` draws the picture.

`examples` has one training script for each framework.
"""
