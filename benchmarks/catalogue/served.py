"""HTTP server of an index: the number of a query in, its best items out."""

import argparse
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from threadpoolctl import threadpool_limits

from chronotope.artifact.item_index import ItemIndex
from chronotope.artifact.residuals import Residuals


class Ask(BaseModel):
    """Number of a stored query, and number of items."""

    query: int
    k: int = 10


def index_app(folder: Path, n_candidates: int) -> FastAPI:
    """Application of the index; with candidates, residuals re-rank them."""
    index, queries = ItemIndex.load(folder / "items.npz"), np.load(folder / "queries.npy")
    rest = Residuals.load(folder / "residuals.npy", index) if n_candidates else None
    app = FastAPI()

    @app.post("/recommend")
    async def recommend(ask: Ask) -> dict[str, list[float]]:
        query = queries[ask.query]
        found = index.top_k(query, max(n_candidates, ask.k))
        if rest is not None:
            found = rest.rerank(found, index.projection @ query, ask.k)
        return {"items": found.item_idx.tolist(), "scores": found.score.tolist()}

    return app


def main() -> None:
    """Serve a folder until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--candidates", type=int, default=0)
    told = parser.parse_args()
    threadpool_limits(1, user_api="blas")
    app = index_app(told.folder, told.candidates)
    uvicorn.run(app, port=told.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
