"""Prometheus metrics of one gateway process."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """Counters in a registry of their own, so that tests can have several gateways in one process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, explanation: str) -> Counter:
            return Counter(f"smartconnect_gateway_{name}", explanation, registry=registry)

        self.sessions = Gauge("smartconnect_gateway_sessions", "Sessions logged in", registry=registry)
        self.held_bytes = Gauge(
            "smartconnect_gateway_held_bytes", "Payloads read and not yet stored", registry=registry
        )
        self.logins = Counter(
            "smartconnect_gateway_logins_total", "Log-ins by outcome", ("outcome",), registry=registry
        )
        self.announcements = Counter(
            "smartconnect_gateway_announcements_total",
            "Announcements by outcome",
            ("outcome",),
            registry=registry,
        )
        self.handshakes_failed = counter("handshakes_failed_total", "TLS handshakes that did not end well")
        self.refused = counter("refused_total", "Packets and connections refused")
        self.dropped = counter("dropped_total", "Messages acknowledged and not kept (old epoch, no listener)")
        self.rows = counter("rows_total", "Samples stored")
        self.duplicates = counter("duplicates_total", "Samples that were stored before")
        self.rejected = counter("rejected_total", "Messages whose content was refused")
        self.batches = counter("batches_total", "Transactions committed")
        self.fenced = counter("fenced_total", "Batches rolled back because a fence had moved")
        self.alarms = counter("alarms_total", "Rows above the stored position that were in the table")
