"""`python -m fastact`: the command line."""

from fastact.cli import main

if __name__ == "__main__":
    main()
