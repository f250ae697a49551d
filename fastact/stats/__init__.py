"""Statistics of buffers: `summarize` and its kin, and the values that they return, which merge.

What a sweep says, from the declaration of a statistic to the values that users hold:

- `options`: what counts as saturated and as zero, and which extras are wanted
- `statistics`: every statistic, declared once; add one here
- `activation`, `channel`: the statistics of a tensor, whose sweep on a GPU may be under way, and of each of its neurons
- `detailed`, `buckets`: the extras, and the histogram that most of them come from

From a buffer to them:

- `summarize`, `summarize_many`: one buffer; many in one sweep
- `fast_path`: short ways for a buffer like one seen before
- `gpu`: buffers on a GPU
- `merge`: the statistics of a whole from those of its parts, or chunk by chunk
- `plain`, `rows`, `merge_rows`: what merges as names and numbers, and as Arrow rows, which merge by any keys
"""

# Pickles made by earlier versions name these here.
from fastact.stats.activation import wrap
from fastact.stats.channel import wrap_channels

__all__ = ["wrap", "wrap_channels"]
