"""Calls of a client: each step of secure aggregation, or a plain answer.

What a client has to remember between the steps is in a file of its own folder.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.event_log import Float64
from chronotope.federated.clients.client_data import ClientFolder
from chronotope.federated.clients.orders import (
    FederationSpec,
    Order,
    answer_order,
    faulty_clients,
)
from chronotope.federated.secure.masks import Integers, encode
from chronotope.federated.secure.participant import Participant, PublicKeys, UnmaskingShares
from chronotope.runtime.durable_files import read_json

SECRETS_FILE: Final = "secrets.json"


class SimulatedDropError(ChronotopeError):
    """A client that drops out because the settings simulate it."""


@dataclass(frozen=True, slots=True)
class ClientCall:
    """Input of a call.

    Attributes:
        client: Who is called.
        federation_spec: The federation.
        client_order: What to answer.
        session: Name of the aggregation; no other one has it.
        keys: Advertised keys of all clients.
        partners: Clients that shared.
        dropped: Clients that shared and did not deliver.
        received: Encrypted shares for this client, by sender.
        attempt: How often the client was asked before.
    """

    client: ClientFolder
    federation_spec: FederationSpec
    client_order: Order
    session: str
    keys: dict[int, PublicKeys] = field(default_factory=dict)
    partners: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    received: dict[int, str] = field(default_factory=dict)
    attempt: int = 0


def advertise_keys(client_call: ClientCall) -> PublicKeys:
    """Fresh keys of this aggregation; those of an earlier one are forgotten."""
    participant = Participant(
        session=client_call.session,
        client_number=client_call.client.client_number,
        threshold=client_call.federation_spec.federation.threshold(
            client_call.federation_spec.n_clients
        ),
    )
    participant.save(_secrets_path(client_call))
    return participant.advertise()


def share_secrets(client_call: ClientCall) -> dict[int, str]:
    """Encrypted shares of this client's secrets, by receiver."""
    participant = _participant(client_call)
    messages = participant.share(client_call.keys)
    participant.save(_secrets_path(client_call))
    return messages


def answer_masked(client_call: ClientCall) -> Integers:
    """The client's vector under its masks."""
    _drop_if_simulated(client_call)
    flat_vector = answer_order(
        client_call.client, client_call.federation_spec, client_call.client_order
    )
    encoded = encode(
        flat_vector, client_call.client_order.scale_bits, client_call.client_order.modulus_bits
    )
    return _participant(client_call).mask(
        encoded, list(client_call.partners), client_call.client_order.modulus_bits
    )


def answer_plain(client_call: ClientCall) -> Float64:
    """The client's vector as it is."""
    _drop_if_simulated(client_call)
    return answer_order(client_call.client, client_call.federation_spec, client_call.client_order)


def reveal_shares(client_call: ClientCall) -> UnmaskingShares:
    """Shares that unmask the sum; afterwards the client forgets its secrets."""
    participant = _participant(client_call)
    survivors = [
        client_number
        for client_number in client_call.partners
        if client_number not in client_call.dropped
    ]
    shares = participant.unmask(survivors, list(client_call.dropped), client_call.received)
    participant.save(_secrets_path(client_call))
    return shares


def _drop_if_simulated(client_call: ClientCall) -> None:
    """Drop out after the shares were sent, which costs secure aggregation the most."""
    share = client_call.federation_spec.federation.faults.drop_share
    purpose = f"drop {client_call.client_order.name}" + " again" * client_call.attempt
    if client_call.client.client_number in faulty_clients(
        client_call.federation_spec, share, purpose
    ):
        raise SimulatedDropError("A simulated drop-out")


def _participant(client_call: ClientCall) -> Participant:
    content = read_json(
        _secrets_path(client_call),
        subject="The secrets of an aggregation",
        way_out="The client takes part again in the next aggregation",
    )
    participant = Participant.model_validate(content)
    if participant.session != client_call.session:
        raise ChronotopeError("The client took part in another aggregation meanwhile")
    return participant


def _secrets_path(client_call: ClientCall) -> Path:
    return client_call.client.state(client_call.federation_spec.dataset) / SECRETS_FILE
