"""Transfer of a trained network to a changed catalogue: embeddings move by id."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.user_attributes import AttributeColumn
from chronotope.models.cold_users.user_head import USER_HEAD_PREFIX, UserHead
from chronotope.models.content_head import check_encoders, selected_content
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer.parameter_scope import embedded_ids
from chronotope.training.content_metric import metric_in_axes

TABLE_PREFIX: Final = "item_tables."
"""Prefix of the buffers that are computed from the catalogue, not trained."""

CONTENT_PREFIX: Final = "content_head."
"""Prefix of the weights of the content head."""

_USER_TABLES: Final = {
    "start": "items",
    "item_factors": "items",
    "place_factors": "places",
}
"""Tables of the user head, and the id map that their rows follow."""

ITEM_CONTEXT_PREFIX: Final = "item_context_head."
"""Prefix of the weights of the item context's levels."""

_NOT_TRANSFERRED: Final = (
    TABLE_PREFIX,
    ITEM_CONTEXT_PREFIX,
    f"{CONTENT_PREFIX}vectors",
    f"{CONTENT_PREFIX}metric",
    *(f"{USER_HEAD_PREFIX}{name}" for name in (*_USER_TABLES, "level_factors", "column_weights")),
)


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
    if net.user_head is not None and new_net.user_head is not None:
        new_state |= _user_head_state(net.user_head, old_catalog, new_catalog)
    if net.item_context_head is not None and new_net.item_context_head is not None:
        weights = net.item_context_head.level_weights
        new_state[f"{ITEM_CONTEXT_PREFIX}level_weights"] = _level_rows(
            weights, old_catalog.item_context, new_catalog.item_context
        )
        lift_weights = net.item_context_head.lift_weights.detach()
        new_state[f"{ITEM_CONTEXT_PREFIX}lift_weights"] = lift_weights
    old_content = selected_content(old_catalog, net.config)
    new_content = selected_content(new_catalog, config)
    if net.content_head is not None and old_content is not None and new_content is not None:
        new_state[f"{CONTENT_PREFIX}metric"] = metric_in_axes(
            net.content_head.metric, old_content.axes, new_content.axes
        )
    new_net.load_state_dict(new_state)
    return new_net.eval()


def _check_encoders(net: ChronotopeNet, new_catalog: Catalog) -> None:
    head, content = net.content_head, selected_content(new_catalog, net.config)
    if head is None or content is None:
        return
    check_encoders(head.encoders, content)


def _user_head_state(
    head: UserHead, old_catalog: Catalog, new_catalog: Catalog
) -> dict[str, Tensor]:
    """Tables of the user head by id and by level; a row of something new is zero."""
    state = {}
    for name, id_field in _USER_TABLES.items():
        old_ids, new_ids = getattr(old_catalog, id_field), getattr(new_catalog, id_field)
        old_idx = torch.from_numpy(old_ids.index(new_ids.ids)).long()
        old_table = getattr(head, name).clone()
        old_table[0] = 0.0
        state[name] = torch.cat([old_table[:1], old_table[old_idx]])
    columns = _attribute_columns(new_catalog)
    state["level_factors"] = _level_rows(
        head.level_factors, _attribute_columns(old_catalog), columns
    )
    weights = dict(zip(head.columns, head.column_weights.T, strict=True))
    no_weight = torch.zeros(len(head.column_weights))
    column_weights = [weights.get(column.name, no_weight) for column in columns]
    state["column_weights"] = (
        torch.stack(column_weights, dim=1) if columns else head.column_weights[:, :0]
    )
    return {f"{USER_HEAD_PREFIX}{name}": table for name, table in state.items()}


def _level_rows(
    level_table: Tensor,
    old_columns: Sequence[AttributeColumn],
    new_columns: Sequence[AttributeColumn],
) -> Tensor:
    """Row of each new level: that of the same value; row 0 for a value without one."""
    by_name = {column.name: column for column in old_columns}
    old_levels = [0] + [
        by_name[column.name].level(value) if column.name in by_name else 0
        for column in new_columns
        for value in column.examples
    ]
    return level_table[torch.tensor(old_levels)]


def _attribute_columns(catalog: Catalog) -> tuple[AttributeColumn, ...]:
    return () if catalog.user_attributes is None else catalog.user_attributes.columns


def _transfer_rows(learned_table: Tensor, old_ids: IdMap, new_ids: IdMap) -> Tensor:
    """Embedding of each new id, shape (new_ids.size, d): its trained row, or the mean row."""
    old_idx = torch.from_numpy(old_ids.index(new_ids.ids)).long()
    mean_row = learned_table[1:].mean(0) if len(learned_table) > 1 else learned_table[0]
    item_rows = torch.where((old_idx > 0)[:, None], learned_table[old_idx], mean_row)
    return torch.cat([learned_table[:1], item_rows])
