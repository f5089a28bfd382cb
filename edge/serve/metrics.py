"""What Prometheus reads, through its own client library. Counts are of records told since the server started."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge.errors import OutputError
from edge.serve.broadcast import Broadcast

if TYPE_CHECKING:
    from edge.serve.web import Vital


def exposed(broadcast: Broadcast, vital: Vital) -> tuple[bytes, str]:
    """(text, its media type). Raises: OutputError where prometheus_client is missing."""
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
        from prometheus_client.core import CounterMetricFamily
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise OutputError(f"metrics need prometheus_client ({error}); pip install 'auricle[web]'") from None

    registry = CollectorRegistry()

    class Records(Collector):
        def collect(self) -> list[CounterMetricFamily]:
            told = CounterMetricFamily("auricle_records", "Records told, by type", labels=["type"])
            for kind, count in sorted(broadcast.counts.items()):
                told.add_metric([kind], count)
            samples = CounterMetricFamily("auricle_processed_samples", "Samples at 16 kHz of the current stream that were dealt with")
            samples.add_metric([], vital.samples)
            return [told, samples]

    registry.register(Records())
    status = broadcast.status or {}
    for name, about, value in (
        ("auricle_lag_seconds", "How far what was last dealt with lay behind its being available", status.get("lag")),
        ("auricle_waiting_events", "Events between the listening and the telling thread", status.get("waiting")),
        ("auricle_shed_views", "Views of open captions that were left out because the line was behind", status.get("shed")),
        ("auricle_seconds_since_progress", "Since a sample was last dealt with", time.monotonic() - vital.grew_at),
        ("auricle_level_dbfs", "Level of the newest chunk", vital.level_dbfs),
        ("auricle_floor_dbfs", "Level of the noise floor", vital.floor_dbfs),
        ("auricle_readers", "Readers of the stream", broadcast.readers),
    ):
        if value is not None:
            Gauge(name, about, registry=registry).set(value)
    duty = Gauge("auricle_duty_ratio", "Share of the stream that a step has worked on", ["step"], registry=registry)
    for step, share in (status.get("duty") or {}).items():
        duty.labels(step).set(share)
    return generate_latest(registry), CONTENT_TYPE_LATEST
