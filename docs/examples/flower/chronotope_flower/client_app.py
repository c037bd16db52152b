"""ClientApp: passes an order to the Chronotope process beside it, which alone reads the rows.

The SuperNode names the folder of that process: ``--node-config 'exchange="/srv/graz/exchange"'``.
"""

import json

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from chronotope_flower.exchange import AVERAGED, COUNTS, Arrays, ExchangeFolder, Texts

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Local round: parameters in; parameters, number of targets and metrics out."""
    texts, arrays = _asked(message, context)
    metrics = json.loads(texts["metrics"])
    trained = {
        name.removeprefix(AVERAGED): array
        for name, array in arrays.items()
        if name.startswith(AVERAGED)
    }
    figures = MetricRecord(
        {
            # FedAvg cannot divide by a sum of zeros; a client without targets changes nothing.
            "num-examples": max(1e-9, float(metrics["n_targets"])),
            "later-loss-sum": float(metrics["later_loss_sum"]),
            "later-targets": float(metrics["n_later"]),
        }
    )
    content = RecordDict({"arrays": _record(trained), "metrics": figures})
    return Message(content=content, reply_to=message)


@app.query()
def count(message: Message, context: Context) -> Message:
    """Counts of one section, as a vector whose sum over the clients is wanted."""
    _, arrays = _asked(message, context)
    content = RecordDict({"arrays": _record({COUNTS: arrays[COUNTS]})})
    return Message(content=content, reply_to=message)


def _asked(message: Message, context: Context) -> tuple[Texts, Arrays]:
    """Answer of the Chronotope process to the order of a message."""
    config: ConfigRecord = message.content["config"]
    arrays = {f"{AVERAGED}{name}": a.numpy() for name, a in message.content["arrays"].items()}
    arrays |= {name: array.numpy() for name, array in message.content["shared"].items()}
    folder = ExchangeFolder(str(context.node_config.get("exchange", "")))
    texts, answer = folder.ask({"order": str(config["order"])}, arrays, float(config["timeout-s"]))
    if failure := texts.get("failure"):
        raise RuntimeError(failure)
    return texts, answer


def _record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})
