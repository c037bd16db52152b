"""Masking of passwords, keys and tokens in logs, errors and other output."""

import os
import re
from typing import Final

from chronotope.runtime.store_urls import redact_password

MASK: Final = "***"

_NAME_PATTERN: Final = (
    r"(?:[\w-]*(?:password|passwd|pwd|secret|auth[_-]?string|api[_-]?key|access[_-]?key|"
    r"account[_-]?key|private[_-]?key|token|authorization|signature|credential)"
    r"(?:[_-]?(?:id|key))?)"
)
_USER_INFO: Final = re.compile(r"(?P<before>\w[\w+.-]*://[^\s/:@'\"]*:)[^\s'\"]*(?=@)")
_ASSIGNMENT: Final = re.compile(
    rf"(?P<before>\b{_NAME_PATTERN}['\"]?\s*[=:]\s*(?:(?:Bearer|Basic)\s+)?['\"]?)"
    r"(?!\*\*\*)[^\s'\",;&)}\]]+",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_AWS_KEY_ID: Final = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_VARIABLE_NAME: Final = re.compile(_NAME_PATTERN, re.IGNORECASE)
_WORKING_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})
"""Variables of a shell whose names look like passwords."""

_MIN_CHARS: Final = 6
"""Minimum length of a masked value; a shorter one may be part of an ordinary word."""


def mask_secrets(message_text: str) -> str:
    """Text with passwords, keys and tokens masked.

    Masked are passwords in addresses, values assigned to names such as ``password`` or
    ``api_key``, and the values of this process's environment variables with such names.

    >>> mask_secrets("no answer from postgresql://ada:s3cr3t@db:5432/mlflow")
    'no answer from postgresql://ada:***@db:5432/mlflow'
    >>> mask_secrets("host=db user=ada password=s3cr3t")
    'host=db user=ada password=***'

    Args:
        message_text: Text to mask, such as the message of a database driver.
    """
    message_text = _mask_environment(message_text)
    message_text = _USER_INFO.sub(rf"\g<before>{MASK}", message_text)
    message_text = _SCHEME.sub(rf"\g<before>{MASK}", message_text)
    message_text = _ASSIGNMENT.sub(rf"\g<before>{MASK}", message_text)
    return _AWS_KEY_ID.sub(MASK, message_text)


def _mask_environment(message_text: str) -> str:
    """Mask every occurrence of this process's secret environment variables."""
    for variable_name, variable_value in os.environ.items():
        if variable_name in _WORKING_FOLDERS:
            continue
        if "://" in variable_value and "@" in variable_value:
            message_text = redact_password(message_text, variable_value)
        elif len(variable_value) >= _MIN_CHARS and _VARIABLE_NAME.fullmatch(variable_name):
            message_text = message_text.replace(variable_value, MASK)
    return message_text
