"""Transfer of a trained network to a changed catalogue: embeddings move by id."""

from typing import Final

import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog
from chronotope.contracts.ids import IdMap
from chronotope.models.content_head import check_encoders, selected_content
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer.parameter_scope import embedded_ids

TABLE_PREFIX: Final = "item_tables."
"""Prefix of the buffers that are computed from the catalogue, not trained."""

CONTENT_PREFIX: Final = "content_head."
"""Prefix of the weights of the content head."""

_NOT_TRANSFERRED: Final = (TABLE_PREFIX, f"{CONTENT_PREFIX}vectors")


def transfer_network(
    net: ChronotopeNet, old_catalog: Catalog, new_catalog: Catalog
) -> ChronotopeNet:
    """Copy of a network for another catalogue; the input network is not changed.

    An item or category of both catalogues keeps its embedding, at its new index; a new one
    starts as the mean embedding; a removed one is dropped. All other parameters are shared
    by the items and are copied.

    Args:
        net: A trained network.
        old_catalog: Catalogue of the network.
        new_catalog: Catalogue of the copy.

    Raises:
        ConfigError: The content of the new catalogue is of other encoders.
    """
    _check_encoders(net, new_catalog)
    has_content = net.content_head is not None and new_catalog.content is not None
    # a content head without training would disturb the scores of a network that had none
    config = net.config if has_content else net.config.model_copy(update={"content": False})
    with torch.random.fork_rng(devices=[]):  # its initial weights are replaced
        new_net = ChronotopeNet(config, new_catalog)
    new_state = new_net.state_dict()
    for parameter_name, learned_table in net.state_dict().items():
        id_field = embedded_ids(parameter_name)
        if id_field is not None:
            new_state[parameter_name] = _transfer_rows(
                learned_table, getattr(old_catalog, id_field), getattr(new_catalog, id_field)
            )
        elif parameter_name in new_state and not parameter_name.startswith(_NOT_TRANSFERRED):
            new_state[parameter_name] = learned_table
    new_net.load_state_dict(new_state)
    return new_net.eval()


def _check_encoders(net: ChronotopeNet, new_catalog: Catalog) -> None:
    head, content = net.content_head, selected_content(new_catalog, net.config)
    if head is None or content is None:
        return
    check_encoders(head.encoders, content)


def _transfer_rows(learned_table: Tensor, old_ids: IdMap, new_ids: IdMap) -> Tensor:
    """Embedding of each new id, shape (new_ids.size, d): its trained row, or the mean row."""
    old_idx = torch.from_numpy(old_ids.index(new_ids.ids)).long()
    mean_row = learned_table[1:].mean(0) if len(learned_table) > 1 else learned_table[0]
    item_rows = torch.where((old_idx > 0)[:, None], learned_table[old_idx], mean_row)
    return torch.cat([learned_table[:1], item_rows])
