"""Reading a log back: as a table, row by row, merged over any range, or as the diagnosis that the live run gave.

- `log`: `open_log` and what it opens, a `Log`
- `records`: one layer in one step; which rows are wanted
- `merge`: rows merged over steps, layers or ranks
- `ranks`, `rank_merge`: the directories of a run's ranks; several ranks as one network, step by step
- `absent`: ranks that are missing, and those that stopped before the others
- `keyed`: rows under keys, and how tables of them merge in a tree
- `blocks`: batches joined to blocks, layers as numbers, rows sorted into groups or given to a diagnoser
- `sessions`: the starts of a run that lie in one directory
- `tail`: a run followed while it is written
- `export`: Parquet, CSV, JSON lines
- `recover`: a whole copy of a damaged log
"""
