"""What the host makes of the numbers that a graph hands over: rows of the monitor."""

from typing import Any

import numpy as np

from fastact._adapters.attachment import Attachment
from fastact.diagnosis.layer_types import BOUNDED, INPUT
from fastact.jax.samples import Layout, on_host
from fastact.jax.summary import Summary
from fastact.monitor.batches import facts_of_inputs
from fastact.stats.options import SATURATION


class Keeper:
    """Hands numbers to the monitor of an attachment.

    Args:
        attachment: that of the recorder.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        #: The inputs whose facts are known.
        self._described: set[str] = set()

    def tensor(self, name: str, options: dict[str, Any], axis: int | None, given: Any) -> None:
        """One of many tensors, or its summary."""
        with self._attachment.failure_counter(f"record {name!r}"):
            if isinstance(given, Summary):
                self._attachment.monitor.record(name, given.stats(), **options)
            else:
                x = np.asarray(given)
                self._attachment.monitor.record_in_place(name, x, axis, options["layer_type"])

    def layer(self, name: str, options: dict[str, Any], axis: Any, layout: Layout, given: Any) -> None:
        """An output as it is, or its summary and a part of it."""
        with self._attachment.failure_counter(f"record layer {name!r}"):
            if not isinstance(given, tuple):
                self._whole(name, options, axis, np.asarray(given))
                return
            summary, sample = given
            if sample is not None:
                self._describe(name, sample, axis, layout)
            self._attachment.monitor.record(name, summary.stats(), **options)

    def _whole(self, name: str, options: dict[str, Any], axis: Any, x: Any) -> None:
        layer_type, saturation = options["layer_type"], options["saturation"]
        if layer_type == INPUT:
            self._describe(name, x, axis, None)
        if isinstance(axis, int | None) and saturation == BOUNDED.get(layer_type, SATURATION):
            self._attachment.monitor.record_in_place(name, x, axis, layer_type)
        else:
            self._attachment.monitor.record(name, x, axis=axis, layer_type=layer_type, saturation=saturation)

    def _describe(self, name: str, x: Any, axis: Any, layout: Layout | None) -> None:
        if name not in self._described:
            self._described.add(name)
            given = x if layout is None else on_host((None, x), layout)
            self._attachment.describe(name, facts=facts_of_inputs(given, axis))

    def loss(self, options: dict[str, Any], layouts: dict[str, Layout], parts: dict[str, Any]) -> None:
        """A loss, and what it was given."""
        with self._attachment.failure_counter(f"record {options['name']!r}"):
            given = {key: on_host(parts[key], layout) for key, layout in layouts.items()}
            value = parts["value"]
            value = value.stats() if isinstance(value, Summary) else np.asarray(value)
            self._attachment.monitor.record_loss(value, **given, **options)
