"""Writes the published JSON Schemas, in fastact/schemas, from what they are derived from.

python -m scripts.schemas           # writes them
python -m scripts.schemas --check   # exit code 1 when they are not what the code says
"""

import argparse
import json
from pathlib import Path
from typing import Final

from fastact.schemas import SCHEMAS

__all__ = ["FOLDER", "texts"]

FOLDER: Final = Path(__file__).parent.parent / "fastact" / "schemas"


def texts() -> dict[str, str]:
    """The text of each file, by its name."""
    return {f"{name}.json": json.dumps(make(), indent=2) + "\n" for name, make in SCHEMAS.items()}


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.schemas", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a schema is out of date")
    check = parser.parse_args().check
    stale = []
    for name, text in texts().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        raise SystemExit(f"not what the code says: {', '.join(stale)}; run: python -m scripts.schemas")
    print(f"written: {', '.join(stale)}" if stale else "the schemas agree with the code")


if __name__ == "__main__":
    main()
