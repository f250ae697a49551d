"""What of the diagnosis no stored training reaches, or few do: machinery that gains nothing measurable goes.

    python -m bench.unreached runs/faults-opened-5 runs/sound-1            # what no log below these folders reaches
    python -m bench.unreached runs/faults-opened-5 --most 1 --every 20     # or one alone, asked at each 20th step

Functions and branches that judge are listed, with how many trainings reached them and one of these. One that is never
reached has never decided anything there; whether it stays is for tests of what users reported to say.
"""

import argparse
import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from coverage import Coverage

import fastact.diagnosis
from bench.zoo.judge import begin
from bench.zoo.score import growing

ROOT = Path(fastact.diagnosis.__file__).parent

#: By file and line of the diagnosis, the trainings that reached it.
Reached = dict[tuple[str, int], set[str]]


def logs(folders: Iterable[Path]) -> list[Path]:
    """The folders of logs below these."""
    return sorted({segment.parent for folder in folders for segment in folder.rglob("segment-*")})


def reached(paths: Iterable[Path], every: int) -> Reached:
    """What is reached where each of these logs is diagnosed as it grows, at each of so many steps and at the end."""
    found: Reached = {}
    for path in paths:
        coverage = Coverage(data_file=None, include=[f"{ROOT}/*"], config_file=False)
        with coverage.collect():
            for _, diagnoser, count in growing(path):
                if count % every == 0:  # at the end it is 0
                    diagnoser.diagnose()
        data = coverage.get_data()
        for file in data.measured_files():
            for line in data.lines(file) or ():
                found.setdefault((str(Path(file).relative_to(ROOT)), line), set()).add(str(path))
    return found


def parts(body: Sequence[ast.stmt]) -> Iterator[tuple[str, Sequence[ast.stmt]]]:
    """Functions and branches of a module, the outer ones first: the words, and the statements."""
    for each in body:
        if isinstance(each, ast.FunctionDef):
            yield f"def {each.name}", each.body[isinstance(each.body[0], ast.Expr) :]
        elif isinstance(each, ast.If):
            yield f"if {ast.unparse(each.test)[:80]}", each.body


def unreached(file: str, body: Sequence[ast.stmt], found: Reached, most: int) -> Iterator[str]:
    """A line for each part of a file that at most so many trainings reach; nothing of what is inside of one."""
    for each in body:
        for words, own in parts([each]):
            by = set().union(
                *(found.get((file, at), ()) for s in own for at in range(s.lineno, (s.end_lineno or 0) + 1))
            )
            if own and len(by) <= most:
                lines = (own[-1].end_lineno or 0) - own[0].lineno + 1
                yield f"{file}:{own[0].lineno}  {lines} lines, {len(by)} trainings {min(by, default='')}: {words}"
                break
        else:
            inside = [n for block in ("body", "orelse") for n in getattr(each, block, ()) if isinstance(n, ast.stmt)]
            yield from unreached(file, inside, found, most)


def main() -> None:
    """Lists what is not reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.unreached", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders of logs")
    parser.add_argument("--most", type=int, default=0, metavar="N", help="trainings that may have reached it")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="steps from one diagnosis to the next")
    arguments = parser.parse_args()
    begin()
    found = reached(logs(arguments.folders), arguments.every)
    for path in sorted(ROOT.rglob("*.py")):
        file = str(path.relative_to(ROOT))
        if path.parent != ROOT:  # what judges
            for line in unreached(file, ast.parse(path.read_text(encoding="utf-8")).body, found, arguments.most):
                print(line)


if __name__ == "__main__":
    main()
