"""Train the codes of a large catalogue: blocks of alike items, code books over what is left.

Codes are chosen for the error of scores, not of vectors: with M = E[q q'] over sample queries,

    E[(<q, v> - <q, v^>)^2] = (v - v^)' M (v - v^)

so items are coded as M^(1/2) v and asked with M^(-1/2) q. A rotation then spreads what the
blocks leave over the code books, large directions apart from each other.

Source:
    Ge et al. (2013), Optimized Product Quantization (parametric); Guo et al. (2020),
    Accelerating Large-Scale Inference with Anisotropic Vector Quantization (scores, not vectors).
"""

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from chronotope.artifact.item_index import N_WORDS, ItemIndex
from chronotope.compression.kmeans import kmeans, nearest_centroid
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float32, Float64, Int32

MOST_BRANCHES = 32
SAMPLE = 16_384
"""Items that code books are learned from, and a quarter more: those farthest from their blocks.
These are few, the popular ones among them, and would hardly be drawn."""


class IndexConfig(BaseModel):
    """How an index is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_codes: int = Field(8, ge=2, le=256, multiple_of=2, description="Bytes an item.")
    block_items: int = Field(256, ge=8, le=65_536, description="Items of a block at most.")
    n_rounds: int = Field(8, ge=1, le=100, description="Rounds of k-means.")
    seed: int = Field(0, ge=0, description="Of k-means.")


def build_index(
    vectors: Float32,
    *,
    group: Int32 | None = None,
    queries: Float32 | None = None,
    config: IndexConfig | None = None,
) -> ItemIndex:
    """Code the items of a catalogue.

    Args:
        vectors: Of all indices, shape (n + 1, D); row 0, the unknown, is left out.
        group: Of each index, shape (n + 1,): what its score is shared with, such as a category.
        queries: A sample of what will be asked, shape (Q, D); none cares for no direction more.
        config: Sizes.

    Raises:
        ConfigError: There is no item, or a value that is not finite.
    """
    config = config or IndexConfig()
    if len(vectors) < 2 or not np.isfinite(vectors).all():
        raise ConfigError("An index needs finite vectors of one item or more", received=vectors)
    told = np.zeros(len(vectors), np.int32) if group is None else group
    n_codes = config.n_codes
    root = _root(np.eye(vectors.shape[1]) if queries is None else _moment(queries))
    items = torch.from_numpy((vectors[1:] @ root).astype(np.float32))
    block, centre, block_group = _blocks(items, told[1:], config)
    left = items - centre[block]
    turn = _balanced(left, n_codes)
    axes = turn.T @ np.linalg.inv(root)
    centre, left = (_turned(part, turn) for part in (centre, left))
    centre = centre.half().float()
    words, codes = _code(left, n_codes, config)
    order = torch.argsort(block, stable=True)
    size = torch.bincount(block, minlength=len(centre))
    return ItemIndex(
        axes=np.ascontiguousarray(axes, np.float32),
        centre=centre.half().numpy(),
        start=np.append(0, size.cumsum(0).numpy()).astype(np.int32),
        group=block_group,
        radius=_radius(words, codes, block, len(centre)),
        words=words.half().numpy(),
        codes=codes[order].numpy(),
        item=(order + 1).int().numpy(),
    )


def _moment(queries: Float32) -> Float64:
    """Second moment of queries, (D, D), no direction quite without weight."""
    moment = queries.astype(np.float64).T @ queries / max(1, len(queries))
    floor = 1e-3 * max(float(np.trace(moment)) / len(moment), 1e-12)
    return np.asarray(moment + floor * np.eye(len(moment)))


def _root(moment: Float64) -> Float64:
    value, vector = np.linalg.eigh(moment)
    return np.asarray((vector * np.sqrt(value)) @ vector.T)


def _balanced(left: Tensor, n_codes: int) -> Float64:
    """Orthonormal columns, (D, D'), padded by zeros: directions dealt so that parts are even."""
    value, vector = np.linalg.eigh((left.T @ left / len(left)).double().numpy())
    width = -(-len(value) // n_codes)
    load, size, part = np.zeros(n_codes), np.zeros(n_codes, np.int64), []
    logs = np.log(np.maximum(value, 1e-12 * max(value.max(), 1e-300)))
    for log in (logs - logs.min())[::-1]:
        chosen = int(np.where(size < width, load, np.inf).argmin())
        part.append(chosen * width + size[chosen])
        load[chosen] += log
        size[chosen] += 1
    turn = np.zeros((len(value), n_codes * width))
    turn[:, part] = vector[:, ::-1]
    return turn


def _turned(rows: Tensor, turn: Float64) -> Tensor:
    return rows @ torch.from_numpy(turn).float()


def _blocks(items: Tensor, group: Int32, config: IndexConfig) -> tuple[Tensor, Tensor, Int32]:
    """Block of each item, middle and group of each block; no block spans two groups."""
    block = torch.zeros(len(items), dtype=torch.int64)
    centres: list[Tensor] = []
    groups: list[int] = []
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        todo = [torch.from_numpy(rows)]
        while todo:
            part = todo.pop()
            if len(part) > config.block_items:
                todo += _split(items, part, config)
                continue
            block[part] = len(centres)
            centres.append(items[part].mean(0))
            groups.append(int(group[rows[0]]))
    return block, torch.stack(centres), np.array(groups, np.int32)


def _split(items: Tensor, part: Tensor, config: IndexConfig) -> list[Tensor]:
    """Two parts or more, alike items together; equal items are cut anywhere."""
    k = min(MOST_BRANCHES, -(-2 * len(part) // config.block_items))
    rows = items[part]
    draw = torch.Generator().manual_seed(config.seed)
    sample = rows[torch.randperm(len(rows), generator=draw)[: 256 * k]]
    at = nearest_centroid(rows, kmeans(sample, k, n_rounds=config.n_rounds, seed=config.seed))
    found = [part[at == branch] for branch in range(k)]
    found = [branch for branch in found if len(branch)]
    return found if len(found) > 1 else list(torch.split(part, config.block_items))


def _code(left: Tensor, n_codes: int, config: IndexConfig) -> tuple[Tensor, Tensor]:
    """Code books, float16 values, (m, N_WORDS, s), and codes, uint8, (n, m)."""
    draw = torch.Generator().manual_seed(config.seed)
    some = torch.randperm(len(left), generator=draw)[:SAMPLE]
    far = left.square().sum(1).topk(min(len(left), SAMPLE // 4)).indices
    sample = torch.unique(torch.cat([some, far]))
    words, codes = [], []
    for part in torch.split(left, left.shape[1] // n_codes, dim=1):
        rows = part.contiguous()
        book = kmeans(rows[sample], N_WORDS, n_rounds=config.n_rounds, seed=config.seed)
        words.append(book.half().float())
        codes.append(nearest_centroid(rows, words[-1]).to(torch.uint8))
    return torch.stack(words), torch.stack(codes, dim=1)


def _radius(words: Tensor, codes: Tensor, block: Tensor, n_blocks: int) -> Float32:
    """Longest word that each block uses in each part, (J, m)."""
    length = words.square().sum(-1).sqrt()  # (m, N_WORDS)
    radius = torch.zeros(n_blocks, len(words))
    for part, codes_of in enumerate(codes.unbind(1)):
        used = length[part][codes_of.long()]
        radius[:, part].scatter_reduce_(0, block, used, "amax")
    return radius.numpy()
