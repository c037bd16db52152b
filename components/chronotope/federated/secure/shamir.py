"""Secret sharing: any ``threshold`` of n shares give the secret, fewer say nothing about it.

Source: Shamir (1979), *How to share a secret*: values of a random polynomial of degree
threshold - 1 over a prime field, whose constant term is the secret.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from chronotope.contracts.errors import DataError

PRIME: Final = 2**521 - 1
"""Order of the field, a Mersenne prime above every key of 32 bytes."""


def split_secret(secret_value: bytes, share_holders: list[int], threshold: int) -> dict[int, int]:
    """Shares of a secret.

    Args:
        secret_value: At most 64 bytes; its length is not part of the shares.
        share_holders: Numbers of those who get a share, 0 or more.
        threshold: Shares that are needed.

    Returns:
        Share of each holder, at the abscissa ``holder + 1``.

    Example:
        >>> shares = split_secret(b"key", [0, 1, 2], threshold=2)
        >>> join_shares({0: shares[0], 2: shares[2]}, 3)
        b'key'
    """
    coefficients = [int.from_bytes(secret_value, "big")]
    coefficients += [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    return {
        share_holder: _polynomial(coefficients, share_holder + 1) for share_holder in share_holders
    }


def join_shares(shares: Mapping[int, int], n_bytes: int) -> bytes:
    """Secret of enough shares, by Lagrange interpolation at 0.

    Args:
        shares: Share of each holder, at least as many as the threshold.
        n_bytes: Length of the secret.

    Raises:
        DataError: The shares are too few, or not of one secret.
    """
    secret_value = 0
    for share_holder, share in shares.items():
        numerator, denominator = 1, 1
        for other in shares:
            if other != share_holder:
                numerator = numerator * (other + 1) % PRIME
                denominator = denominator * (other - share_holder) % PRIME
        secret_value = (secret_value + share * numerator * pow(denominator, -1, PRIME)) % PRIME
    if secret_value >= 1 << (8 * n_bytes):
        raise DataError(
            "Shares do not give a key",
            received=f"{len(shares)} shares",
            way_out="Lower federation.quorum_share, or find the client that shares wrongly",
        )
    return secret_value.to_bytes(n_bytes, "big")


def _polynomial(coefficients: list[int], abscissa: int) -> int:
    """Value of a polynomial, constant term first, by Horner's rule."""
    value = 0
    for field_coefficient in reversed(coefficients):
        value = (value * abscissa + field_coefficient) % PRIME
    return value
