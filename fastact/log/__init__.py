"""The log: a directory of Arrow IPC stream segments, one row for each layer in each step.

**On disk.** A run is a folder of ``segment-000000.arrows``, ``segment-000001.arrows``, ...: Arrow IPC streams, which
any Arrow implementation opens by itself. The one being written is ``segment-000002.live``; sealing gives it its end
mark, brings it to the disk and renames it. Numbers are used once, and nothing is ever appended to an older segment.
``writer.lock`` keeps a second writer out; a dead process cannot hold it. Several ranks write
``rank-00000/``, ``rank-00001/``, ... beside each other, and `fastact.open_log` reads their parent as one table with a
``rank`` column.

**What it holds.** The columns are those of `fastact.fields.ROW`, with the layer's name as ``layer`` and its place in
forward order as ``layer_order``; each column's metadata hold its meaning and unit. A row keeps what merges (counts,
mean, std, min, max), at full precision. Null stands where there was nothing to measure: for mean, std, abs_mean, min
and max of a layer without a finite element, and for the neuron columns of a layer that was not swept per neuron. Null
is not zero, and NaN does not occur. The metadata of a segment's schema hold ``fastact.schema_version``,
``fastact.session`` (the writer), ``fastact.first_row``, ``fastact.layers`` (JSON), ``fastact.unseen`` (JSON: what was
watched and not recorded by then, and why; the newest segment holds) and the run's own metadata with ``run.`` before
their names. What comes later stands in the metadata of a batch: ``fastact.layers`` has the layers that are new in it,
``fastact.unseen`` takes the place of the header's. So a layer that runs late costs its own few bytes, and no segment. A
sealed segment of many batches ends with one without rows, whose ``fastact.index`` says where in it which steps are
(`step_index`). ``fastact.neurons`` of a batch says which neurons of its layers were dead at some steps: bitmaps,
deflated (`snapshots`).

**Sessions.** Each start of a writer in a folder begins a session, which is read apart; one that resumes
(``start_step``) continues the last. ``fastact.run_session`` is the session's number, ``fastact.start_step`` the step at
which the writer resumed it, ``fastact.started`` when it began (nanoseconds since 1970). Rows that earlier writers of
the session have from that step on were recorded again: readers leave them out. Without these entries, as before 1.5, a
folder is one session.

**The promise.** A row is on its way to the disk after `LogOptions.batch_rows` further rows or
`LogOptions.flush_seconds`, whichever comes first; `LogWriter.flush` forces it. What is there survives the death of the
process at any instant, and with ``durability="fsync"`` a loss of power as well. Each batch carries its length and a
CRC-32 in Arrow's own metadata (``fastact.stamp``). So a torn tail is cut off after the last whole batch, a flipped bit
costs the batch that it is in and no other, and `fastact.replay.log.Log.warnings` says which rows are missing and where.
Bytes that are damaged, or made to do harm, cost memory and time up to a bound (`frames.MAX_MESSAGE`), never the
process. ``fastact recover RUN --to DIR`` writes a whole copy for readers that refuse a torn stream, as polars does.

**Footprint and retention.** See `LogOptions`: bytes a row by compression, rotation, and what is kept of a long run.
Retention removes whole segments, the oldest first, which is not damage; thinned segments (``fastact.merged_steps``,
``fastact.next_row``) hold one row for many steps, exactly merged (`thin`). Rows that the disk refused are counted
(``fastact.dropped``) and told when the log is read.

**Versions.** ``fastact.schema_version`` is major.minor, as in `fastact.fields.SCHEMA_VERSION`. A minor version adds
what may be ignored (a column, a metadata entry); a major one changes the meaning of what was there. Readers read every
version of the majors that they know, older and newer minors alike, and refuse a newer major by name. The form of the
stamp is the same in all versions, so that they can.

**Recipes.** Any range of steps, layers or ranks aggregates again as if it had been swept at once:

>>> import tempfile, fastact
>>> run = tempfile.mkdtemp()
>>> with fastact.ActivationMonitor(run) as monitor:
...     for step in range(10):
...         stats = monitor.record("encoder.0", memoryview(bytes([step, step + 1])))
...         monitor.step()
>>> log = fastact.open_log(run)
>>> log.aggregate("layer", from_step=2, to_step=3)["encoder.0"].mean
3.0
>>> fastact.merge(record.stats for record in log.replay(from_step=2, to_step=3)).max
4.0

Without fastact, by pyarrow, polars and duckdb:

>>> from pathlib import Path
>>> import duckdb, polars, pyarrow
>>> segments = sorted(Path(run).rglob("*.arrows"))
>>> rows = pyarrow.concat_tables(pyarrow.ipc.open_stream(path.read_bytes()).read_all() for path in segments)
>>> duckdb.sql("select layer, sum(count), max(max) from rows where step >= 2 group by layer").fetchall()
[('encoder.0', 16, 10.0)]
>>> polars.concat(map(polars.read_ipc_stream, segments)).filter(polars.col("mean") > 9)["step"].to_list()
[9]

The files, from the training to the disk and back:

- `options`: how a log is written and how much of it stays
- `writer`: takes rows in
- `ring`: the rows that wait in memory
- `late`: layers that come late
- `drain`: the thread that puts them on the disk
- `codec`: rows to bytes, and back to columns that are safe
- `files`: one segment on the disk
- `folder`: the segments of a run, and the messages of each
- `lock`: one writer a run
- `retention`: removes, thins and joins the oldest segments
- `plan`: which segments are merged next, and into how many steps a row
- `snapshots`: which neurons were dead at some steps: written, thinned and read
- `thin`: one merged row for many steps, one segment for many
- `upload`: moves sealed segments to an object store
- `schema`: what a segment holds, its columns and its header
- `index_entries`, `step_index`: which steps are where in a segment, written and read
- `sparing`: files that are read side by side, few of them open at a time
- `frames`: finds the whole messages in damaged bytes
- `sessions`: which session of the run each segment is of, and what was recorded again
- `reader`: reads what is whole, and says what is missing
- `follower`: the same while it is written
"""

from fastact.log.follower import RunFollower
from fastact.log.options import LogOptions
from fastact.log.reader import RunReader
from fastact.log.writer import LogWriter

__all__ = ["LogOptions", "LogWriter", "RunFollower", "RunReader"]
