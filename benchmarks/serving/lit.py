"""The same graph behind LitServe: one worker, no batching, histories in memory.

It runs in an environment of its own, with LitServe, ONNX Runtime and numpy alone:

    python lit.py --bundle FOLDER --histories FILE --port N
"""

import argparse
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Recommend(litserve.LitAPI):  # type: ignore[misc]
    """LitServe API: a user and a time in, the ten best items out."""

    def __init__(self, graph: Path, histories: Path) -> None:
        """Store the paths; each worker opens the files itself."""
        super().__init__(api_path="/recommend")
        self._graph, self._histories = graph, histories

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Open the graph, on one thread, and the histories."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(self._graph), options)
        with np.load(self._histories, allow_pickle=False) as stored:
            told = {name: stored[name] for name in stored.files}
        self._rows = {str(name): n for n, name in enumerate(told.pop("user"))}
        self._start, self._items = told.pop("start"), told.pop("items").tolist()
        self._events = told
        self._width = self._session.get_inputs()[0].shape[1]

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The query of a user."""
        row = self._rows[request["user_id"]]
        first, end = self._start[row : row + 2]
        first = max(first, end - self._width)
        feed: dict[str, Any] = {}
        for name, column in self._events.items():
            feed[name] = np.zeros((1, self._width), np.int64)
            feed[name][0, self._width - (end - first) :] = column[first:end]
        second = int(np.datetime64(request["request_time"].rstrip("Z"), "s").astype(int))
        offset = int(feed["utc_offset_min"][0, -1])
        feed |= {"request_s": np.array([second]), "request_offset_min": np.array([offset])}
        feed |= {"request_place_idx": np.zeros(1, np.int64), "time_given": np.ones(1, np.float32)}
        return {"feed": feed, "k": request["k"]}

    def predict(self, x: dict[str, Any]) -> tuple[Any, int]:
        """Run the graph."""
        return self._session.run(["item_scores"], x["feed"])[0][0], x["k"]

    def encode_response(self, output: tuple[Any, int]) -> dict[str, list[Any]]:
        """The best items."""
        scores, k = output
        best = np.argsort(-scores)[:k]
        return {"items": [[self._items[i], float(scores[i])] for i in best]}


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--histories", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    told = parser.parse_args()
    api = Recommend(told.bundle / "model.onnx", told.histories)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, track_requests=False)
    server.run(
        host="127.0.0.1",
        port=told.port,
        generate_client_file=False,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
