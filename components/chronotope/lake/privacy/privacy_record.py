"""What a lake says of its own privacy: settings, and fingerprints of the keys of its pseudonyms."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import INSTANT
from chronotope.lake.store import Lake
from chronotope.lake.table_schemas import NAME, PRIVACY, UPDATED_AT, VALUE
from chronotope.privacy import PrivacySettings, PseudonymKeys, read_keys

_SETTINGS: Final = "settings"
_FINGERPRINTS: Final = "fingerprints"


@dataclass(frozen=True, slots=True)
class LakePrivacy:
    """Privacy settings of a lake as its last ingestion recorded them.

    Attributes:
        settings: What is stored and shown of people.
        fingerprints: Of the keys of the pseudonyms, oldest first; none without pseudonyms.
    """

    settings: PrivacySettings = field(default_factory=PrivacySettings)
    fingerprints: tuple[str, ...] = ()


def read_privacy(lake: Lake) -> LakePrivacy:
    """Privacy settings of a lake; the defaults if none were recorded.

    Args:
        lake: Lake of the dataset.

    Raises:
        StoreError: The lake cannot be read.
    """
    if not lake.exists(PRIVACY):
        return LakePrivacy()
    rows = lake.read(PRIVACY, columns=[NAME, VALUE]).to_pylist()
    value_by_name = {row[NAME]: row[VALUE] for row in rows}
    return LakePrivacy(
        PrivacySettings.model_validate_json(value_by_name[_SETTINGS]),
        tuple(json.loads(value_by_name[_FINGERPRINTS])),
    )


def lake_keys(lake_privacy: LakePrivacy, dataset: str) -> PseudonymKeys | None:
    """Keys of a lake's pseudonyms from the environment; None without pseudonyms.

    Args:
        lake_privacy: Privacy settings of the lake.
        dataset: Name of the dataset, for the message.

    Raises:
        ConfigError: The keys are missing, or are not those that the lake was made with.
    """
    pseudonyms = lake_privacy.settings.pseudonyms
    if pseudonyms is None:
        return None
    keys = read_keys(pseudonyms, dataset)
    if keys.fingerprints != lake_privacy.fingerprints:
        raise _wrong_keys(keys, lake_privacy, dataset)
    return keys


def record_privacy(lake: Lake, settings: PrivacySettings, dataset: str) -> LakePrivacy:
    """Record the settings of the dataset's YAML in its lake, if they fit what it holds.

    Args:
        lake: Lake of the dataset.
        settings: Settings of the YAML.
        dataset: Name of the dataset, for messages.

    Raises:
        ConfigError: The lake has pseudonyms by other keys, or it has ids where the settings want
            pseudonyms or the other way round.
        StoreError: The lake cannot be read or written.
    """
    known = read_privacy(lake)
    fingerprints: tuple[str, ...] = ()
    has_events = lake.exists("events")
    if settings.pseudonyms is not None:
        keys = read_keys(settings.pseudonyms, dataset)
        if has_events and not known.fingerprints:
            raise ConfigError(
                f"The lake of {dataset} holds the ids of its users, no pseudonyms",
                received="privacy.pseudonyms in the dataset's YAML",
                way_out="Ingest into a new project root, or move data/lake/"
                f"{dataset} away: pseudonyms start with an empty lake",
            )
        if known.fingerprints and keys.fingerprints != known.fingerprints:
            raise _wrong_keys(keys, known, dataset)
        fingerprints = keys.fingerprints
    elif has_events and known.fingerprints:
        raise ConfigError(
            f"The lake of {dataset} holds pseudonyms, and its YAML has none",
            received="no privacy.pseudonyms",
            way_out="Restore privacy.pseudonyms in the dataset's YAML",
        )
    present = LakePrivacy(settings, fingerprints)
    if present != known:
        write_privacy(lake, present)
    return present


def write_privacy(lake: Lake, lake_privacy: LakePrivacy) -> None:
    """Replace the privacy record of a lake, in one commit.

    Args:
        lake: Lake of the dataset.
        lake_privacy: The record.
    """
    values = [
        lake_privacy.settings.model_dump_json(),
        json.dumps(lake_privacy.fingerprints),
    ]
    lake.upsert_keyed(
        PRIVACY,
        pa.table(
            {
                NAME: [_SETTINGS, _FINGERPRINTS],
                VALUE: values,
                UPDATED_AT: pa.repeat(pa.scalar(datetime.now(UTC), INSTANT), len(values)),
            }
        ),
    )


def _wrong_keys(keys: PseudonymKeys, lake_privacy: LakePrivacy, dataset: str) -> ConfigError:
    """Error of keys that are not those of the lake; the fingerprints tell nothing of a key."""
    known = lake_privacy.fingerprints
    is_longer = keys.fingerprints[: len(known)] == known and len(keys.fingerprints) > len(known)
    return ConfigError(
        f"The keys of the pseudonyms of {dataset} are not those of its lake",
        received=f"fingerprints {', '.join(keys.fingerprints)}; the lake has {', '.join(known)}",
        way_out=f"Rewrite the lake with `chronotope pseudonyms rotate {dataset}`"
        if is_longer
        else "Set the keys that the lake was made with, oldest first",
    )
