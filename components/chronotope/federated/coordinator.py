"""Coordinator of a federation: counts, rounds of training, and the network that results.

A run that was killed continues after its last finished section or round.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.event_log import Catalog, Float64
from chronotope.federated.aggregation import (
    Aggregator,
    Answers,
    aggregated_update,
    summed_counts,
)
from chronotope.federated.clients.client_data import save_catalogue
from chronotope.federated.clients.local_training import new_network, read_parameters, shared_names
from chronotope.federated.clients.orders import (
    CATALOGUE_FILE,
    COUNTS_FILE,
    PLAN_FILE,
    CountOrder,
    FederationSpec,
    Stage,
    TrainOrder,
    load_parameters,
    names_key,
)
from chronotope.federated.counts.client_counts import (
    BINS_SECTION,
    Shapes,
    Tables,
    bin_shapes,
    section_names,
    section_shapes,
    unflatten,
)
from chronotope.federated.counts.federated_priors import FederatedCounts
from chronotope.federated.counts.plan import CountPlan, make_plan
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.runtime.durable_files import read_json, write_json
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.stored_arrays import load_arrays, save_arrays
from chronotope.training.discovery import HISTORY_SHARE

_LOG = logging.getLogger(__name__)

ANCHOR_SHARES: Final = (HISTORY_SHARE, (1.0 + HISTORY_SHARE) / 2.0)
LATER_RATE: Final = 0.1
"""Share of the learning rate of the last round, on the later targets."""

MIN_RATE: Final = 0.05
"""Share of the learning rate in the last training round, about."""

_ROUNDS_FILE: Final = "rounds.json"


class RoundRecord(BaseModel):
    """One aggregation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Section or round")
    n_answers: int = Field(ge=0, description="Clients whose answers count")
    failures: dict[str, int] = Field(description="Clients without an answer, by reason")
    later_loss: float | None = Field(
        None, description="Loss of the round's start on the clients' later targets, nats"
    )
    update_norm: float | None = Field(None, description="L2 norm of the update")
    mb_per_client: float = Field(ge=0, description="Answer of a client, 2^20 bytes")
    seconds: float = Field(ge=0, description="Wall-clock time")


@dataclass(frozen=True, slots=True)
class FederatedModel:
    """Result of a federation.

    Attributes:
        net: Trained network over the shared catalogue.
        priors: Counts of all clients before the end of the training.
        rounds: All aggregations.
    """

    net: ChronotopeNet
    priors: Priors
    rounds: tuple[RoundRecord, ...]


class Coordinator:
    """Runs a federation; everything that it keeps is in one folder."""

    def __init__(
        self,
        spec: FederationSpec,
        catalog: Catalog,
        aggregator: Aggregator,
        on_round: Callable[[RoundRecord], None] | None = None,
    ) -> None:
        """Store references.

        Args:
            spec: The federation; its folder ``broadcast`` is written here.
            catalog: The shared catalogue.
            aggregator: Asks the clients.
            on_round: Called after each aggregation.
        """
        self._spec, self._catalog, self._aggregator = spec, catalog, aggregator
        self._on_round = on_round
        self._folder = private_folder(spec.broadcast)
        self._records: list[RoundRecord] = []
        records_path = self._folder / _ROUNDS_FILE
        if records_path.exists():
            content = read_json(records_path, subject="The rounds of a federation",
                                way_out=f"Delete {self._folder} and start again")  # fmt: skip
            self._records = [RoundRecord.model_validate(row) for row in content["rounds"]]

    def run(self) -> FederatedModel:
        """Counts, training rounds, a round on the later targets, and the discovery head.

        Raises:
            EngineError: Too few clients answer.
            NotEnoughData: Events span too few days.
        """
        if not (self._folder / CATALOGUE_FILE).exists():
            save_catalogue(self._catalog, self._folder / CATALOGUE_FILE)
        counts = self._count()
        parameters = self._train_discovery(self._train())
        net = new_network(self._spec.model, self._catalog, self._spec.training.seed)
        load_parameters(net, parameters)
        head = net.discovery_head
        is_active = head is not None and bool(load_arrays(parameters)["is_active"])
        if head is not None and not is_active:
            head.reset()
        elif head is not None:
            head.active = True
        anchor = len(counts.plan.anchors) - 1 if is_active else None
        last = len(counts.plan.moments) - 1
        priors = counts.priors(last, self._catalog, anchor=anchor)
        return FederatedModel(net.eval(), priors, tuple(self._records))

    def _count(self) -> FederatedCounts:
        paths = (self._folder / PLAN_FILE, self._folder / COUNTS_FILE)
        if paths[1].exists():
            return FederatedCounts.load(*paths)
        shapes = bin_shapes(self._spec.bins, self._catalog.n_items)
        tables = self._section(BINS_SECTION, shapes)
        training = self._spec.training
        shares = np.linspace(training.warmup_share, 1 - training.later_share, training.n_rounds + 1)
        plan = make_plan(
            self._spec.bins,
            tables[f"{BINS_SECTION}/events"].copy(),
            tuple(shares.tolist()),
            ANCHOR_SHARES,
            self._spec.federation.max_pair_items,
        )
        plan.save(paths[0])
        for section in section_names(plan):
            tables |= self._section(section, section_shapes(plan, self._catalog, section))
        counts = FederatedCounts(CountPlan.load(paths[0]), tables)
        save_arrays(paths[1], **tables)
        return counts

    def _section(self, section: str, shapes: Shapes) -> Tables:
        """Sums of a section, from its file if it was counted before."""
        path = self._folder / "sections" / f"{section}.npz"
        if not path.exists():
            order, started_s = CountOrder(section), time.monotonic()
            answers = self._aggregator.ask(order)
            vector = summed_counts(answers, self._spec.federation.aggregation)
            save_arrays(path, **unflatten(vector, shapes))
            self._keep(order.name, answers, started_s)
        return {f"{section}/{name}": table for name, table in load_arrays(path).items()}

    def _train(self) -> Path:
        """Rounds of training, then one on the later targets; file of the parameters."""
        net = new_network(self._spec.model, self._catalog, self._spec.training.seed)
        start = {
            key: read_parameters(net, shared_names(net, is_discovery=key == "discovery"))
            for key in ("network", "discovery")
        }
        current, n_rounds = self._stored(start, "train", 0), self._spec.federation.rounds
        best, best_loss, n_worse = current, math.inf, 0
        for number in range(n_rounds):
            following, loss = self._round("train", number, current, _rate_share(number, n_rounds))
            n_worse = n_worse + 1 if loss is not None and loss >= best_loss else 0
            if loss is not None and loss < best_loss:
                best, best_loss = current, loss
            if n_worse == self._spec.training.patience:
                break
            current = following
        else:
            loss = self._measure("train", n_rounds, current)
            if loss is None or loss <= best_loss:
                best = current
        return self._round("later", 0, best, LATER_RATE)[0]

    def _train_discovery(self, parameters: Path) -> Path:
        """Rounds of the discovery head; it is used if it helps on later discoveries."""
        n_rounds = self._spec.federation.discovery_rounds
        if self._spec.training.discovery_targets == 0:
            n_rounds = 0
        start, loss_before, current = load_arrays(parameters), None, parameters
        for number in range(n_rounds):
            rate_share = _rate_share(number, n_rounds)
            current, loss = self._round("discovery", number, current, rate_share)
            loss_before = loss if number == 0 else loss_before
        loss_after = self._measure("discovery", n_rounds, current) if n_rounds else None
        is_active = n_rounds > 0 and (
            loss_before is None or (loss_after is not None and loss_after < loss_before)
        )
        path = self._folder / "parameters" / "final.npz"
        vectors = load_arrays(current) if is_active else start
        save_arrays(path, **{**vectors, "is_active": np.array(is_active)})
        return path

    def _round(
        self, stage: Stage, number: int, start: Path, rate_share: float
    ) -> tuple[Path, float | None]:
        """File of the parameters after a round, and the loss of its start."""
        path = self._folder / "parameters" / f"{stage}-{number + 1}.npz"
        order = TrainOrder(stage, number, start, rate_share)
        if not path.exists():
            started_s = time.monotonic()
            answers = self._aggregator.ask(order)
            aggregated = aggregated_update(answers, self._spec.federation.aggregation)
            vectors = load_arrays(start)
            key = names_key(stage)
            moved = {**vectors, key: vectors[key] + aggregated.update}
            self._keep(order.name, answers, started_s, aggregated.later_loss, aggregated.update)
            save_arrays(path, **moved)
        return path, self._loss_of(order.name)

    def _measure(self, stage: Stage, number: int, parameters: Path) -> float | None:
        """Loss of some parameters on the later targets of the clients."""
        order = TrainOrder(stage, number, parameters, 0.0)
        if not any(record.name == order.name for record in self._records):
            started_s = time.monotonic()
            answers = self._aggregator.ask(order)
            aggregated = aggregated_update(answers, self._spec.federation.aggregation)
            self._keep(order.name, answers, started_s, aggregated.later_loss)
        return self._loss_of(order.name)

    def _stored(self, vectors: dict[str, Float64], stage: Stage, number: int) -> Path:
        path = self._folder / "parameters" / f"{stage}-{number}.npz"
        if not path.exists():
            save_arrays(path, **vectors)
        return path

    def _loss_of(self, name: str) -> float | None:
        losses = [record.later_loss for record in self._records if record.name == name]
        return losses[-1] if losses else None

    def _keep(
        self,
        name: str,
        answers: Answers,
        started_s: float,
        later_loss: float | None = None,
        update: Float64 | None = None,
    ) -> None:
        """Record an aggregation; one that was killed before its file was written comes again."""
        reasons = list(answers.failures.values())
        record = RoundRecord(
            name=name,
            n_answers=len(answers.survivors),
            failures={reason: reasons.count(reason) for reason in sorted(set(reasons))},
            later_loss=later_loss,
            update_norm=None if update is None else float(np.linalg.norm(update)),
            mb_per_client=round(answers.n_bytes / max(1, len(answers.survivors)) / 2**20, 3),
            seconds=round(time.monotonic() - started_s, 3),
        )
        _LOG.info("%s: %s answers, later loss %s", name, record.n_answers, later_loss)
        self._records = [kept for kept in self._records if kept.name != name] + [record]
        rows = [kept.model_dump(mode="json") for kept in self._records]
        write_json(self._folder / _ROUNDS_FILE, {"rounds": rows})
        if self._on_round is not None:
            self._on_round(record)


def _rate_share(number: int, n_rounds: int) -> float:
    """Share of the learning rate in a round: half a cosine."""
    return max(MIN_RATE, 0.5 * (1.0 + math.cos(math.pi * number / n_rounds)))
