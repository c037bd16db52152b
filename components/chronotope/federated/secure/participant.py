"""Client of one secure aggregation: keys, shares, a masked vector, and shares to unmask the sum.

    y_u = x_u + PRG(b_u) + sum_{v > u} PRG(s_uv) - sum_{v < u} PRG(s_uv)    modulo 2^bits

The pairwise masks s_uv cancel in the sum. Of a client that dropped after it had shared, the others'
shares give the key of its pairwise masks; of all others they give b_u. A client never reveals
both of one peer, with which the server could unmask that peer's vector.

Source: Bonawitz et al. (2017), *Practical secure aggregation for privacy-preserving machine
learning*, figure 4 without the steps against a server that lies about who dropped.
"""

import json
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.errors import DataError
from chronotope.federated.secure.masks import (
    KEY_BYTES,
    Integers,
    ModulusBits,
    agreed_key,
    mask_stream,
    new_private_key,
    public_key,
)
from chronotope.federated.secure.shamir import split_secret
from chronotope.runtime.durable_files import write_json
from chronotope.runtime.private_files import private_folder

_NONCE_BYTES: Final = 12


class PublicKeys(BaseModel):
    """Keys that a client advertises, in hexadecimal digits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encryption: str = Field(description="For the shares that other clients send")
    masking: str = Field(description="For the pairwise masks")


class UnmaskingShares(BaseModel):
    """What a surviving client reveals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: dict[int, int] = Field(description="Shares of the own masks of survivors, by client")
    keys: dict[int, int] = Field(description="Shares of the masking keys of dropped clients")


class Participant(BaseModel):
    """State of a client in one aggregation; it never leaves the client.

    Attributes:
        session: Name of the aggregation; keys are used in no other one.
        client_number: Number of the client among those of the federation.
        threshold: Clients whose shares unmask the sum.
    """

    model_config = ConfigDict(extra="forbid")

    session: str
    client_number: int
    threshold: int
    encryption_key: str = Field(default_factory=lambda: new_private_key().hex(), repr=False)
    masking_key: str = Field(default_factory=lambda: new_private_key().hex(), repr=False)
    own_seed: str = Field(default_factory=lambda: secrets.token_hex(KEY_BYTES), repr=False)
    peer_keys: dict[int, PublicKeys] = Field(default_factory=dict)
    has_revealed: bool = False

    def advertise(self) -> PublicKeys:
        """Public keys of this aggregation."""
        return PublicKeys(
            encryption=public_key(bytes.fromhex(self.encryption_key)).hex(),
            masking=public_key(bytes.fromhex(self.masking_key)).hex(),
        )

    def share(self, peer_keys: dict[int, PublicKeys]) -> dict[int, str]:
        """Encrypted shares of the own seed and the masking key, by receiver.

        Args:
            peer_keys: Keys of all clients that advertised, this one included.

        Raises:
            DataError: They are fewer than the threshold.
        """
        if len(peer_keys) < self.threshold or self.client_number not in peer_keys:
            raise DataError(
                "Too few clients for a secure aggregation",
                received=f"{len(peer_keys)}, needed {self.threshold}",
                way_out="Add clients, or lower federation.quorum_share",
            )
        self.peer_keys = peer_keys
        share_holders = sorted(peer_keys)
        seed_shares = split_secret(bytes.fromhex(self.own_seed), share_holders, self.threshold)
        key_shares = split_secret(bytes.fromhex(self.masking_key), share_holders, self.threshold)
        return {
            share_holder: self._encrypt(
                share_holder, [seed_shares[share_holder], key_shares[share_holder]]
            )
            for share_holder in share_holders
        }

    def mask(self, encoded: Integers, partners: list[int], modulus_bits: ModulusBits) -> Integers:
        """The vector with all masks added; the server sees this one only.

        Args:
            encoded: Result of ``masks.encode``.
            partners: Clients that shared, this one included.
            modulus_bits: Bits of an integer.
        """
        masked_vector = encoded + mask_stream(
            bytes.fromhex(self.own_seed), len(encoded), modulus_bits
        )
        for partner in partners:
            if partner == self.client_number:
                continue
            mask_values = mask_stream(self._pair_seed(partner), len(encoded), modulus_bits)
            masked_vector = (
                masked_vector + mask_values
                if partner > self.client_number
                else masked_vector - mask_values
            )
        return masked_vector

    def unmask(
        self, survivors: list[int], dropped: list[int], received: dict[int, str]
    ) -> UnmaskingShares:
        """Shares of the own masks of survivors and of the keys of dropped clients, once.

        Args:
            survivors: Clients whose masked vectors the server has.
            dropped: Clients that shared and did not deliver.
            received: Encrypted shares of all of them that are addressed to this client.

        Raises:
            DataError: The survivors are too few, a client is in both lists, this client has
                revealed shares before, or a share is damaged.
        """
        if len(survivors) < self.threshold or set(survivors) & set(dropped) or self.has_revealed:
            raise DataError(
                "A client refuses to unmask",
                received=f"{len(survivors)} survivors, needed {self.threshold}; "
                f"in both lists: {sorted(set(survivors) & set(dropped))}; "
                f"revealed before: {self.has_revealed}",
                way_out="Start another round",
            )
        self.has_revealed = True
        shares = {sender: self._decrypt(sender, received[sender]) for sender in received}
        return UnmaskingShares(
            seeds={survivor: shares[survivor][0] for survivor in survivors},
            keys={peer_number: shares[peer_number][1] for peer_number in dropped},
        )

    def save(self, file_path: Path) -> None:
        """Write the state to a file of the client, readable by its owner only."""
        private_folder(file_path.parent)
        write_json(file_path, json.loads(self.model_dump_json()))
        file_path.chmod(0o600)

    def _pair_seed(self, peer_number: int) -> bytes:
        return agreed_key(
            bytes.fromhex(self.masking_key),
            bytes.fromhex(self.peer_keys[peer_number].masking),
            pair_purpose(self.session, self.client_number, peer_number),
        )

    def _encrypt(self, receiver: int, shares: list[int]) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed_shares = self._cipher(receiver, self.client_number, receiver).encrypt(
            nonce, json.dumps(shares).encode(), None
        )
        return (nonce + sealed_shares).hex()

    def _decrypt(self, sender: int, message: str) -> list[int]:
        content = bytes.fromhex(message)
        nonce, sealed_shares = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
        try:
            opened = self._cipher(sender, sender, self.client_number).decrypt(
                nonce, sealed_shares, None
            )
        except InvalidTag as error:
            raise DataError(
                "A share was changed on its way",
                received=f"from client {sender}",
                way_out="Start another round",
            ) from error
        return [int(share) for share in json.loads(opened)]

    def _cipher(self, peer_number: int, sender: int, receiver: int) -> ChaCha20Poly1305:
        purpose = f"shares {self.session} {sender} {receiver}".encode()
        return ChaCha20Poly1305(
            agreed_key(
                bytes.fromhex(self.encryption_key),
                bytes.fromhex(self.peer_keys[peer_number].encryption),
                purpose,
            )
        )


def pair_purpose(session: str, client_number: int, peer_number: int) -> bytes:
    """Purpose of the key of the mask of two clients, the same for both."""
    first_number, last_number = sorted((client_number, peer_number))
    return f"mask {session} {first_number} {last_number}".encode()
