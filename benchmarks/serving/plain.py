"""Baseline server: a FastAPI endpoint around the torch model, and nothing else."""

import argparse
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.serving.champion import Served
from chronotope.contracts.queries import Queries


class Ask(BaseModel):
    """Request: a user and a time."""

    user_id: str
    at: str
    k: int


def plain_app(served: Served) -> FastAPI:
    """Application; histories are read from the log in memory."""
    model, log, catalog = served.torch_model(), served.log, served.catalog
    user_of = {name: n for n, name in enumerate(catalog.users.ids.to_pylist(), 1)}
    names = ["", *catalog.items.ids.to_pylist()]
    app = FastAPI()

    @app.post("/recommend")
    def recommend(ask: Ask) -> list[tuple[str, float]]:
        user = user_of[ask.user_id]
        first, end = np.searchsorted(log.user_idx, [user, user + 1])
        rows, second = slice(first, end), int(np.datetime64(ask.at.rstrip("Z"), "s").astype(int))
        queries = Queries(
            user_idx=np.array([user], np.int32),
            item_idx=log.item_idx[None, rows],
            occurred_s=log.occurred_s[None, rows],
            utc_offset_min=log.utc_offset_min[None, rows],
            place_idx=log.place_idx[None, rows],
            request_s=np.array([second]),
            request_offset_min=log.utc_offset_min[end - 1 : end],
            request_place_idx=np.zeros(1, np.int32),
            time_given=np.ones(1, np.bool_),
        )
        scores = model.answer(queries).item_scores[0]
        best = np.argsort(-scores)[: ask.k]
        return [(names[i], float(scores[i])) for i in best]

    return app


def main() -> None:
    """Serve the torch model of a root until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    told = parser.parse_args()
    app = plain_app(Served.read(told.root))
    uvicorn.run(app, port=told.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
