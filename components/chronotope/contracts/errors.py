"""Every error Chronotope raises on purpose.

ChronotopeError
├── ConfigError            a parameter or a YAML file is wrong
├── DataError              what was read cannot be used
│   ├── SourceError        the source cannot be opened or parsed at all
│   ├── SchemaError        columns are missing or have the wrong type
│   ├── ValidationFailed   a critical expectation failed; nothing was written
│   └── NotEnoughData      too few events, users or items for the step
├── StoreError             the lake or the registry refused
│   └── PromotionConflict  somebody else promoted first
├── EngineError            tasks were lost, or their engine does not answer
└── ArtifactError          a model bundle is incomplete, corrupt or not blessed

A message says what is wrong, what was received, and the way out.
"""

_MAX_RECEIVED_CHARS = 300


class ChronotopeError(Exception):
    """Root of the tree: catch this to catch every deliberate error."""

    def __init__(self, problem: str, *, received: object = None, way_out: str = "") -> None:
        """Compose the message.

        Args:
            problem: What is wrong, one sentence without a full stop.
            received: The offending value, shown shortened; left out when None.
            way_out: What the user can do about it.
        """
        self.what, self.received, self.way_out = problem, received, way_out
        message_parts = [problem]
        if received is not None:
            received_text = str(received)
            is_short = len(received_text) <= _MAX_RECEIVED_CHARS
            shown_text = (
                received_text if is_short else received_text[: _MAX_RECEIVED_CHARS - 3] + "..."
            )
            message_parts.append(f"Received: {shown_text}")
        if way_out:
            message_parts.append(way_out)
        super().__init__(
            " ".join(
                message_part if message_part.endswith(".") else f"{message_part}."
                for message_part in message_parts
            )
        )


class ConfigError(ChronotopeError):
    """A parameter or a YAML file is wrong."""


class DataError(ChronotopeError):
    """What was read cannot be used."""


class SourceError(DataError):
    """The source cannot be opened or parsed at all."""


class SchemaError(DataError):
    """Columns are missing or have the wrong type."""


class ValidationFailed(DataError):  # noqa: N818 - the field says "validation failed"
    """A critical expectation failed; nothing was written."""


class NotEnoughData(DataError):  # noqa: N818 - reads as the condition it names
    """Too few events, users or items for the step."""


class StoreError(ChronotopeError):
    """The lake or the registry refused."""


class PromotionConflict(StoreError):  # noqa: N818 - reads as the condition it names
    """Somebody else promoted first."""


class EngineError(ChronotopeError):
    """Tasks were lost, or their engine does not answer."""


class ArtifactError(ChronotopeError):
    """A model bundle is incomplete, corrupt or not blessed."""
