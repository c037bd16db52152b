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
    total, length = masked_sum, len(masked_sum)
    answers = shares_by_client.values()
    survivors = sorted({survivor for answer in answers for survivor in answer.seeds})
    dropped = sorted({client for answer in answers for client in answer.keys})
    for survivor in survivors:
        seed = _joined((holder, a.seeds.get(survivor)) for holder, a in shares_by_client.items())
        total = total - mask_stream(seed, length, modulus_bits)
    for client in dropped:
        key = _joined((holder, a.keys.get(client)) for holder, a in shares_by_client.items())
        for survivor in survivors:
            purpose = pair_purpose(session, client, survivor)
            seed = agreed_key(key, bytes.fromhex(keys[survivor].masking), purpose)
            stream = mask_stream(seed, length, modulus_bits)
            # what the survivor added for a later number, or subtracted for an earlier one
            total = total - stream if client > survivor else total + stream
    return total


def _joined(shares: Iterable[tuple[int, int | None]]) -> bytes:
    known = {holder: share for holder, share in shares if share is not None}
    return join_shares(known, KEY_BYTES)
