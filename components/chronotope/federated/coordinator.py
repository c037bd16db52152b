"""Coordinator of a federation: counts, rounds of training, and the network that results.

A run that was killed continues after its last finished section or round.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from chronotope.contracts.errors import EngineError
from chronotope.contracts.event_log import Catalog, Float64
from chronotope.federated.aggregation import (
    IMPLAUSIBLE,
    AggregatedUpdate,
    Answers,
    OrderAggregation,
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
    is_plausible,
    section_names,
    section_shapes,
    unflatten,
)
from chronotope.federated.counts.federated_priors import FederatedCounts
from chronotope.federated.counts.plan import CountPlan, make_plan
from chronotope.federated.round_selection import RoundRecord, loss_change
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

DISCOVERY_RATE: Final = 0.3
"""Share of the learning rates of a central training in the first round of the discovery head: a
client has few discoveries, and its steps start anew in each round."""

MIN_RATE: Final = 0.05
"""Share of the learning rate in the last training round, about."""

_ROUNDS_FILE: Final = "rounds.json"
_EVENT_TABLES: Final = ("events", "first_events")


@dataclass(frozen=True, slots=True)
class FederatedModel:
    """Result of a federation.

    Attributes:
        shared_net: Trained network over the shared catalogue.
        priors: Counts of all clients before the end of the training.
        rounds: All aggregations.
    """

    shared_net: ChronotopeNet
    priors: Priors
    rounds: tuple[RoundRecord, ...]


class Coordinator:
    """Runs a federation; everything that it keeps is in one folder."""

    def __init__(
        self,
        federation_spec: FederationSpec,
        catalog: Catalog,
        aggregator: OrderAggregation,
        on_round: Callable[[RoundRecord], None] | None = None,
    ) -> None:
        """Store references.

        Args:
            federation_spec: The federation; its folder ``broadcast`` is written here.
            catalog: The shared catalogue.
            aggregator: Asks the clients.
            on_round: Called after each aggregation.
        """
        self._spec, self._catalog, self._aggregator = federation_spec, catalog, aggregator
        self._on_round = on_round
        self._folder = private_folder(federation_spec.broadcast)
        self._records: list[RoundRecord] = []
        records_path = self._folder / _ROUNDS_FILE
        if records_path.exists():
            content = read_json(records_path, subject="The rounds of a federation",
                                way_out=f"Delete {self._folder} and start again")  # fmt: skip
            self._records = [RoundRecord.model_validate(row) for row in content["rounds"]]
        for round_record in self._records:
            aggregator.excluded |= set(round_record.implausible_clients)

    def run(self) -> FederatedModel:
        """Counts, training rounds, a round on the later targets, and the discovery head.

        Raises:
            EngineError: Too few clients answer.
            NotEnoughData: Events span too few days.
        """
        if not (self._folder / CATALOGUE_FILE).exists():
            save_catalogue(self._catalog, self._folder / CATALOGUE_FILE)
        counts = self._count()
        self._decide_model(counts)
        parameters = self._train_discovery(self._train())
        shared_net = new_network(self._spec.model, self._catalog, self._spec.training.seed)
        load_parameters(shared_net, parameters)
        head = shared_net.discovery_head
        is_active = head is not None and bool(load_arrays(parameters)["is_active"])
        if head is not None and not is_active:
            head.reset()
        elif head is not None:
            head.active = True
        anchor_idx = len(counts.count_plan.anchors) - 1 if is_active else None
        last = len(counts.count_plan.moments) - 1
        priors = counts.priors(last, self._catalog, anchor_idx=anchor_idx)
        return FederatedModel(shared_net.eval(), priors, tuple(self._records))

    def _decide_model(self, counts: FederatedCounts) -> None:
        """Decide what the settings leave open by the counts of all clients."""
        totals = [counts.sum_tables[f"{BINS_SECTION}/{name}"].sum() for name in _EVENT_TABLES]
        repeat_share = 1.0 - float(totals[1]) / max(1.0, float(totals[0]))
        model = self._spec.model.decided_by(repeat_share, self._catalog)
        self._spec = replace(self._spec, model=model)
        self._aggregator.federation_spec = self._spec

    def _count(self) -> FederatedCounts:
        paths = (self._folder / PLAN_FILE, self._folder / COUNTS_FILE)
        if paths[1].exists():
            return FederatedCounts.load(*paths)
        table_shapes = bin_shapes(self._spec.time_bins, self._catalog.n_items)
        sum_tables = self._section(BINS_SECTION, table_shapes)
        training = self._spec.training
        shares = np.linspace(training.warmup_share, 1 - training.later_share, training.n_rounds + 1)
        count_plan = make_plan(
            self._spec.time_bins,
            sum_tables[f"{BINS_SECTION}/events"].copy(),
            tuple(shares.tolist()),
            ANCHOR_SHARES,
            self._spec.federation.max_pair_items,
        )
        count_plan.save(paths[0])
        for section_name in section_names(count_plan):
            sum_tables |= self._section(
                section_name, section_shapes(count_plan, self._catalog, section_name)
            )
        counts = FederatedCounts(CountPlan.load(paths[0]), sum_tables)
        save_arrays(paths[1], **sum_tables)
        return counts

    def _section(self, section_name: str, table_shapes: Shapes) -> Tables:
        """Sums of a section, from its file if it was counted before."""
        file_path = self._folder / "sections" / f"{section_name}.npz"
        if not file_path.exists():
            client_order, started_s = CountOrder(section_name), time.monotonic()
            client_answers = self._aggregator.ask(client_order)
            implausible_clients = self._leave_out_implausible(
                section_name, table_shapes, client_answers
            )
            flat_vector = summed_counts(client_answers, self._spec.federation.aggregation)
            self._keep(
                client_order.name,
                client_answers,
                started_s,
                implausible_clients=implausible_clients,
            )
            save_arrays(file_path, **unflatten(flat_vector, table_shapes))
        return {f"{section_name}/{name}": table for name, table in load_arrays(file_path).items()}

    def _leave_out_implausible(
        self, section_name: str, table_shapes: Shapes, client_answers: Answers
    ) -> tuple[int, ...]:
        """Remove single answers that no log can have; sums cannot be checked.

        Returns:
            Clients that sent them, who are asked no more.
        """
        implausible_clients = []
        for client_number, flat_vector in list(client_answers.client_vectors.items()):
            if not is_plausible(section_name, unflatten(flat_vector, table_shapes)):
                del client_answers.client_vectors[client_number]
                client_answers.failures[client_number] = IMPLAUSIBLE
                implausible_clients.append(client_number)
        if client_answers.client_vectors:
            client_answers.survivors = tuple(client_answers.client_vectors)
        elif client_answers.vector_total is None:
            raise EngineError(
                "No client's counts are plausible",
                received=section_name,
                way_out="Check the versions of the clients' software",
            )
        self._aggregator.excluded |= set(implausible_clients)
        return tuple(implausible_clients)

    def _train(self) -> Path:
        """Rounds of training, then one on the later targets; file of the parameters."""
        shared_net = new_network(self._spec.model, self._catalog, self._spec.training.seed)
        start = {
            key: read_parameters(
                shared_net, shared_names(shared_net, is_discovery=key == "discovery")
            )
            for key in ("network", "discovery")
        }
        current_parameters, n_rounds = self._stored(start, "train", 0), self._spec.federation.rounds
        best_parameters, best_record, n_worse = current_parameters, None, 0
        for round_number in range(n_rounds):
            next_parameters, round_record = self._round(
                "train", round_number, current_parameters, _rate_share(round_number, n_rounds)
            )
            if self._is_no_worse(best_record, round_record):
                best_parameters, best_record, n_worse = current_parameters, round_record, 0
            else:
                n_worse += 1
            if n_worse == self._spec.training.patience:
                break
            current_parameters = next_parameters
        else:
            last_record = self._measure("train", n_rounds, current_parameters)
            if last_record is None or self._is_no_worse(best_record, last_record):
                best_parameters = current_parameters
        return self._round("later", 0, best_parameters, LATER_RATE)[0]

    def _is_no_worse(self, before: RoundRecord | None, after: RoundRecord) -> bool:
        """Whether a round started from better parameters, or cannot be compared.

        The rates of the rounds fall to almost 0, so that later parameters are the better guess.
        """
        if before is None:
            return True
        change = loss_change(before, after, self._spec.federation.aggregation)
        return change is None or change < 0.0

    def _train_discovery(self, parameters: Path) -> Path:
        """Rounds of the discovery head; it is used if it helps on later discoveries."""
        n_rounds = self._spec.federation.discovery_rounds
        if self._spec.training.discovery_targets == 0:
            n_rounds = 0
        current_parameters = parameters
        starts: list[tuple[Path, RoundRecord]] = []
        for round_number in range(n_rounds):
            rate_share = DISCOVERY_RATE * _rate_share(round_number, n_rounds)
            start = current_parameters
            current_parameters, round_record = self._round(
                "discovery", round_number, start, rate_share
            )
            starts.append((start, round_record))
        best_parameters = current_parameters  # under noise no loss is known
        last_record = self._measure("discovery", n_rounds, current_parameters) if starts else None
        if last_record is not None and starts[0][1].later_loss is not None:
            best_parameters = self._best_start([*starts, (current_parameters, last_record)])
        is_active = best_parameters != parameters
        file_path = self._folder / "parameters" / "final.npz"
        best_vectors = load_arrays(best_parameters)
        save_arrays(file_path, **{**best_vectors, "is_active": np.array(is_active)})
        return file_path

    def _best_start(self, starts: list[tuple[Path, RoundRecord]]) -> Path:
        """Parameters of the least later loss; sums over different clients are compared as well."""
        best_parameters, best_record = starts[0]
        for parameters, round_record in starts[1:]:
            change = loss_change(best_record, round_record, self._spec.federation.aggregation)
            if change is None:
                change = (round_record.later_loss or 0.0) - (best_record.later_loss or 0.0)
            if change < 0.0:
                best_parameters, best_record = parameters, round_record
        return best_parameters

    def _round(
        self, stage: Stage, round_number: int, start: Path, rate_share: float
    ) -> tuple[Path, RoundRecord]:
        """File of the parameters after a round, and its record with the loss of its start."""
        file_path = self._folder / "parameters" / f"{stage}-{round_number + 1}.npz"
        client_order = TrainOrder(stage, round_number, start, rate_share)
        if not file_path.exists():
            started_s = time.monotonic()
            client_answers = self._aggregator.ask(client_order)
            aggregated = aggregated_update(client_answers, self._spec.federation.aggregation)
            client_vectors = load_arrays(start)
            key = names_key(stage)
            moved = {**client_vectors, key: client_vectors[key] + aggregated.parameter_update}
            self._keep(client_order.name, client_answers, started_s, aggregated)
            save_arrays(file_path, **moved)
        return file_path, self._record_of(client_order.name)

    def _measure(self, stage: Stage, round_number: int, parameters: Path) -> RoundRecord | None:
        """Loss of some parameters on the later targets of the clients; None under noise."""
        if self._spec.federation.aggregation.noise_multiplier:
            return None  # a measurement without noise would reveal more than the updates
        client_order = TrainOrder(stage, round_number, parameters, 0.0)
        if not any(round_record.name == client_order.name for round_record in self._records):
            started_s = time.monotonic()
            client_answers = self._aggregator.ask(client_order)
            aggregated = aggregated_update(client_answers, self._spec.federation.aggregation)
            self._keep(client_order.name, client_answers, started_s, aggregated, is_update=False)
        return self._record_of(client_order.name)

    def _stored(self, client_vectors: dict[str, Float64], stage: Stage, round_number: int) -> Path:
        file_path = self._folder / "parameters" / f"{stage}-{round_number}.npz"
        if not file_path.exists():
            save_arrays(file_path, **client_vectors)
        return file_path

    def _record_of(self, name: str) -> RoundRecord:
        return next(round_record for round_record in self._records if round_record.name == name)

    def _keep(
        self,
        name: str,
        client_answers: Answers,
        started_s: float,
        aggregated: AggregatedUpdate | None = None,
        *,
        is_update: bool = True,
        implausible_clients: tuple[int, ...] = (),
    ) -> None:
        """Record an aggregation; one that was killed before its file was written comes again."""
        update = aggregated.parameter_update if aggregated is not None and is_update else None
        later_loss = None if aggregated is None else aggregated.later_loss
        failure_reasons = list(client_answers.failures.values())
        round_record = RoundRecord(
            name=name,
            n_answers=len(client_answers.survivors),
            failures={
                reason: failure_reasons.count(reason) for reason in sorted(set(failure_reasons))
            },
            later_loss=later_loss,
            update_norm=None if update is None else float(np.linalg.norm(update)),
            mb_per_client=round(
                client_answers.n_bytes / max(1, len(client_answers.survivors)) / 2**20, 3
            ),
            seconds=round(time.monotonic() - started_s, 3),
            client_numbers=tuple(sorted(client_answers.survivors)),
            client_losses={} if aggregated is None else aggregated.client_losses,
            implausible_clients=implausible_clients,
        )
        _LOG.info("%s: %s answers, later loss %s", name, round_record.n_answers, later_loss)
        self._records = [kept for kept in self._records if kept.name != name] + [round_record]
        table_rows = [kept.model_dump(mode="json") for kept in self._records]
        write_json(self._folder / _ROUNDS_FILE, {"rounds": table_rows})
        if self._on_round is not None:
            self._on_round(round_record)


def _rate_share(round_number: int, n_rounds: int) -> float:
    """Share of the learning rate in a round: half a cosine."""
    return max(MIN_RATE, 0.5 * (1.0 + math.cos(math.pi * round_number / n_rounds)))
