"""What the service tells of itself to Prometheus; no user is named."""

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder through which workers count together."""

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)


class Telemetry:
    """One service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Make all of them."""
        own = self._registry = CollectorRegistry()
        self.requests = Counter(
            "chronotope_requests", "Requests answered", ("path", "status"), registry=own
        )
        self.seconds = Histogram(
            "chronotope_request_seconds",
            "Time of a request",
            ("path",),
            registry=own,
            buckets=_SECONDS,
        )
        self.model_seconds = Histogram(
            "chronotope_model_seconds",
            "Time of a run of the graph",
            registry=own,
            buckets=_SECONDS,
        )
        self.lookups = Counter(
            "chronotope_cache_lookups", "Looks into a cache", ("cache", "found"), registry=own
        )
        self.unknown_items = Counter(
            "chronotope_unknown_items", "Events of a past whose item no model knows", registry=own
        )
        self.strangers = Counter(
            "chronotope_strangers", "Answers for users without a past", registry=own
        )
        self.interactions = Counter(
            "chronotope_interactions", "Records received", ("kind",), registry=own
        )
        self.repeated = Counter(
            "chronotope_repeated", "Records received whose key was there already", registry=own
        )
        self.impressions_lost = Counter(
            "chronotope_impressions_lost", "Answers that could not be logged", registry=own
        )
        self.swaps = Counter(
            "chronotope_swaps",
            "Champions or data taken over",
            ("result",),
            registry=own,
        )
        self.store_failures = Counter(
            "chronotope_store_failures", "Times the shared store did not answer", registry=own
        )
        self.version = Gauge(
            "chronotope_champion",
            "The champion that answers",
            ("version",),
            registry=own,
            multiprocess_mode="mostrecent",
        )
        self._of_experiments(own)

    def _of_experiments(self, own: CollectorRegistry) -> None:
        self.arm_answers = Counter(
            "chronotope_arm_answers",
            "Answers to users of an arm; fell_back: the champion stood in for its model",
            ("arm", "fell_back"),
            registry=own,
        )
        self.arm_open = Gauge(
            "chronotope_arm_open",
            "Whether an arm's model answers, of all workers",
            ("arm",),
            registry=own,
            multiprocess_mode="livemin",
        )
        self.shadows = Counter(
            "chronotope_shadow_answers",
            "Answers of shadows: done, failed, dropped where too many waited",
            ("arm", "result"),
            registry=own,
        )

    def cache(self, name: str) -> Callable[[bool], None]:
        """Counts the hits and misses of a cache."""
        hit, miss = (self.lookups.labels(name, found) for found in ("yes", "no"))
        return lambda found: (hit if found else miss).inc()

    def page(self) -> bytes:
        """All metrics, of all workers, in the text format of Prometheus."""
        if SHARED_METRICS not in os.environ:
            return generate_latest(self._registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)
