"""`fastact cache`: the machine code on the disk."""

import json

from fastact.cli.options import AsJson


def show(as_json: AsJson = False) -> None:
    """Show where machine code is kept, and how much there is of this version and of others."""
    from fastact.cpu.cache import entries

    found = entries()
    if as_json:
        print(json.dumps([{"folder": str(each.folder), "files": each.files, "bytes": each.nbytes} for each in found]))
        return
    for each in found:
        print(f"{each.folder}: {each.files} entry points, {each.nbytes / 1e6:.1f} MB")
    if not found:
        print("none")


def clear() -> None:
    """Remove all machine code, of this version and of others; the next sweep compiles anew. Nothing else is touched."""
    from fastact.cpu.cache import entries

    found = entries()
    for each in found:
        each.remove()
    files, nbytes = sum(each.files for each in found), sum(each.nbytes for each in found)
    print(f"removed {files} entry points, {nbytes / 1e6:.1f} MB")
