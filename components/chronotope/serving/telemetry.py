"""Prometheus metrics of the service, without user ids."""

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder in which workers share their metrics."""

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)


class Telemetry:
    """Metrics of one service, in a separate Prometheus registry."""

    def __init__(self) -> None:
        """Register all metrics."""
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "chronotope_requests", "Requests answered", ("path", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "chronotope_request_seconds",
            "Time of a request",
            ("path",),
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self.model_seconds = Histogram(
            "chronotope_model_seconds",
            "Time of a model run",
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self.lookups = Counter(
            "chronotope_cache_lookups", "Cache lookups", ("cache", "result"), registry=registry
        )
        self.unknown_items = Counter(
            "chronotope_unknown_items",
            "Events whose item the model does not know",
            registry=registry,
        )
        self.cold_start_requests = Counter(
            "chronotope_cold_start_requests",
            "Requests of users without a history",
            registry=registry,
        )
        self.interactions = Counter(
            "chronotope_interactions", "Records received", ("kind",), registry=registry
        )
        self.duplicates = Counter(
            "chronotope_duplicate_interactions",
            "Records received that were stored before",
            registry=registry,
        )
        self.impressions_lost = Counter(
            "chronotope_impressions_lost", "Impressions that could not be logged", registry=registry
        )
        self.swaps = Counter(
            "chronotope_swaps",
            "Swaps of the champion or its data",
            ("result",),
            registry=registry,
        )
        self.store_failures = Counter(
            "chronotope_store_failures", "Errors of the shared store", registry=registry
        )
        self.champion_version = Gauge(
            "chronotope_champion",
            "Version of the loaded champion",
            ("version",),
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._register_experiment_metrics(registry)

    def _register_experiment_metrics(self, registry: CollectorRegistry) -> None:
        self.arm_answers = Counter(
            "chronotope_arm_answers",
            "Lists of an arm; fell_back: computed by the champion",
            ("arm", "fell_back"),
            registry=registry,
        )
        self.arm_open = Gauge(
            "chronotope_arm_open",
            "Whether an arm's model is loaded in all workers",
            ("arm",),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.shadow_answers = Counter(
            "chronotope_shadow_answers",
            "Lists of shadow arms: done, failed, or dropped from a full queue",
            ("arm", "result"),
            registry=registry,
        )

    def cache_counter(self, cache_name: str) -> Callable[[bool], None]:
        """Counter of hits and misses of one cache."""
        hits, misses = (self.lookups.labels(cache_name, result) for result in ("hit", "miss"))
        return lambda is_hit: (hits if is_hit else misses).inc()

    def metrics_page(self) -> bytes:
        """All metrics, of all workers, in the text format of Prometheus."""
        if SHARED_METRICS not in os.environ:
            return generate_latest(self._registry)
        all_workers = CollectorRegistry()
        MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)
