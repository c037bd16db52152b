"""A trained network over a catalogue that has changed: what it learned goes along by id."""

from typing import Final

import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog
from chronotope.contracts.ids import IdMap
from chronotope.models.network import ChronotopeNet

EMBEDDED: Final = {"item": "items", "category": "categories", "kind": "categories"}
"""Layers with a row an item or a category, and the ids of their rows."""

TABLES: Final = "items."
"""Begins the names of what the network reads off the catalogue and does not learn."""


def transfer_network(net: ChronotopeNet, then: Catalog, now: Catalog) -> ChronotopeNet:
    """The same network for another catalogue; the given one stays as it is.

    An item or a category that was known keeps its row, whatever its index; a new one
    starts as the mean of the known ones; one that is gone is forgotten. Everything else
    is learned by all items together and needs no change.

    Args:
        net: A trained network.
        then: The catalogue it was built for.
        now: The catalogue it shall answer in.
    """
    with torch.random.fork_rng(devices=[]):  # its first weights are thrown away
        grown = ChronotopeNet(net.config, now)
    state = grown.state_dict()
    for name, learned in net.state_dict().items():
        layer = name.split(".")[-2] if "." in name else ""
        if layer in EMBEDDED:
            ids = EMBEDDED[layer]
            state[name] = _rows(learned, getattr(then, ids), getattr(now, ids))
        elif not name.startswith(TABLES):
            state[name] = learned
    grown.load_state_dict(state)
    return grown.eval()


def _rows(learned: Tensor, then: IdMap, now: IdMap) -> Tensor:
    """A row an id of now, shape (now.size, d): its own, or the mean of all known ones."""
    at = torch.from_numpy(then.index(now.ids)).long()
    mean = learned[1:].mean(0) if len(learned) > 1 else learned[0]
    rows = torch.where((at > 0)[:, None], learned[at], mean)
    return torch.cat([learned[:1], rows])
