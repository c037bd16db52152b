"""ServerApp: takes the orders of ``chronotope federate --exchange`` and averages by FedAvg.

The coordinator of Chronotope decides what the next round is, at which learning rate, and which
round was the best; Flower reaches the clients and aggregates. Another strategy is one line in
``make_strategy``.
"""

import json
import time
from importlib.metadata import version
from logging import INFO

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from chronotope_flower.exchange import AVERAGED, COUNTS, Arrays, ExchangeFolder, Texts

app = ServerApp()


def make_strategy(n_clients: int) -> FedAvg:
    """Strategy of a stage; each stage trains other parameters."""
    return FedAvg(
        min_train_nodes=n_clients,
        min_available_nodes=n_clients,
        train_metrics_aggr_fn=summed_metrics,
    )


def summed_metrics(contents: list[RecordDict], weighted_by: str) -> MetricRecord:
    """Sums of the clients' metrics: Chronotope divides the loss by the number of its targets."""
    del weighted_by
    records = [content["metrics"] for content in contents]
    return MetricRecord({key: sum(float(r[key]) for r in records) for key in records[0]})


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Carry out orders until the coordinator has finished."""
    folder = ExchangeFolder(str(context.run_config["exchange"]))
    strategies: dict[str, FedAvg] = {}
    while True:
        name, texts, arrays = folder.next_request()
        if "finished" in texts:
            if texts["finished"]:
                raise RuntimeError(f"The coordinator ended: {texts['finished']}")
            return
        order, n_clients = json.loads(texts["order"]), int(texts["n_clients"])
        log(INFO, "Order of the coordinator: %s", order["name"])
        if order["kind"] == "count":
            attempts = int(context.run_config["count-attempts"])
            answer = _count(grid, texts, arrays, attempts)
        else:
            stage = order["stage"]
            strategy = strategies.setdefault(stage, make_strategy(n_clients))
            answer = _train(grid, strategy, texts, arrays, order["round_number"] + 1)
        folder.answer(name, *answer)


def _train(
    grid: Grid, strategy: FedAvg, texts: Texts, arrays: Arrays, server_round: int
) -> tuple[Texts, Arrays]:
    """Averaged parameters of a round."""
    moving, shared = _records(arrays)
    messages = list(strategy.configure_train(server_round, moving, _config(texts), grid))
    for message in messages:
        message.content["shared"] = shared
    replies = list(grid.send_and_receive(messages, timeout=float(texts["timeout_s"])))
    averaged, metrics = strategy.aggregate_train(server_round, replies)
    type_name = f"{type(strategy).__name__} of Flower {version('flwr')}"
    summary = _summary([m.metadata.dst_node_id for m in messages], replies, type_name)
    if averaged is None or metrics is None:
        return {**summary, "failure": "no client has answered"}, {}
    sums = {
        "n_targets": metrics["num-examples"],
        "later_loss_sum": metrics["later-loss-sum"],
        "n_later": metrics["later-targets"],
    }
    answer = {f"{AVERAGED}{name}": array.numpy() for name, array in averaged.items()}
    return {**summary, "metrics": json.dumps(sums)}, answer


def _count(grid: Grid, texts: Texts, arrays: Arrays, attempts: int) -> tuple[Texts, Arrays]:
    """Sum of the clients' counts; who did not answer is asked again."""
    n_clients, timeout_s = int(texts["n_clients"]), float(texts["timeout_s"])
    deadline_s = time.monotonic() + timeout_s
    while len(node_ids := list(grid.get_node_ids())) < n_clients:
        if time.monotonic() > deadline_s:
            break
        time.sleep(1.0)
    replies: dict[int, Message] = {}
    _, shared = _records(arrays)
    content = {"arrays": ArrayRecord({}), "config": _config(texts), "shared": shared}
    for _ in range(attempts):
        missing = [n for n in node_ids if n not in replies or replies[n].has_error()]
        left_s = deadline_s - time.monotonic()
        if not missing or left_s <= 0:
            break
        messages = [
            Message(content=RecordDict(content), message_type=MessageType.QUERY, dst_node_id=n)
            for n in missing
        ]
        for reply in grid.send_and_receive(messages, timeout=left_s):
            replies[reply.metadata.src_node_id] = reply
    summary = _summary(node_ids, list(replies.values()), f"sums of Flower {version('flwr')}")
    vectors = [r.content["arrays"][COUNTS].numpy() for r in replies.values() if not r.has_error()]
    if not vectors:
        return {**summary, "failure": "no client has answered"}, {}
    return summary, {COUNTS: np.sum(vectors, axis=0)}


def _config(texts: Texts) -> ConfigRecord:
    return ConfigRecord({"order": texts["order"], "timeout-s": float(texts["timeout_s"])})


def _records(arrays: Arrays) -> tuple[ArrayRecord, ArrayRecord]:
    """Parameters that the round trains, and all other arrays of a request."""
    moving, shared = {}, {}
    for name, array in arrays.items():
        if name.startswith(AVERAGED):
            moving[name.removeprefix(AVERAGED)] = Array(array)
        else:
            shared[name] = Array(array)
    return ArrayRecord(moving), ArrayRecord(shared)


def _summary(node_ids: list[int], replies: list[Message], strategy: str) -> Texts:
    """Who answered, and why others did not."""
    answered = [r for r in replies if not r.has_error()]
    failures = {str(n): "no answer in time" for n in node_ids}
    failures |= {
        str(r.metadata.src_node_id): r.error.reason or "error" for r in replies if r.has_error()
    }
    for reply in answered:
        failures.pop(str(reply.metadata.src_node_id), None)
    n_bytes = sum(a.numpy().nbytes for r in answered for a in r.content["arrays"].values())
    summary = {
        "clients": sorted(r.metadata.src_node_id for r in answered),
        "failures": failures,
        "n_bytes": n_bytes,
        "strategy": strategy,
    }
    return {"summary": json.dumps(summary)}
