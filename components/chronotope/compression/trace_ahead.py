"""Graphs of the candidates, traced in a process of their own while the network is trained.

A trace depends on the architecture alone, takes a dozen seconds of one core, and most networks
train on one core. The traced graphs go into the cache from which compression exports; a guess that
does not come true, such as a discovery head that turns out to be of no worth, costs a trace.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from chronotope.compression.config import CompressionConfig
from chronotope.compression.export import (
    scoring_graph,
    template_cache,
    template_key,
    traced_template,
)
from chronotope.compression.export_indexed import query_graph
from chronotope.compression.networks import candidate_recipes, make_network
from chronotope.compression.tracing.graph_template import GraphSpec
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.runtime.engine.background import start_in_background

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the graphs of the candidates depend on; sent to another process.

    Attributes:
        config: Configuration of the network.
        catalog: The catalogue, with the content that the network reads.
        has_discovery_head: Whether the discovery head is expected to be used.
        compression: Candidates to try.
        cache_dir: Folder of all caches.
        has_user_head: Whether the user head is expected to be used, attributes included.
    """

    config: ModelConfig
    catalog: Catalog
    has_discovery_head: bool
    compression: CompressionConfig
    cache_dir: Path
    has_user_head: bool = False

    def untraced(self) -> list[GraphSpec]:
        """Graphs that the cache does not hold, each once."""
        cache = template_cache(self.cache_dir)
        specs = {template_key(spec): spec for spec in self._graphs()}
        return [spec for key, spec in specs.items() if not cache.holds(key)]

    def trace(self) -> None:
        """Trace these graphs; a problem is left to the compression, which meets it again."""
        try:
            for spec in self.untraced():
                traced_template(spec, template_cache(self.cache_dir))
        except Exception:
            _LOG.debug("A graph was not traced ahead", exc_info=True)

    def _graphs(self) -> Iterator[GraphSpec]:
        """Graph of each candidate, of networks that are not trained."""
        with torch.random.fork_rng(devices=[]):
            net = ChronotopeNet(self.config, self.catalog)
        if net.discovery_head is not None and self.has_discovery_head:
            net.discovery_head.active = True
            for parameter in net.discovery_head.parameters():  # a student's head of zeros is unused
                torch.nn.init.ones_(parameter)
        if net.user_head is not None and self.has_user_head:
            net.user_head.active = True
            for weights in net.user_head.fitted():
                weights.fill_(1.0)
        no_events = EventLog.sorted(user_idx=[], item_idx=[], occurred_s=[])
        priors = count_priors(no_events, self.catalog)
        recipes = candidate_recipes(net, self.compression, self.catalog.n_items)
        for recipe in {recipe.graph_name: recipe for recipe in recipes}.values():
            network = make_network(recipe, net, self.catalog, None)
            yield (query_graph if recipe.n_codes else scoring_graph)(network, priors)


def trace_ahead(architecture: Architecture) -> None:
    """Start to trace the graphs that the cache does not hold; returns at once.

    On a machine with one core nothing is started: it would only delay the training.

    Args:
        architecture: What the graphs depend on.
    """
    if architecture.untraced():
        start_in_background(architecture.trace)
