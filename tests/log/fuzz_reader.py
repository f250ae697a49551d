"""Feeds damaged and hostile bytes to the reader, under a limit of memory, in a process of its own.

python tests/log/fuzz_reader.py mutants 10000    # bits, lengths, splices, blocks: says "whole" at its end
python tests/log/fuzz_reader.py atheris 20       # so many seconds, guided by coverage; needs atheris
"""

import random
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fastact
import fastact.log.codec
import fastact.log.reader
from fastact.errors import LogError
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.frames import END_MARK, finish, frames

#: Address space: what Python, numpy and Arrow reserve, and the largest message twice.
LIMIT = 4 << 30


def limit() -> None:
    """No allocation past a bound: asking for more raises MemoryError, which the reader never does by itself."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))


def sample(folder: Path, compression: str | None) -> bytes:
    """A segment with two layers and a few batches."""
    numbers = (100, 0, 0, 0, 7, 1, 0.3, 0.1, 0.5, -1.0, 2.0, 8, 1, 1, 0, 0, 0.7, 3, 0.9, 0, 0, 0)
    rows = [(step, layer, step * 7, *numbers) for step in range(12) for layer in (0, 1)]
    with LogWriter(folder, LogOptions(batch_rows=6, compression=compression)) as writer:  # type: ignore[arg-type]
        for i, name in enumerate(("encoder.0", "../../x \x1b[2J")):
            writer.add_layer(fastact.LayerInfo(name, i, "ReLU"))
        for row in rows:
            writer.append(row)
            if row[0] % 3 == 2 and row[1]:
                writer.flush()
    (segment,) = folder.glob("segment-*")
    return segment.read_bytes()


def swallow(run: Path, data: bytes, *, deep: bool = True) -> int:
    """Reads a run of one segment, `deep`: in every way; returns the rows."""
    (run / "segment-000000.arrows").write_bytes(data)
    try:
        if not deep:
            return sum(part.batch.num_rows for part in RunReader(run).batches(lambda _: None))
        log = fastact.open_log(run)
    except LogError:
        return 0
    rows: int = log.to_table().num_rows
    assert rows == sum(1 for _ in log.replay())
    log.diagnose()
    assert all(text.isprintable() for text in log.warnings)
    return rows


def mutants(stamped: list[bytes], seed: int, count: int) -> Iterator[bytes]:
    """Flipped bits, splices, blocks twice or in another order, length fields; half of them with stamps that hold."""
    chance = random.Random(seed)
    for number in range(count):
        blocks = list(stamped)
        at = chance.randrange(len(blocks))
        data = bytearray(blocks[at])
        for _ in range(chance.choice((1, 1, 2, 8))):
            where = chance.randrange(len(data))
            match chance.randrange(5):
                case 0:
                    data[where] ^= 1 << chance.randrange(8)
                case 1:  # a length, an offset or a count
                    value = chance.choice((-1, 0, 1, 255, 2**31 - 1, 2**33, 2**62, -(2**40), len(data)))
                    data[where // 8 * 8 : where // 8 * 8 + 8] = value.to_bytes(8, "little", signed=True)
                case 2:
                    value = chance.choice((-1, 0, 1, 2**31 - 1, -(2**31), len(data)))
                    data[where // 4 * 4 : where // 4 * 4 + 4] = value.to_bytes(4, "little", signed=True)
                case 3:
                    other = chance.choice(stamped)
                    data[where:where] = other[chance.randrange(len(other)) :][: chance.randrange(200)]
                case _:
                    del data[where : where + chance.randrange(100)]
            if not data:
                data = bytearray(b"\xff")
        blocks[at] = bytes(data)
        if number % 2:  # somebody with bad intent, who knows how stamps are made
            blocks[at] = restamped(blocks[at])
        if chance.random() < 0.2:
            chance.shuffle(blocks)
        if chance.random() < 0.2:
            blocks.insert(chance.randrange(len(blocks)), chance.choice(blocks))
        yield b"".join(blocks) + (END_MARK if chance.random() < 0.5 else b"")


def restamped(message: bytes) -> bytes:
    """The message with a length and a checksum that hold, where it has a stamp."""
    begin, end = message.find(b"version="), message.find(b"crc32=") + 14
    blank = b"length=000000000000 crc32=00000000"
    stamp = message[begin : end - len(blank)] + blank
    if begin < 0 or end - begin < len(blank) or not stamp.isascii():
        return message
    return finish(message[:begin] + stamp + message[end:], stamp.decode())


def messages(folder: Path) -> list[bytes]:
    """The messages of a run's only segment."""
    (segment,) = folder.glob("segment-*")
    with segment.open("rb") as file:
        return [frame.message for frame in frames(file, segment.stat().st_size, lambda _: None)]


def run_mutants(count: int) -> None:
    """Reads so many mutants, one in ten in every way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        run.mkdir()
        kinds = ("lz4", "zstd", None)
        for kind in kinds:
            assert swallow(run, sample(folder / str(kind), kind)) == 24
        limit()
        read = rows = 0
        for seed, kind in enumerate(kinds):
            for data in mutants(messages(folder / str(kind)), seed, -(-count // len(kinds))):
                rows += swallow(run, data, deep=read % 10 == 0)
                read += 1
        print(f"whole: {read} mutants, {rows} rows")


def run_atheris(seconds: int) -> None:
    """Reads what atheris makes up; libFuzzer ends the process, with an error where one was found."""
    import atheris

    folder = Path(tempfile.mkdtemp())
    run, corpus = folder / "run", folder / "corpus"
    run.mkdir()
    corpus.mkdir()
    for kind in ("lz4", "zstd", None):
        (corpus / str(kind)).write_bytes(sample(folder / str(kind), kind))
    for module in (fastact.log.frames, fastact.log.codec, fastact.log.reader):
        for function in [value for value in vars(module).values() if callable(value)]:
            if getattr(function, "__module__", "") == module.__name__ and hasattr(function, "__code__"):
                setattr(module, function.__name__, atheris.instrument_func(function))
    limits = [f"-max_total_time={seconds}", "-rss_limit_mb=4096", "-timeout=20", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)], lambda data: swallow(run, data))
    atheris.Fuzz()


if __name__ == "__main__":
    {"mutants": run_mutants, "atheris": run_atheris}[sys.argv[1]](int(sys.argv[2]))
