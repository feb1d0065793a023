"""What is counted: requests, bytes, pixels, faces, seconds. Nothing that came in a request is kept."""

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
        shared = {"namespace": "facemend", "registry": self._registry}
        self.requests = Counter("requests", "Answers.", ("route", "status"), **shared)
        self.request_s = Histogram(
            "request_seconds", "Head to answer.", ("route",), buckets=_SECONDS, **shared
        )
        self.received = Counter("received_bytes", "Bytes of bodies.", **shared)
        self.mend_s = Histogram("mend_seconds", "Work on a photo.", buckets=_SECONDS, **shared)
        self.megapixels = Histogram("photo_megapixels", "Size of photos.", buckets=_MEGAPIXELS, **shared)
        self.faces = Counter("faces", "Faces, by what was done.", ("outcome",), **shared)
        self.waiting = Gauge("waiting", "Photos in the queue.", **shared)
        self.running = Gauge("running", "Photos being worked on.", **shared)
        self.held = Gauge("held_bytes", "Bytes of bodies in memory.", **shared)

    def watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Has a gauge ask for its value when it is read."""
        gauge.set_function(value)

    def text(self) -> bytes:
        """Everything, in Prometheus' format."""
        return generate_latest(self._registry)
