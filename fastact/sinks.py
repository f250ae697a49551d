"""Sends what a monitor sees to a dashboard: TensorBoard, Weights & Biases, MLflow, trackio, OpenMetrics.

    import fastact, fastact.sinks

    with fastact.ActivationMonitor("runs/a") as monitor:
        fastact.sinks.attach(monitor, fastact.sinks.TensorBoard("runs/a/tensorboard"))
        ...

    fastact.sinks.send(fastact.open_log("runs/a"), fastact.sinks.TensorBoard("elsewhere"))  # afterwards, from the log

Where the dashboard has images, ``attach(monitor, sink, heat_map="rms", heat_map_every=500)`` sends the heat map of
layers by steps as well, with the findings marked; it needs matplotlib (``pip install 'fastact[plot]'``).

A sink is any object with the two methods of `Sink`. It is given the scalars of `SCALARS` for each layer, named
``activations/<layer>/<scalar>`` where names are flat. The log stays the source of truth: it keeps all numbers that
merge and that the diagnosis needs, to the last bit; a dashboard has a part of them.
"""

import io
import itertools
import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from fastact import heatmap
from fastact._adapters.heat_maps import GrowingMap, png
from fastact.checks import check_integer
from fastact.errors import ArgumentTypeError, FastactError
from fastact.failures import FailureCounter
from fastact.fields import COLUMN, NEURON, STATE
from fastact.packages import needs_extra

if TYPE_CHECKING:
    from fastact.monitor.monitor import ActivationMonitor
    from fastact.replay.log import Log

__all__ = [
    "SCALARS", "ImageSink", "MLflow", "OpenMetrics", "Scalars", "Sink", "TensorBoard", "Trackio", "WeightsAndBiases",
    "attach", "scalars", "send",
]  # fmt: skip

#: The scalars of one step: by layer, then by name.
Scalars = Mapping[str, Mapping[str, float]]

#: The numbers that are sent for a layer in a step, and what they mean. Without a finite element there are no moments,
#: so they are not sent; `nans` and `infs` always are, and account for the missing ones. Those of `NEURON` are sent only
#: where the layer was swept per neuron.
SCALARS: Final[Mapping[str, str]] = {
    **{field.name: field.meaning for field in STATE if field.name in {"mean", "std", "abs_mean", "min", "max"}},
    "nans": "elements that are NaN",
    "infs": "elements that are +inf or -inf",
    "zero_ratio": "share of the elements that are zero",
    "saturation_ratio": "share of the elements outside of the saturation interval",
    **{field.name: field.meaning for field in NEURON},
}


class Sink(Protocol):
    """Where scalars go; one that takes images has `write_image` too, as `ImageSink` has it."""

    def write(self, step: int, layers: Scalars) -> None:
        """Takes the scalars of a step, all of them finite."""

    def close(self) -> None:
        """Called once, after the last step."""


class ImageSink(Sink, Protocol):
    """Where scalars go, and images."""

    def write_image(self, step: int, name: str, png: bytes) -> None:
        """Takes an image of a step: a PNG file."""


def scalars(row: tuple[Any, ...]) -> dict[str, float]:
    """The scalars of one row, which holds the numbers of `fields.ROW` in their order."""
    values: dict[str, Any] = {name: row[place] for name, place in COLUMN.items() if name in SCALARS}
    count = row[COLUMN["count"]]
    values["infs"] = row[COLUMN["pos_infs"]] + row[COLUMN["neg_infs"]]
    values["zero_ratio"] = row[COLUMN["zeros"]] / count if count else math.nan
    values["saturation_ratio"] = row[COLUMN["saturated"]] / count if count else math.nan
    if not values["neurons"]:
        for field in NEURON:
            del values[field.name]
    return {name: values[name] for name in SCALARS if name in values and math.isfinite(values[name])}


def flat(layers: Scalars) -> dict[str, float]:
    """The same numbers under one name each: ``activations/<layer>/<scalar>``."""
    return {f"activations/{layer}/{name}": value for layer, found in layers.items() for name, value in found.items()}


def attach(
    monitor: "ActivationMonitor",
    sink: Sink,
    *,
    every: int = 1,
    heat_map: str | None = None,
    heat_map_every: int = 1000,
) -> None:
    """Sends each step to a sink when the monitor ends it, on the training's thread; closes the sink with the monitor.

    Args:
        monitor: whose steps to send. A failure of the sink counts among its `failures` and is warned of once, unless
            the monitor is ``strict``.
        sink: where to send them. Several calls attach several sinks.
        every: send one in this many recorded steps, at least 1, the first of them included.
        heat_map: the statistic of a heat map of layers by steps, from now on, that is sent as an image: a name of
            `fastact.heatmap.STATISTICS`, such as "rms". None sends none.
        heat_map_every: recorded steps from one such image to the next; there is one at the end as well. An image takes
            some 0.3 s of the training's thread, and its cells take memory that does not grow with the steps.

    Raises:
        ArgumentTypeError: `every` is not a number of steps, or the sink takes no images.
        ArgumentValueError: `every` is less than 1, or there is no such statistic.
        MissingExtraError: a heat map was asked for, and matplotlib is not installed.
    """
    check_integer("every", every, 1)
    check_integer("heat_map_every", heat_map_every, 1)
    feed = _Feed(sink, every)
    if heat_map is not None:
        feed.images = _Images(_takes_images(sink), heat_map, heat_map_every, GrowingMap(monitor, heat_map))
    monitor.listen(feed)


def send(log: "Log", sink: Sink, *, heat_map: str | None = None) -> None:
    """Sends a whole log to a sink, in the order in which it was written, and closes the sink.

    In a run of several ranks the layers' names begin with the rank: ``"rank-00001/encoder.0"``.

    Args:
        log: what to send.
        sink: where to send it.
        heat_map: the statistic of a heat map of the whole log, sent as an image of its last step; None sends none.

    Raises:
        ArgumentTypeError: the sink takes no images.
        ArgumentValueError: there is no such statistic.
    """
    images = None if heat_map is None else _takes_images(sink)
    try:
        if images is not None and heat_map is not None:
            cells = heatmap.cells(log, heat_map)  # first, since it may refuse the statistic
            images.write_image(cells.last, image_name(heat_map), png(cells, log.diagnose().findings))
        for (rank, step), records in itertools.groupby(log.replay(), lambda record: (record.rank, record.step)):
            prefix = f"rank-{rank:05d}/" if len(log.ranks) > 1 else ""
            sink.write(step, {prefix + record.layer: scalars(record.row) for record in records})
    finally:
        sink.close()


def image_name(statistic: str) -> str:
    """The name under which a heat map is sent."""
    return f"heat_map/{statistic}"


def _takes_images(sink: Sink) -> ImageSink:
    if not hasattr(sink, "write_image"):
        got = type(sink).__name__
        raise ArgumentTypeError(f"heat_map: got a sink of type {got}, want one that takes images, with write_image")
    return cast(ImageSink, sink)


class _Images:
    """Sends a heat map once in so many recorded steps."""

    def __init__(self, sink: ImageSink, statistic: str, every: int, growing: GrowingMap) -> None:
        self._sink, self._statistic, self._every, self._growing = sink, statistic, every, growing
        self._steps, self._step, self._sent = 0, 0, True

    def add(self, step: int, rows: Mapping[str, tuple[Any, ...]]) -> None:
        """Takes in the rows of a step, and sends the image if it is due."""
        self._growing.add(rows)
        self._steps, self._step, self._sent = self._steps + 1, step, False
        if self._steps % self._every == 0:
            self.send()

    def send(self) -> None:
        """Sends the image of the rows so far, if there are any that were not in the last one."""
        if not self._sent:
            self._sent = True  # a failure is not repeated
            self._sink.write_image(self._step, image_name(self._statistic), self._growing.png())


class _Feed:
    """The `Listener` of a monitor that feeds a sink."""

    def __init__(self, sink: Sink, every: int) -> None:
        self._sink = sink
        self._every = every
        self._steps = 0
        self.images: _Images | None = None

    def write(self, step: int, rows: Mapping[str, tuple[Any, ...]]) -> None:
        try:
            if rows and self._steps % self._every == 0:
                self._sink.write(step, {name: scalars(row) for name, row in rows.items()})
            if rows and self.images is not None:
                self.images.add(step, rows)
        except Exception as error:
            raise FastactError(f"{type(self._sink).__name__} did not take step {step}: {error!r}") from error
        finally:
            self._steps += bool(rows)  # steps in which nothing was recorded do not count

    def close(self) -> None:
        failures = FailureCounter(f"fastact.sinks.{type(self._sink).__name__}")
        if self.images is not None:
            with failures("send the last heat map"):
                self.images.send()
        with failures("close"):
            self._sink.close()


def _opened(png: bytes) -> Any:
    """A PNG file as an image of Pillow's, which matplotlib brings."""
    from PIL import Image

    return Image.open(io.BytesIO(png))


class TensorBoard:
    """Event files for the ``tensorboard`` command. Needs neither TensorFlow nor PyTorch.

    Args:
        path: the folder to write them to.

    Raises:
        MissingExtraError: the package tensorboard is not installed.
    """

    def __init__(self, path: Any) -> None:
        with needs_extra("fastact.sinks.TensorBoard", "tensorboard", "tensorboard"):
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(str(path))

    def write(self, step: int, layers: Scalars) -> None:
        """Takes the scalars of a step. TensorBoard keeps them in float32."""
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in flat(layers).items()]
        self._add(step, values)

    def write_image(self, step: int, name: str, png: bytes) -> None:
        """Takes an image of a step."""
        image = self._summary.Image(encoded_image_string=png, colorspace=4)
        image.width, image.height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # PNG's header
        self._add(step, [self._summary.Value(tag=f"activations/{name}", image=image)])

    def _add(self, step: int, values: Any) -> None:
        self._writer.add_event(self._event(step=step, wall_time=time.time(), summary=self._summary(value=values)))

    def close(self) -> None:
        """Writes out buffered events."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, online or offline.

    Args:
        run: the result of ``wandb.init(...)``. `close` does not finish it.

    The scalars have a step axis of their own, ``activations/step``, so that they do not interfere with anything else
    that the run logs.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        run.define_metric("activations/step", hidden=True)
        run.define_metric("activations/*", step_metric="activations/step")

    def write(self, step: int, layers: Scalars) -> None:
        """Takes the scalars of a step."""
        self._run.log({"activations/step": step, **flat(layers)})

    def write_image(self, step: int, name: str, png: bytes) -> None:
        """Takes an image of a step."""
        import wandb

        self._run.log({"activations/step": step, f"activations/{name}": wandb.Image(_opened(png))})

    def close(self) -> None:
        """Does nothing: the run belongs to the caller."""


class MLflow:
    """A run of MLflow, in the store that its tracking URI names.

    Args:
        run_id: the run's id; by default that of the active run or, if there is none, of a new one.

    MLflow allows letters, digits and ``_-. :/`` in names; any other character of a layer's name becomes ``_``.

    Raises:
        MissingExtraError: the package mlflow is not installed.
    """

    #: MLflow's limit on the metrics in one call.
    _MAX_METRICS: Final = 1000

    def __init__(self, run_id: str | None = None) -> None:
        with needs_extra("fastact.sinks.MLflow", "mlflow", "mlflow"):
            import mlflow
        self._log = mlflow.log_metrics
        self._client = mlflow.MlflowClient
        if run_id is None:
            run_id = (mlflow.active_run() or mlflow.start_run()).info.run_id
        self.run_id = run_id

    def write(self, step: int, layers: Scalars) -> None:
        """Takes the scalars of a step."""
        metrics = [(re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII), value) for name, value in flat(layers).items()]
        for start in range(0, len(metrics), self._MAX_METRICS):
            self._log(dict(metrics[start : start + self._MAX_METRICS]), step=step, run_id=self.run_id)

    def write_image(self, step: int, name: str, png: bytes) -> None:
        """Takes an image of a step."""
        self._client().log_image(self.run_id, _opened(png), key=f"activations/{name}", step=step)

    def close(self) -> None:
        """Does nothing: the run belongs to the caller."""


class Trackio:
    """A run of trackio.

    Args:
        run: the result of ``trackio.init(...)``. `close` does not finish it.
    """

    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, step: int, layers: Scalars) -> None:
        """Takes the scalars of a step."""
        self._run.log(flat(layers), step=step)

    def write_image(self, step: int, name: str, png: bytes) -> None:
        """Takes an image of a step."""
        import trackio

        self._run.log({f"activations/{name}": trackio.Image(_opened(png))}, step=step)

    def close(self) -> None:
        """Does nothing: the run belongs to the caller."""


class OpenMetrics:
    """Gauges of the latest step for Prometheus to scrape: ``fastact_activation_std{layer="encoder.0"}`` and so on.

    Args:
        registry: a `prometheus_client.CollectorRegistry`; by default the one that
            ``prometheus_client.start_http_server(port)`` serves.

    Raises:
        MissingExtraError: the package prometheus-client is not installed.
    """

    def __init__(self, registry: Any = None) -> None:
        with needs_extra("fastact.sinks.OpenMetrics", "prometheus_client", "prometheus_client"):
            from prometheus_client import REGISTRY
            from prometheus_client.core import GaugeMetricFamily
        self._family = GaugeMetricFamily
        self._last: tuple[int, Scalars] | None = None
        if registry is not None and not callable(getattr(registry, "register", None)):
            raise ArgumentTypeError(f"registry: got {type(registry).__name__}, want a prometheus_client registry")
        self._registry = REGISTRY if registry is None else registry
        self._registry.register(self)

    def write(self, step: int, layers: Scalars) -> None:
        """Replaces the scalars by those of a new step."""
        self._last = (step, layers)

    def collect(self) -> Iterable[Any]:
        """The metrics, which prometheus-client asks for at each scrape."""
        if self._last is None:
            return
        step, layers = self._last
        yield self._family("fastact_step", "training step of the other metrics", value=step)
        for name, meaning in SCALARS.items():
            family = self._family(f"fastact_activation_{name}", meaning, labels=["layer"])
            for layer, found in layers.items():
                if name in found:
                    family.add_metric([layer], found[name])
            if family.samples:
                yield family

    def close(self) -> None:
        """Removes the metrics from the registry."""
        self._registry.unregister(self)
