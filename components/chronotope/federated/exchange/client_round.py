"""Answer of a client to an order: arrays in, arrays and metrics out; rows stay at the client."""

from pathlib import Path
from shutil import rmtree
from typing import Final

from chronotope.contracts.errors import ChronotopeError, SourceError
from chronotope.federated.clients.client_data import ClientFolder, load_catalogue
from chronotope.federated.clients.local_training import new_network, shared_names
from chronotope.federated.clients.orders import (
    CATALOGUE_FILE,
    N_FIGURES,
    CountOrder,
    FederationSpec,
    TrainOrder,
    answer_order,
    names_key,
)
from chronotope.federated.exchange.message_folder import Message, NamedArrays
from chronotope.federated.exchange.order_messages import (
    AVERAGED,
    COUNTS,
    FAILURE,
    FIXED,
    METRICS,
    OrderText,
    RoundMetrics,
    flat_parameters,
    named_parameters,
    read_order,
    unpack_files,
    with_prefix,
    without_prefix,
)
from chronotope.lake import Lake
from chronotope.models.network import ChronotopeNet
from chronotope.runtime.stored_arrays import save_arrays

_EXCHANGE: Final = "exchange"
_PARAMETERS_FILE: Final = "parameters.npz"


class ExchangeClient:
    """Client of a federation whose orders come from a transport as messages."""

    def __init__(self, root: Path, dataset: str) -> None:
        """Store references.

        Args:
            root: Project root of the client, with a lake of the dataset.
            dataset: Name of the dataset; orders for another one are refused.
        """
        self._client, self._dataset = ClientFolder(0, "client", root), dataset
        self._folder = self._client.state(dataset) / _EXCHANGE

    def n_events(self) -> int:
        """Number of events in the client's lake.

        Raises:
            SourceError: There is no lake of the dataset.
        """
        lake = Lake(self._client.lake(self._dataset))
        if not lake.exists("events"):
            raise SourceError(
                "The client has no lake of the dataset",
                received=self._client.lake(self._dataset),
                way_out="Ingest its events with `chronotope ingest --root`",
            )
        return int(lake.dataset("events").count_rows())

    def respond(self, request: Message) -> Message:
        """Answer to a request; of an error no more than its kind is in it."""
        try:
            return self.answer(request)
        except ChronotopeError as error:
            return Message({FAILURE: f"{type(error).__name__}: {error.problem}"})
        except Exception as error:  # whatever breaks one round must not end the client
            return Message({FAILURE: type(error).__name__})

    def answer(self, request: Message) -> Message:
        """Counts of a section, or parameters after local training, and metrics.

        Args:
            request: An order, the files that all clients share, and the parameters of a round.

        Raises:
            SourceError: The order is for another dataset, or its parameters do not fit.
            NotEnoughData: The client has no events of the catalogue.
        """
        order = read_order(request)
        if order.dataset != self._dataset:
            raise SourceError(
                "An order is for another dataset",
                received=order.dataset,
                way_out=f"This client serves {self._dataset}",
            )
        broadcast = unpack_files(request.arrays, self._folder)
        self._forget_all_but(broadcast)
        federation_spec = order.specification(broadcast)
        if order.kind == "count":
            counts = answer_order(self._client, federation_spec, CountOrder(order.section_name))
            return Message({}, {COUNTS: counts})
        return self._train(order, federation_spec, request.arrays)

    def _train(
        self, order: OrderText, federation_spec: FederationSpec, arrays: NamedArrays
    ) -> Message:
        network = _network_of(federation_spec)
        averaged_names = shared_names(network, is_discovery=order.stage == "discovery")
        fixed_names = shared_names(network, is_discovery=order.stage != "discovery")
        start = flat_parameters(network, averaged_names, without_prefix(AVERAGED, arrays))
        fixed = flat_parameters(network, fixed_names, without_prefix(FIXED, arrays))
        averaged_key = names_key(order.stage)
        fixed_key = "network" if averaged_key == "discovery" else "discovery"
        parameters_path = self._folder / _PARAMETERS_FILE
        save_arrays(parameters_path, **{averaged_key: start, fixed_key: fixed})
        train_order = TrainOrder(order.stage, order.round_number, parameters_path, order.rate_share)
        answer = answer_order(self._client, federation_spec, train_order)
        n_targets, loss_sum, n_later = (float(figure) for figure in answer[-N_FIGURES:])
        trained = start + answer[:-N_FIGURES] / max(n_targets, 1e-12)
        metrics = RoundMetrics(n_targets=n_targets, later_loss_sum=loss_sum, n_later=n_later)
        return Message(
            {METRICS: metrics.model_dump_json()},
            with_prefix(AVERAGED, named_parameters(network, averaged_names, trained)),
        )

    def _forget_all_but(self, broadcast: Path) -> None:
        """Delete the shared files of earlier orders."""
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder != broadcast:
                rmtree(folder)


def _network_of(federation_spec: FederationSpec) -> ChronotopeNet:
    catalog = load_catalogue(federation_spec.broadcast / CATALOGUE_FILE)
    return new_network(federation_spec.model, catalog, federation_spec.training.seed)
