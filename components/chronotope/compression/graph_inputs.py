"""Inputs of an exported graph, and the queries that a traced module makes of them."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from chronotope.compression.tracing.graph_template import BATCH, HISTORY, TensorSpec
from chronotope.models.batch import HISTORY_NAMES, INPUT_NAMES, Batch
from chronotope.models.config import ModelConfig

CONTEXT_ROWS: Final = "context_rows"
"""Open axis of the items whose context differs from the defaults."""


def input_specs(
    config: ModelConfig, attributes: tuple[str, ...] = (), n_item_columns: int = 0
) -> tuple[TensorSpec, ...]:
    """Inputs of a network's graph, in the order of ``INPUT_NAMES``.

    Args:
        config: Configuration of the network.
        attributes: User attributes that it reads; their levels follow the context columns.
        n_item_columns: Columns of the item context; 0 for a network that reads none.
    """
    *request_names, time_given, context, context_items, context_levels = INPUT_NAMES[
        len(HISTORY_NAMES) :
    ]
    histories = [TensorSpec(name, torch.int64, (BATCH, HISTORY)) for name in HISTORY_NAMES]
    requests = [TensorSpec(name, torch.int64, (BATCH,)) for name in request_names]
    inputs = [*histories, *requests, TensorSpec(time_given, torch.float32, (BATCH,))]
    if n_columns := len(config.context) + len(attributes):
        inputs.append(TensorSpec(context, torch.float32, (BATCH, n_columns)))
    if n_item_columns:
        inputs.append(TensorSpec(context_items, torch.int64, (BATCH, CONTEXT_ROWS)))
        row_axes = (BATCH, CONTEXT_ROWS, n_item_columns)
        inputs.append(TensorSpec(context_levels, torch.int64, row_axes))
    return tuple(inputs)


def batches(inputs: Mapping[str, Tensor]) -> tuple[Batch, Batch | None]:
    """Queries with full histories, and with their latest events; None where these are the same.

    Args:
        inputs: Inputs by name; a history is a pair of its full form and its latest events.
    """
    no_context = empty_context(inputs["time_given"])
    no_items = no_context.long()
    tensors = {
        "context": no_context,
        "context_item_idx": no_items,
        "context_levels": no_items[..., None],
        **inputs,
    }
    histories = {name: tensors[name] for name in HISTORY_NAMES}
    batch = Batch(**tensors | {name: whole for name, (whole, _) in histories.items()})
    recent = {name: latest for name, (_, latest) in histories.items()}
    is_same = batch.item_idx is recent["item_idx"]
    return batch, None if is_same else batch._replace(**recent)


def empty_context(time_given: Tensor) -> Tensor:
    """Context of a model without context columns, shape (B, 0)."""
    return time_given[:, None][:, :0]  # (B,) -> (B, 1) -> (B, 0)
