"""Prometheus metrics of one portal process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest


class Metrics:
    """Counters in a registry of their own, so that tests can have several portals in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "smartconnect_portal_requests_total",
            "Requests by route, method and status",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "smartconnect_portal_request_seconds",
            "Time to an answer by route; streams count until they end",
            ("route",),
            registry=self.registry,
        )
        self.streams = Gauge(
            "smartconnect_portal_streams", "Open live streams of this process", registry=self.registry
        )
        self.polls = Counter(
            "smartconnect_portal_polls_total", "Polls of the watched devices", registry=self.registry
        )
        self.logins = Counter(
            "smartconnect_portal_logins_total", "Log-ins by outcome", ("outcome",), registry=self.registry
        )

    def observe(self, route: str, method: str, status: int, took_s: float) -> None:
        """Count one request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(took_s)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
