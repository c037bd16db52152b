"""Server of a secure aggregation: the sum of the masked vectors, without their masks."""

from collections.abc import Iterable, Mapping

from chronotope.federated.secure.masks import (
    KEY_BYTES,
    Integers,
    ModulusBits,
    agreed_key,
    mask_stream,
)
from chronotope.federated.secure.participant import PublicKeys, UnmaskingShares, pair_purpose
from chronotope.federated.secure.shamir import join_shares


def unmasked_sum(
    masked_sum: Integers,
    shares_by_client: Mapping[int, UnmaskingShares],
    keys: Mapping[int, PublicKeys],
    session: str,
    modulus_bits: ModulusBits,
) -> Integers:
    """Sum of the vectors of the survivors.

    Args:
        masked_sum: Sum of their masked vectors, modulo 2^modulus_bits.
        shares_by_client: What at least ``threshold`` survivors revealed.
        keys: Advertised keys of all clients that shared.
        session: Name of the aggregation.
        modulus_bits: Bits of an integer.

    Raises:
        DataError: Shares are too few or wrong.
    """
    vector_total, n_integers = masked_sum, len(masked_sum)
    client_answers = shares_by_client.values()
    survivors = sorted({survivor for answer in client_answers for survivor in answer.seeds})
    dropped = sorted({client for answer in client_answers for client in answer.keys})
    for survivor in survivors:
        seed = _joined(
            (share_holder, a.seeds.get(survivor)) for share_holder, a in shares_by_client.items()
        )
        vector_total = vector_total - mask_stream(seed, n_integers, modulus_bits)
    for client in dropped:
        key = _joined(
            (share_holder, a.keys.get(client)) for share_holder, a in shares_by_client.items()
        )
        for survivor in survivors:
            purpose = pair_purpose(session, client, survivor)
            seed = agreed_key(key, bytes.fromhex(keys[survivor].masking), purpose)
            mask_values = mask_stream(seed, n_integers, modulus_bits)
            # what the survivor added for a later number, or subtracted for an earlier one
            vector_total = (
                vector_total - mask_values if client > survivor else vector_total + mask_values
            )
    return vector_total


def _joined(shares: Iterable[tuple[int, int | None]]) -> bytes:
    known = {share_holder: share for share_holder, share in shares if share is not None}
    return join_shares(known, KEY_BYTES)
