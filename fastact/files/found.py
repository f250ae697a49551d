"""`FilesStats`: what a sweep of files has found, in all, in each file, in each layer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from fastact.errors import ArgumentValueError
from fastact.files.array import ArrayStats
from fastact.files.source import Source
from fastact.stats.activation import ActivationStats, wrap
from fastact.stats.channel import ChannelStats
from fastact.stats.detailed import detail
from fastact.stats.merge import merge
from fastact.stats.options import Bounds
from fastact.text import percent

#: The line for each failed file, and how many are shown.
_FAILURES_SHOWN: Final = 5


class FilesStats:
    """The statistics of many files: mergeable parts, from which every whole follows. Immutable.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from fastact import sweep_files
        >>> folder = tempfile.mkdtemp()
        >>> for step in range(3):
        ...     np.savez(f"{folder}/{step}.npz", fc1=np.full((4, 2), step), fc2=np.zeros(3))
        >>> found = sweep_files(folder)
        >>> found.total.count, found.layers["fc1"].max, len(found.files)
        (33, 2, 3)
    """

    def __init__(
        self,
        parts: list[tuple[Source, tuple[ArrayStats, ...]]],
        failed: Mapping[str, str],
        bounds: Bounds,
        extras: tuple[str, ...],
        layer_of: Callable[[str, str], str],
    ) -> None:
        self._parts = parts
        self._nothing: ActivationStats = detail((), "float64", bounds, extras) if extras else wrap_nothing(bounds)
        self._layer_of = layer_of
        #: Why files could not be read, by their names; of those nothing is in the statistics.
        self.failed = dict(failed)

    def __iter__(self) -> Iterator[tuple[str, ArrayStats]]:
        """Each array, with its file's name, in the order of the files."""
        for source, arrays in self._parts:
            for array in arrays:
                yield source.name, array

    def __len__(self) -> int:
        """How many arrays there are."""
        return sum(len(arrays) for _, arrays in self._parts)

    @property
    def bytes(self) -> int:
        """The bytes of the files that were swept, as they lie there."""
        return sum(source.size for source, _ in self._parts)

    @property
    def size(self) -> str:
        """The same as people say it: "3.2 TB"."""
        return _size(self.bytes)

    @property
    def total(self) -> ActivationStats:
        """The statistics of all elements of all arrays."""
        return merge([self._nothing, *(array.stats for _, array in self)])

    @property
    def files(self) -> dict[str, ActivationStats]:
        """The statistics of each file, all of its arrays together, by its name."""
        return {
            source.name: merge([self._nothing, *(array.stats for array in arrays)]) for source, arrays in self._parts
        }

    @property
    def layers(self) -> dict[str, ActivationStats]:
        """The statistics of each layer over all files, by its name, in the order in which they came."""
        found: dict[str, ActivationStats] = {}
        for file, array in self:
            layer = self._layer_of(file, array.name)
            found[layer] = found[layer] | array.stats if layer in found else array.stats
        return found

    @property
    def neurons(self) -> dict[str, ChannelStats]:
        """The statistics of each layer's neurons over all files, where an axis was asked for.

        Raises:
            ArgumentValueError: a layer has other neurons in one file than in another.
        """
        found: dict[str, ChannelStats] = {}
        for file, array in self:
            if array.neurons is None:
                continue
            layer = self._layer_of(file, array.name)
            if layer in found and found[layer].shape != array.neurons.shape:
                raise ArgumentValueError(
                    f"axis: layer {layer!r} has neurons of shape {array.neurons.shape} in {file!r}, and "
                    f"{found[layer].shape} before"
                )
            found[layer] = found[layer] | array.neurons if layer in found else array.neurons
        return found

    def to_arrow(self) -> Any:
        """The state of each array as a row of a `pyarrow.Table`, which `fastact.merge_arrow` merges by any columns.

        Beside those of `fastact.to_arrow` its columns are ``file``, ``bytes``, ``changed`` (ns since 1970), ``array``,
        ``dtype``, ``array_shape``, ``nulls`` and ``layer``.
        """
        import pyarrow as pa

        from fastact.files.journal import rows_of

        table = rows_of(self._parts)
        layers = [self._layer_of(file, array.name) for file, array in self]
        return table.add_column(0, "layer", pa.array(layers, pa.string()))

    def __repr__(self) -> str:
        total = self.total
        return f"FilesStats(files={len(self._parts)}, failed={len(self.failed)}, arrays={len(self)}, total={total!r})"

    def __str__(self) -> str:
        total = self.total
        size = self.size
        lines = [f"{total.count:,} elements of {len(self):,} arrays in {len(self._parts):,} files ({size})"]
        numbers = f"mean {total.mean:.5g}, std {total.std:.5g}, min {total.min:.5g}, max {total.max:.5g}"
        shares = f"{percent(total.zero_ratio)} zeros, {total.nans:,} NaN, {total.infs:,} Inf" if total.count else ""
        lines += [numbers, shares] if total.count else []
        if self.failed:
            lines.append(f"{len(self.failed):,} files could not be read, and are not in these numbers:")
            lines += [f"  {reason}" for reason in list(self.failed.values())[:_FAILURES_SHOWN]]
        return "\n".join(lines)


def _size(count: int) -> str:
    """Bytes as people say them: "3.2 MB"."""
    place = min(max(len(str(count)) - 1, 0) // 3, 5)
    return f"{count / 1000**place:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB', 'PB')[place]}"


def wrap_nothing(bounds: Bounds) -> ActivationStats:
    """The stats of no elements."""
    from fastact import arithmetic

    return wrap(arithmetic.EMPTY, bounds)
