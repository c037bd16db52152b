"""Time zones by name: IANA names, and fixed offsets such as UTC+8 and +08:00."""

import re
from datetime import timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_bounds import MAX_UTC_OFFSET_MIN

AMBIGUOUS_ZONES: Final[dict[str, str]] = {
    "ACST": "Australia/Darwin or +09:30",
    "ADT": "America/Halifax or Asia/Baghdad",
    "AEST": "Australia/Sydney or Australia/Brisbane",
    "AEDT": "Australia/Sydney or +11:00",
    "AMT": "America/Manaus or Asia/Yerevan",
    "AST": "America/Halifax or Asia/Riyadh",
    "BST": "Europe/London or Asia/Dhaka",
    "CDT": "America/Chicago or America/Havana",
    "CEST": "Europe/Berlin or +02:00",
    "CET": "Europe/Berlin or +01:00",
    "CST": "America/Chicago, Asia/Shanghai or America/Havana",
    "ECT": "America/Guayaquil or Europe/Paris",
    "EDT": "America/New_York or -04:00",
    "EEST": "Europe/Athens or +03:00",
    "EET": "Europe/Athens or +02:00",
    "EST": "America/New_York, -05:00 or Australia/Sydney",
    "GST": "Asia/Dubai or Atlantic/South_Georgia",
    "HKT": "Asia/Hong_Kong",
    "HST": "Pacific/Honolulu",
    "ICT": "Asia/Bangkok",
    "IST": "Asia/Kolkata, Europe/Dublin or Asia/Jerusalem",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "MDT": "America/Denver or -06:00",
    "MET": "Europe/Berlin or +01:00",
    "MSK": "Europe/Moscow",
    "MST": "America/Denver, America/Phoenix or Asia/Kuala_Lumpur",
    "NZDT": "Pacific/Auckland or +13:00",
    "NZST": "Pacific/Auckland or +12:00",
    "PDT": "America/Los_Angeles or -07:00",
    "PST": "America/Los_Angeles, -08:00 or Asia/Manila",
    "SGT": "Asia/Singapore",
    "SST": "Pacific/Pago_Pago or Asia/Singapore",
    "WAT": "Africa/Lagos",
    "WEST": "Europe/Lisbon or +01:00",
    "WET": "Europe/Lisbon or +00:00",
    "WIB": "Asia/Jakarta",
}
"""Zones that an abbreviation may stand for; none of them names one zone everywhere, or names the
same offset in summer and in winter."""

_REFUSED_NAMES: Final = frozenset(AMBIGUOUS_ZONES) - {"CET", "EET", "WET", "MET", "HST"}
_OFFSET: Final = re.compile(r"(?i)(?:UTC|GMT)?\s*([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?")
_UTC_NAMES: Final = frozenset({"Z", "UTC", "GMT", "UT"})


@lru_cache(maxsize=4_096)
def fixed_offset(offset_text: str) -> timedelta | None:
    """Time to add to UTC of an offset such as +08:00, +0800, +08, UTC+8 or Z.

    The sign is that of ISO 8601: UTC+8 is east of Greenwich, unlike Etc/GMT+8.

    Returns:
        The offset, between -24 and 24 hours; None for another text.

    Example:
        >>> fixed_offset("UTC+8"), fixed_offset("-0330"), fixed_offset("CST")
        (datetime.timedelta(seconds=28800), datetime.timedelta(days=-1, seconds=73800), None)
    """
    if offset_text.upper() in _UTC_NAMES:
        return timedelta()
    match = _OFFSET.fullmatch(offset_text)
    if match is None:
        return None
    hours, minutes, seconds = (int(digits or 0) for digits in match.groups()[1:])
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    magnitude = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -magnitude if match[1] == "-" else magnitude


def zone(zone_name: str) -> tzinfo:
    """Time zone by name.

    Args:
        zone_name: IANA name in upper or lower case, such as Europe/Vienna, or an offset that
            ``fixed_offset`` reads, between -14 and 14 hours.

    Raises:
        ConfigError: No such zone, or an abbreviation that stands for several.

    Example:
        >>> print(zone("UTC+8"), zone("asia/shanghai"))
        UTC+08:00 Asia/Shanghai
    """
    stripped_name = zone_name.strip()
    if stripped_name.upper() in _REFUSED_NAMES:
        raise ConfigError(
            "The time zone is ambiguous: an abbreviation stands for several zones, or for one "
            "with other clocks in summer",
            received=zone_name,
            way_out=f"Use an IANA name or an offset: {AMBIGUOUS_ZONES[stripped_name.upper()]}",
        )
    offset = fixed_offset(stripped_name)
    if offset is not None and abs(offset) <= timedelta(minutes=MAX_UTC_OFFSET_MIN):
        return timezone(offset)
    try:
        return ZoneInfo(stripped_name)
    except (KeyError, ValueError, OSError) as error:
        iana_name = _iana_names().get(stripped_name.replace(" ", "_").lower())
        if iana_name is not None:
            return ZoneInfo(iana_name)
        raise ConfigError(
            "Unknown time zone",
            received=zone_name,
            way_out="Use an IANA name such as Europe/Vienna, or an offset such as +08:00",
        ) from error


@lru_cache(maxsize=1)
def _iana_names() -> dict[str, str]:
    """IANA names by their lower-case forms."""
    return {iana_name.lower(): iana_name for iana_name in available_timezones()}
