"""Prometheus metrics of one portal process."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


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

    def show_claims(self, taken_in: Callable[[], int], spent: Callable[[], int]) -> None:
        """Show how many typed claims are taken in at the moment, and how many derivations were begun."""
        self.registry.register(_Claims(taken_in, spent))

    def observe(self, route: str, method: str, status: int, took_s: float) -> None:
        """Count one request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(took_s)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class _Claims(Collector):
    """Figures that somebody else counts."""

    def __init__(self, taken_in: Callable[[], int], spent: Callable[[], int]) -> None:
        self._taken_in = taken_in
        self._spent = spent

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        taken_in = "Typed claims that are being checked or wait for it"
        yield GaugeMetricFamily("smartconnect_portal_claims", taken_in, self._taken_in())
        spent = "Label keys whose derivation was begun"
        yield CounterMetricFamily("smartconnect_portal_derivations", spent, self._spent())
