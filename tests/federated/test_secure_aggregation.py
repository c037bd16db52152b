"""Secure aggregation: the sum is exact, also after drop-outs, and nothing else is seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.contracts.errors import DataError
from chronotope.federated.secure.masks import decode, encode, mask_stream
from chronotope.federated.secure.participant import Participant
from chronotope.federated.secure.shamir import join_shares, split_secret
from chronotope.federated.secure.unmasked_sum import unmasked_sum

N_CLIENTS, THRESHOLD = 5, 3


def _aggregate(client_vectors: np.ndarray, dropped: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sum by the protocol, and what the server saw of the first survivor."""
    participants = {
        client_number: Participant(session="test", client_number=client_number, threshold=THRESHOLD)
        for client_number in range(len(client_vectors))
    }
    keys = {
        client_number: participant.advertise()
        for client_number, participant in participants.items()
    }
    messages = {client_number: p.share(keys) for client_number, p in participants.items()}
    survivors = [client_number for client_number in participants if client_number not in dropped]
    masked_vector = {
        client_number: participants[client_number].mask(
            encode(client_vectors[client_number], 24, 64), list(participants), 64
        )
        for client_number in survivors
    }
    client_answers = {
        client_number: participants[client_number].unmask(
            survivors, dropped, {sender: messages[sender][client_number] for sender in participants}
        )
        for client_number in survivors[:THRESHOLD]
    }
    vector_total = np.sum(list(masked_vector.values()), axis=0, dtype=np.uint64)
    sums = unmasked_sum(vector_total, client_answers, keys, "test", 64)
    return decode(sums, 24, 64), masked_vector[survivors[0]]


@pytest.mark.parametrize("dropped", [[], [0], [4], [1, 3]], ids=["none", "first", "last", "two"])
def test_the_sum_of_the_survivors_is_exact(dropped: list[int]) -> None:
    client_vectors = np.random.default_rng(0).integers(-100, 100, (N_CLIENTS, 50)) / 16.0
    sums, _ = _aggregate(client_vectors, dropped)
    assert sums == pytest.approx(np.delete(client_vectors, dropped, axis=0).sum(0), abs=0.0)


def test_the_server_sees_uniform_numbers() -> None:
    _, masked_vector = _aggregate(np.zeros((N_CLIENTS, 4_000)), [])
    top_bytes = np.bincount((masked_vector >> np.uint64(56)).astype(int), minlength=256)
    # chi-squared with 255 degrees of freedom: mean 255, deviation 22.6
    assert ((top_bytes - 4_000 / 256) ** 2 / (4_000 / 256)).sum() < 400


def test_too_few_shares_do_not_give_the_secret() -> None:
    shares = split_secret(bytes(range(32)), list(range(5)), threshold=3)
    assert join_shares({n: shares[n] for n in (0, 2, 4)}, 32) == bytes(range(32))
    with pytest.raises(DataError, match="Shares do not give a key"):
        join_shares({n: shares[n] for n in (0, 2)}, 32)


def test_a_client_never_reveals_both_masks_of_a_peer() -> None:
    participant = Participant(session="s", client_number=0, threshold=2)
    others = [Participant(session="s", client_number=n, threshold=2) for n in (1, 2)]
    keys = {p.client_number: p.advertise() for p in (participant, *others)}
    received = {p.client_number: p.share(keys)[0] for p in (participant, *others)}
    with pytest.raises(DataError, match="refuses to unmask"):
        participant.unmask([0, 1], [1, 2], received)
    participant.unmask([0, 1], [2], received)
    with pytest.raises(DataError, match="revealed before: True"):
        participant.unmask([0, 2], [1], received)


def test_a_changed_share_is_found() -> None:
    sender, receiver = (Participant(session="s", client_number=n, threshold=2) for n in (0, 1))
    keys = {p.client_number: p.advertise() for p in (sender, receiver)}
    messages = {0: sender.share(keys)[1], 1: receiver.share(keys)[1]}
    messages[0] = messages[0][:-1] + ("0" if messages[0][-1] != "0" else "1")
    with pytest.raises(DataError, match="changed on its way"):
        receiver.unmask([0, 1], [], messages)


def test_too_few_clients_are_refused() -> None:
    alone = Participant(session="s", client_number=0, threshold=2)
    with pytest.raises(DataError, match="Too few clients"):
        alone.share({0: alone.advertise()})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.sampled_from([0, 8, 24]))
def test_numbers_return_rounded(values: list[float], scale_bits: int) -> None:
    array = np.array(values)
    decoded = decode(encode(array, scale_bits, 64), scale_bits, 64)
    assert np.abs(decoded - array).max() <= 0.5 * 2.0**-scale_bits


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e18], ids=["nan", "infinite", "large"])
def test_numbers_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="not finite or too large"):
        encode(np.array([value]), 24, 64)


def test_a_stream_depends_on_its_seed_alone() -> None:
    first, again, other = (mask_stream(bytes([n]) * 32, 9, 32) for n in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
