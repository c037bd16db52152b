"""Training of an item index: blocks of similar items, codebooks over their residuals.

Codes minimise the error of scores, not of vectors: with M = E[q q'] over sample queries,

    E[(<q, v> - <q, v^>)^2] = (v - v^)' M (v - v^)

so items are coded as M^(1/2) v and queried with M^(-1/2) q. A rotation then spreads the
variance of the residuals evenly over the codebooks.

Source:
    Ge et al. (2013), Optimized Product Quantization (parametric); Guo et al. (2020),
    Accelerating Large-Scale Inference with Anisotropic Vector Quantization (scores, not vectors).
"""

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from chronotope.artifact.item_index import N_WORDS, ItemIndex
from chronotope.compression.tables.kmeans import kmeans, nearest_centroid
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float32, Float64, Int32

MAX_BRANCHES = 32
SAMPLE_ITEMS = 16_384
"""Random items that codebooks are trained on, beside a quarter as many with the largest residuals:
outliers are few, popular items among them, and a random sample would hardly contain them."""


class IndexConfig(BaseModel):
    """Sizes of an index and of its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_codes: int = Field(8, ge=2, le=256, multiple_of=2, description="Bytes an item.")
    block_items: int = Field(256, ge=8, le=65_536, description="Maximum items of a block.")
    n_rounds: int = Field(8, ge=1, le=100, description="Rounds of k-means.")
    seed: int = Field(0, ge=0, description="Seed of k-means.")


def build_index(
    item_vectors: Float32,
    *,
    item_groups: Int32 | None = None,
    sample_queries: Float32 | None = None,
    config: IndexConfig | None = None,
) -> ItemIndex:
    """Quantise the items of a catalogue.

    Args:
        item_vectors: Vectors of all indices, shape (n + 1, D); row 0, the unknown, is left out.
        item_groups: Group of each index, shape (n + 1,): items that share a score, such as a
            category's.
        sample_queries: Typical queries, shape (Q, D); without them all directions weigh the same.
        config: Sizes of the index.

    Raises:
        ConfigError: There is no item, or a value that is not finite.
    """
    config = config or IndexConfig()
    if len(item_vectors) < 2 or not np.isfinite(item_vectors).all():
        raise ConfigError(
            "An index needs finite vectors of one item or more", received=item_vectors
        )
    if item_groups is None:
        item_groups = np.zeros(len(item_vectors), np.int32)
    width, n_codes = item_vectors.shape[1], config.n_codes
    query_moment = np.eye(width) if sample_queries is None else _second_moment(sample_queries)
    moment_root = _matrix_root(query_moment)
    items = torch.from_numpy((item_vectors[1:] @ moment_root).astype(np.float32))  # (n, D)
    item_blocks, centroids, block_groups = _make_blocks(items, item_groups[1:], config)
    residuals = items - centroids[item_blocks]
    rotation = _balanced_rotation(residuals, n_codes)
    projection = rotation.T @ np.linalg.inv(moment_root)  # (D', D)
    centroids, residuals = (_rotate(rows, rotation) for rows in (centroids, residuals))
    centroids = centroids.half().float()
    codebooks, codes = _train_codebooks(residuals, n_codes, config)
    order = torch.argsort(item_blocks, stable=True)
    block_sizes = torch.bincount(item_blocks, minlength=len(centroids))
    return ItemIndex(
        projection=np.ascontiguousarray(projection, np.float32),
        block_centroids=centroids.half().numpy(),
        block_starts=np.append(0, block_sizes.cumsum(0).numpy()).astype(np.int32),
        block_groups=block_groups,
        block_radii=_block_radii(codebooks, codes, item_blocks, len(centroids)),
        codebooks=codebooks.half().numpy(),
        codes=codes[order].numpy(),
        item_idx=(order + 1).int().numpy(),
    )


def _second_moment(sample_queries: Float32) -> Float64:
    """Second moment of queries, (D, D), with a floor that keeps it invertible."""
    n_queries = max(1, len(sample_queries))
    moment = sample_queries.astype(np.float64).T @ sample_queries / n_queries
    variance_floor = 1e-3 * max(float(np.trace(moment)) / len(moment), 1e-12)
    return np.asarray(moment + variance_floor * np.eye(len(moment)))


def _matrix_root(moment: Float64) -> Float64:
    eigenvalues, eigenvectors = np.linalg.eigh(moment)
    return np.asarray((eigenvectors * np.sqrt(eigenvalues)) @ eigenvectors.T)


def _balanced_rotation(residuals: Tensor, n_codes: int) -> Float64:
    """Orthonormal columns, (D, D'), zero padded: principal axes dealt to subspaces of even load.

    The load of a subspace is the log of the product of its variances (eigenvalue allocation).
    """
    covariance = (residuals.T @ residuals / len(residuals)).double().numpy()
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    subspace_width = -(-len(eigenvalues) // n_codes)
    loads, n_assigned = np.zeros(n_codes), np.zeros(n_codes, np.int64)
    column_idx = []
    min_variance = 1e-12 * max(eigenvalues.max(), 1e-300)
    log_variances = np.log(np.maximum(eigenvalues, min_variance))
    for log_variance in (log_variances - log_variances.min())[::-1]:
        subspace = int(np.where(n_assigned < subspace_width, loads, np.inf).argmin())
        column_idx.append(subspace * subspace_width + n_assigned[subspace])
        loads[subspace] += log_variance
        n_assigned[subspace] += 1
    rotation = np.zeros((len(eigenvalues), n_codes * subspace_width))
    rotation[:, column_idx] = eigenvectors[:, ::-1]
    return rotation


def _rotate(rows: Tensor, rotation: Float64) -> Tensor:
    return rows @ torch.from_numpy(rotation).float()


def _make_blocks(
    items: Tensor, item_groups: Int32, config: IndexConfig
) -> tuple[Tensor, Tensor, Int32]:
    """Block of each item, centroid and group of each block; no block spans two groups."""
    item_blocks = torch.zeros(len(items), dtype=torch.int64)
    block_centroids: list[Tensor] = []
    block_groups: list[int] = []
    order = np.argsort(item_groups, kind="stable")
    group_starts = np.flatnonzero(np.diff(item_groups[order])) + 1
    for group_items in np.split(order, group_starts):
        pending = [torch.from_numpy(group_items)]
        while pending:
            item_idx = pending.pop()
            if len(item_idx) > config.block_items:
                pending += _split_items(items, item_idx, config)
                continue
            item_blocks[item_idx] = len(block_centroids)
            block_centroids.append(items[item_idx].mean(0))
            block_groups.append(int(item_groups[group_items[0]]))
    return item_blocks, torch.stack(block_centroids), np.array(block_groups, np.int32)


def _split_items(items: Tensor, item_idx: Tensor, config: IndexConfig) -> list[Tensor]:
    """Two clusters of items or more; items that are all equal are cut by position."""
    n_branches = min(MAX_BRANCHES, -(-2 * len(item_idx) // config.block_items))
    rows = items[item_idx]
    generator = torch.Generator().manual_seed(config.seed)
    sample_rows = rows[torch.randperm(len(rows), generator=generator)[: 256 * n_branches]]
    centroids = kmeans(sample_rows, n_branches, n_rounds=config.n_rounds, seed=config.seed)
    row_branches = nearest_centroid(rows, centroids)
    branches = [item_idx[row_branches == branch] for branch in range(n_branches)]
    branches = [branch_items for branch_items in branches if len(branch_items)]
    return branches if len(branches) > 1 else list(torch.split(item_idx, config.block_items))


def _train_codebooks(residuals: Tensor, n_codes: int, config: IndexConfig) -> tuple[Tensor, Tensor]:
    """Codebooks, float16 values, (m, N_WORDS, s), and codes, uint8, (n, m)."""
    generator = torch.Generator().manual_seed(config.seed)
    random_idx = torch.randperm(len(residuals), generator=generator)[:SAMPLE_ITEMS]
    n_outliers = min(len(residuals), SAMPLE_ITEMS // 4)
    outlier_idx = residuals.square().sum(1).topk(n_outliers).indices
    sample_idx = torch.unique(torch.cat([random_idx, outlier_idx]))
    codebooks, codes = [], []
    for subspace_rows in torch.split(residuals, residuals.shape[1] // n_codes, dim=1):
        rows = subspace_rows.contiguous()  # (n, s)
        codebook = kmeans(rows[sample_idx], N_WORDS, n_rounds=config.n_rounds, seed=config.seed)
        codebooks.append(codebook.half().float())
        codes.append(nearest_centroid(rows, codebooks[-1]).to(torch.uint8))
    return torch.stack(codebooks), torch.stack(codes, dim=1)


def _block_radii(codebooks: Tensor, codes: Tensor, item_blocks: Tensor, n_blocks: int) -> Float32:
    """Norm of the longest codeword that each block uses in each subspace, (J, m)."""
    word_norms = codebooks.square().sum(-1).sqrt()  # (m, N_WORDS)
    block_radii = torch.zeros(n_blocks, len(codebooks))
    for subspace, subspace_codes in enumerate(codes.unbind(1)):
        used_norms = word_norms[subspace][subspace_codes.long()]  # (n,)
        block_radii[:, subspace].scatter_reduce_(0, item_blocks, used_norms, "amax")
    return block_radii.numpy()
