"""Which of how many processes this one is, as what started it says, and where it writes.

A training on several devices is several processes, its ranks. Each has a log of its own, ``rank-00000`` and so on, in
one folder, so that the same path serves them all.
"""

import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from fastact.checks import check_integer, check_text
from fastact.errors import ArgumentValueError

#: A rank's folder.
RANK_FOLDER: Final = re.compile(r"rank-(\d{5,9})")
#: Metadata of a log that are those of one rank.
OF_ONE_RANK: Final = frozenset({"rank", "group"})
#: More ranks than there are folders' names for.
_MOST: Final = 10**9

#: The variables that tell the rank and how many there are, by what sets them: torchrun, Accelerate and DeepSpeed; Open
#: MPI; MPICH and Intel MPI; Slurm's srun.
_VARIABLES: Final = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
#: Slurm's names of jobs in which a person types: their variables describe the allocation, not this process.
_TYPED: Final = frozenset({"bash", "sh", "zsh", "interactive"})


class Place(NamedTuple):
    """One rank of so many."""

    rank: int = 0
    ranks: int = 1


def place_of_process(environment: Mapping[str, str] = os.environ) -> Place:
    """The rank of this process, and how many there are, from the variables of what started it; (0, 1) without any.

    Example:
        >>> place_of_process({"RANK": "3", "WORLD_SIZE": "8"})
        Place(rank=3, ranks=8)
        >>> place_of_process({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "bash"})
        Place(rank=0, ranks=1)
    """
    for of_rank, of_ranks in _VARIABLES:
        rank, ranks = environment.get(of_rank, ""), environment.get(of_ranks, "")
        if not (re.fullmatch("[0-9]{1,9}", rank) and re.fullmatch("[0-9]{1,9}", ranks)):
            continue
        if of_rank.startswith("SLURM") and environment.get("SLURM_JOB_NAME") in _TYPED:
            continue
        if int(rank) < int(ranks):
            return Place(int(rank), int(ranks))
    return Place()


def checked_place(rank: object, ranks: object) -> Place:
    """The place that was given; what is None is taken from the environment.

    Raises:
        ArgumentTypeError, ArgumentValueError: `rank` or `ranks` is no such number, or there is no such rank.
    """
    own = place_of_process()
    if rank is None and ranks is None:
        return own
    if rank is None:
        raise ArgumentValueError(f"ranks: got {ranks!r} without rank, want both")
    number = check_integer("rank", rank, 0, _MOST - 1)
    if ranks is None:  # of how many, only the environment may know
        return Place(number, max(own.ranks, number + 1))
    count = check_integer("ranks", ranks, 1, _MOST)
    if number >= count:
        raise ArgumentValueError(f"rank: got {number} of {count} ranks, want one from 0 to {count - 1}")
    return Place(number, count)


def folder_of(path: str | os.PathLike[str], place: Place) -> str | os.PathLike[str]:
    """Where a rank writes: the folder of its rank in `path`; `path` itself for one process, or where it is one already.

    Example:
        >>> folder_of("runs/a", Place(1, 2)), folder_of("s3://b/a?region=x", Place(1, 2)), folder_of("runs/a", Place())
        ('runs/a/rank-00001', 's3://b/a/rank-00001?region=x', 'runs/a')
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if place.ranks == 1 or not isinstance(text, str) or not text:
        return path  # which is looked at where it is opened
    before, mark, query = text.partition("?") if "://" in text else (text, "", "")
    if RANK_FOLDER.fullmatch(re.split(r"[/\\]", before.rstrip("/\\"))[-1]):
        return path
    return f"{before.rstrip('/') or '/'}/rank-{place.rank:05d}{mark}{query}".replace("//rank-", "/rank-")


def layout_facts(place: Place, group: str) -> dict[str, str]:
    """What a log says of its rank, as metadata; nothing where one process is all there is.

    Raises:
        ArgumentTypeError: `group` is no text.
        ArgumentValueError: it has a colon or a slash, which part names.
    """
    check_text("group", group, 200)
    if ":" in group or "/" in group:
        raise ArgumentValueError(f"group: got {group!r}, want a name without ':' and '/'")
    facts = {"rank": str(place.rank), "ranks": str(place.ranks)} if place.ranks > 1 else {}
    return facts | ({"group": group} if group else {})
