"""Prometheus metrics of one jobs process."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """Counters in a registry of their own, so that tests can have several jobs processes in one."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rounds = Counter(
            "smartconnect_jobs_rounds_total",
            "Rounds of each part by outcome (done, waiting for the database)",
            ("part", "outcome"),
            registry=self.registry,
        )
        self.done = Counter(
            "smartconnect_jobs_done_total", "Things each part has done", ("part",), registry=self.registry
        )
        self.last_round_s = Gauge(
            "smartconnect_jobs_last_round_seconds",
            "When each part last ended a round, unix seconds: one that stands still is in trouble",
            ("part",),
            registry=self.registry,
        )
