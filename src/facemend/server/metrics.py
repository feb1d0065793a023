"""Prometheus metrics: requests, bytes, pixels, faces, seconds. Nothing that came in a request is kept."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MEGAPIXELS = (0.1, 0.3, 1, 3, 6, 12, 24, 50)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "facemend_requests", "Responses.", ("route", "status"), registry=self._registry
        )
        self.request_s = Histogram(
            "facemend_request_seconds",
            "From the request's head to the end of the response.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.received = Counter("facemend_received_bytes", "Bytes of bodies.", registry=self._registry)
        self.reconstruct_s = Histogram(
            "facemend_reconstruct_seconds", "Work on a photo.", buckets=_SECONDS, registry=self._registry
        )
        self.megapixels = Histogram(
            "facemend_photo_megapixels", "Size of photos.", buckets=_MEGAPIXELS, registry=self._registry
        )
        self.faces = Counter(
            "facemend_faces", "Faces, by what was done.", ("outcome",), registry=self._registry
        )
        self.waiting = Gauge("facemend_waiting", "Photos in the queue.", registry=self._registry)
        self.running = Gauge("facemend_running", "Photos being worked on.", registry=self._registry)
        self.workers_lost = Gauge(
            "facemend_workers_lost",
            "Workers that ended over a photo and were started again.",
            registry=self._registry,
        )
        self.held = Gauge("facemend_held_bytes", "Bytes of bodies in memory.", registry=self._registry)

    def watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Reads a gauge's value from a function."""
        gauge.set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' format."""
        return generate_latest(self._registry)
