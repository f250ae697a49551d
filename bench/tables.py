"""The columns of each benchmark's table, the same on the terminal and in Markdown."""

from typing import Any, NamedTuple

from fastact.benchmark.figures import duration, multiple, size

__all__ = [
    "BARE",
    "FEWER",
    "Lines",
    "ablation_table",
    "bound_table",
    "cost_table",
    "duration",
    "gpu_record_table",
    "gpu_table",
    "log_table",
    "many_table",
    "markdown",
    "neurons_table",
    "scale_table",
    "start_table",
    "sweep_table",
    "tight_table",
    "watch_table",
]

#: The contestant of `bench.watch` that does nothing, with which the others are compared.
BARE = "nothing"

#: Peers that are asked for fewer numbers than `summarize` gives, because they have no more.
FEWER = ("numbagg", "bottleneck", "NumKong")
#: Peers in the order of the columns.
_PEERS = ("numpy", "torch", "compile", *FEWER)


class Lines(NamedTuple):
    """A table as text.

    Attributes:
        header: names of the columns.
        left: which columns are aligned to the left.
        rows: the cells.
    """

    header: list[str]
    left: list[bool]
    rows: list[list[str]]


def ablation_table(results: dict[str, Any]) -> Lines:
    """What each piece gains: of a watched training step in percent of the bare one, of a call as a ratio."""
    rows = []
    for case in dict.fromkeys(row["case"] for row in results["team"]):
        cost = {row["name"]: (row["ratio"] - 1.0) * 100.0 for row in results["team"] if row["case"] == case}
        rows.append(
            [
                f"OpenMP team: {case}",
                f"{cost['with']:+.1f}%",
                f"{cost['without']:+.1f}%",
                f"{cost['without'] - cost['with']:+.1f}% of a step",
                f"{abs(cost['with, again'] - cost['with']):.1f}%",
            ]
        )
    for call in results["headers"]:
        seconds = call["seconds"]
        rows.append(
            [
                f"header reader: {results['arrays']:,} arrays of {call['elements']:,}",
                duration(seconds["with"]),
                duration(seconds["without"]),
                f"{call['ratio']:.2f} times the time",
                "",
            ]
        )
    return Lines(["what", "with", "without", "gain", "equal things"], [True, False, False, False, False], rows)


def sweep_table(results: dict[str, Any]) -> Lines:
    """Whole tensors: "-" where a peer has no such dtype."""
    return _compared(results, ["elements", "dtype"], lambda row: [size(row["elements"]), row["dtype"]])


def neurons_table(results: dict[str, Any]) -> Lines:
    """Per neuron: "-" where a peer cannot do it; the share of a read that arithmetic allows, where `bound` told it."""
    lines = _compared(
        results, ["shape", "axis"], lambda row: ["(" + ", ".join(map(str, row["shape"])) + ")", str(row["axis"])]
    )
    place = lines.header.index("of read") + 1
    lines.header[place:place] = ["arithmetic", "at most"]
    lines.left[place:place] = [False, False]
    for line, row in zip(lines.rows, results["rows"], strict=True):
        bound = row.get("bound")
        share = None if bound is None else min(1.0, bound * row["seconds"]["read"] / row["bytes"])
        line[place:place] = ["-", "-"] if share is None else [f"{bound / 1e9:.0f} GB/s", f"{share:.2f}"]
    return lines


def bound_table(results: dict[str, Any]) -> Lines:
    """A row for each loop, with vector instructions, loads and the rest, and one for each kind of instruction."""
    rows = []
    for row in results["rows"]:
        per = row["vectors"]
        halves = row["halves"]
        rows.append(
            [
                f"{row['loop']}: a vector of 64 bytes",
                f"{sum(row['kinds'].values()) / per:.0f} + {row['loads'] / per:.0f} + {row['others'] / per:.1f}",
                f"{row['cycles']:.2f}",
                f"{halves['add']:.1f} / {halves['product']:.1f} / {halves['any']:.1f}",
                f"{row['bound'] / 1e9:.1f}",
                f"{results['threads'] * row['bound'] / 1e9:.1f}",
                f"{row['cached'] / 1e9:.1f}",
            ]
        )
    for unit in results["units"]:
        times = [row["kinds"].get(unit["kind"], 0) / row["vectors"] for row in results["rows"]]
        beside = f"+ add {unit['add']:.2f}, + fma {unit['product']:.2f}"
        rows.append(
            [unit["kind"], " / ".join(f"{each:.1f}" for each in times), f"{unit['alone']:.2f}", beside, "", "", ""]
        )
    if rows:
        clock, twice = results["clock"] / 1e9, results["threads"]
        rows.append([f"clock {clock:.2f} GHz; arithmetic of two threads: {twice:.2f} of one", *[""] * 6])
    header = [
        "loop", "instructions", "cycles", "sums/products/either", "GB/s", "2 threads", "in cache",
    ]  # fmt: skip
    return Lines(header, [True, *[False] * 6], rows)


def _compared(results: dict[str, Any], names: list[str], case: Any) -> Lines:
    header = [*names, "fastact", "GB/s", "of read", *(f"x {peer}{'*' * (peer in FEWER)}" for peer in _PEERS)]
    rows = []
    for row in results["rows"]:
        seconds, ratios = row["seconds"], row["ratios"]
        rows.append(
            [
                *case(row),
                duration(seconds["fastact"]),
                f"{row['bytes'] / seconds['fastact'] / 1e9:.1f}",
                f"{ratios['read']:.2f}",
                *(multiple(ratios[peer]) + "†" * (peer in row["off"]) if peer in ratios else "-" for peer in _PEERS),
            ]
        )
    return Lines(header, [name in ("dtype", "shape") for name in header], rows)


def tight_table(results: dict[str, Any]) -> Lines:
    """One call, in time and as a multiple of numpy's mean."""
    rows = [[row["call"], duration(row["seconds"]), multiple(row["ratio"])] for row in results["rows"]]
    return Lines(["call", "time", "x numpy's mean()"], [True, False, False], rows)


def many_table(results: dict[str, Any]) -> Lines:
    """Times of a tensor, and how many times longer the loop takes."""
    rows = [
        [
            f"{results['tensors']:,} x {size(row['elements'])}",
            row["owner"],
            *(duration(row["seconds"][how] / results["tensors"]) for how in ("loop", "together")),
            multiple(row["ratio"]),
        ]
        for row in results["rows"]
    ]
    return Lines(["float32", "of", "in a loop, each", "together, each", "x"], [False, True, *[False] * 3], rows)


def start_table(results: dict[str, Any]) -> Lines:
    """Whole processes, in seconds."""
    rows = [
        [
            row["name"],
            row["call"] or "-",
            *(duration(row["seconds"][what]) if what in row["seconds"] else "-" for what in ("import", "first call")),
        ]
        for row in results["rows"]
    ]
    return Lines(["library", "first call", "import", "import and first call"], [True, True, False, False], rows)


def log_table(results: dict[str, Any]) -> Lines:
    """The log beside other files: time, rows a second, time and bytes of a row."""
    rows = [
        [
            row["what"],
            f"{row['rows']:,}",
            duration(row["seconds"]),
            f"{row['rows'] / row['seconds'] / 1e6:.2g}",
            duration(row["seconds"] / row["rows"]),
            f"{row['bytes'] / row['rows']:.0f}" if row["bytes"] else "-",
        ]
        for row in results["rows"]
    ]
    return Lines(["what", "rows", "time", "million rows/s", "a row", "bytes a row"], [True, *[False] * 5], rows)


def scale_table(results: dict[str, Any]) -> Lines:
    """Each thing at its sizes: the time at each, the exponent of its growth, and time and memory of the largest."""
    rows = []
    for row in results["rows"]:
        sizes, (seconds, megabytes) = row["sizes"], row["target"]
        last = sizes[-1]
        bound = f"{duration(seconds)}" + (f", {megabytes:,.0f} MB" if megabytes else "")
        rows.append(
            [
                row["what"],
                f"{sizes[0]['size']:,}",
                duration(sizes[0]["seconds"]),
                f"{last['size']:,}",
                duration(last["seconds"]),
                f"{last['megabytes']:,.0f}",
                bound,
                f"{row['exponent']:.2f}",
            ]
        )
    header = ["what", "from", "time", "to", "time", "MB", "to stay under", "exponent"]
    return Lines(header, [True, *[False] * 7], rows)


def record_table(results: dict[str, Any]) -> Lines:
    """What a layer costs in `record` and in `step`; rows a second; bytes a row by compression and rows in a batch."""
    rows = []
    for row in results["costs"]:
        what = f"{row['layers']:,} layers{', per neuron' if row['per_neuron'] else ''}"
        over = row["log"]["record"] - row["sweep"]
        record = f"{duration(row['log']['record'])} ({row['log']['record'] / row['sweep']:.2f})"
        steps = [f"{duration(row[how]['step'])} ({duration(row[how]['mean'])})" for how in ("memory", "log", "alerts")]
        rows.append([what, duration(row["sweep"]), record, duration(over), *steps])
    for row in results["rates"]:
        asked = "as fast as may be" if row["asked"] is None else f"{row['asked']:,} rows a second asked for"
        got = f"{row['rows'] / row['seconds']:,.0f} rows a second, {row['dropped']:,} dropped, busy {row['busy']:.0%}"
        rows.append([f"{row['layers']:,} layers with a log, {asked}", got, *[""] * 5])
    for compression in dict.fromkeys(row["compression"] for row in results["sizes"]):
        cells = [
            f"{row['batch_rows']}: {row['bytes']:.0f}" for row in results["sizes"] if row["compression"] == compression
        ]
        rows.append([f"bytes a row, {compression}, batches of", ", ".join(cells), *[""] * 5])
    header = ["in a step", "sweep", "record (x sweep)", "over it", "step (mean), memory", "with a log", "and alerts"]
    return Lines(header, [True, *[False] * 6], rows)


def watch_table(results: dict[str, Any]) -> Lines:
    """Time of a training step, and what watching adds to it."""
    rows = []
    for row in results["rows"]:
        low, high = (f"{100 * (ratio - 1):+.1f}" for ratio in row["quartiles"])
        more = "" if row["name"] == BARE else f"{100 * (row['ratio'] - 1):+.1f}%"
        rows.append([row["case"], row["name"], duration(row["seconds"]), more, f"{low} to {high}" if more else ""])
    header = ["training", "watched by", "step", "slower", "half of the rounds"]
    return Lines(header, [True, True, False, False, False], rows)


def cost_table(results: dict[str, Any]) -> Lines:
    """One row for each training: what watching adds to a step."""
    names = [name for name in results["asked"] if name != BARE]
    by_case: dict[str, dict[str, Any]] = {}
    for row in results["rows"]:
        by_case.setdefault(row["case"], {})[row["name"]] = row
    rows = []
    for case, found in by_case.items():
        more = [f"{100 * (found[name]['ratio'] - 1):+.1f}%" for name in names]
        rows.append([case, duration(found[BARE]["seconds"]), f"{results['bytes'][case] / 1e6:.0f} MB", *more])
    header = ["training", "step", "outputs", *names]
    return Lines(header, [True, *[False] * (len(header) - 1)], rows)


def gpu_table(results: dict[str, Any]) -> Lines:
    """Sweeps on a GPU; GB/s and ratios are of the kernel alone, where there is one."""
    rows = []
    for row in results["rows"]:
        seconds, ratios, nbytes = row["seconds"], row["ratios"], row["bytes"]
        base = "kernel" if "kernel" in seconds else "fastact"
        what = str(tuple(row["shape"])) if row["axis"] is not None else binary(nbytes)
        rows.append(
            [
                what,
                row["dtype"],
                duration(max(seconds["fastact"], row["host"]["fastact"])),
                duration(seconds[base]),
                f"{nbytes / seconds[base] / 1e9:.0f}",
                f"{nbytes / seconds['read'] / 1e9:.0f}" if "read" in seconds else "-",
                f"{ratios['read']:.2f}" if "read" in seconds else "-",
                f"{2 * nbytes / seconds['copy'] / 1e9:.0f}",
                *(
                    multiple(ratios[peer]) + "†" * (peer in row["off"]) if peer in ratios else "-"
                    for peer in ("fallback", "torch", "compile", "cupy")
                ),
            ]
        )
    peers = ["x fallback", "x torch", "x compile", "x cupy"]
    header = ["tensor", "dtype", "summarize", "kernel", "GB/s", "read GB/s", "of read", "copy GB/s", *peers]
    return Lines(header, [False, True, *[False] * 10], rows)


def gpu_record_table(results: dict[str, Any]) -> Lines:
    """The host's and the device's time of a layer."""
    rows = [[row["what"], duration(row["host"]), duration(row["device"])] for row in results["rows"]]
    return Lines(["what", "host, a layer", "device, a layer"], [True, False, False], rows)


def binary(nbytes: int) -> str:
    """Such as 4 KiB."""
    power = min(int(nbytes).bit_length() // 10, 3) if nbytes else 0
    return f"{nbytes >> 10 * power} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def markdown(lines: Lines) -> str:
    """The table in Markdown."""
    rule = "".join(" :-- |" if left else " --: |" for left in lines.left)
    return "\n".join(["| " + " | ".join(row) + " |" for row in (lines.header, *lines.rows)]).replace(
        "\n", f"\n|{rule}\n", 1
    )
