"""Exception classes of Chronotope.

ChronotopeError
├── ConfigError            a parameter or a YAML file is invalid
├── DataError              data that was read cannot be used
│   ├── SourceError        a source cannot be opened or parsed
│   ├── SchemaError        columns are missing or have the wrong type
│   ├── ValidationFailed   a critical expectation failed; nothing was written
│   └── NotEnoughData      too few events, users or items for the step
├── StoreError             the lake, the registry or another store refused an operation
│   └── PromotionConflict  another process promoted a version first
├── EngineError            the task engine lost tasks or does not answer
└── ArtifactError          a model bundle is incomplete, corrupt or not blessed

A message states the problem, the value that was received, and what to do about it.
"""

_MAX_RECEIVED_CHARS = 300


class ChronotopeError(Exception):
    """Base class of all Chronotope exceptions.

    Attributes:
        problem: What is wrong, one sentence without a full stop.
        received: The offending value; None if there is none.
        way_out: What the user can do about it; "" if unknown.
    """

    def __init__(self, problem: str, *, received: object = None, way_out: str = "") -> None:
        """Compose the message.

        Args:
            problem: What is wrong, one sentence without a full stop.
            received: The offending value, shortened to 300 characters; omitted if None.
            way_out: What the user can do about it.
        """
        self.problem, self.received, self.way_out = problem, received, way_out
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
    """A parameter or a YAML file is invalid."""


class DataError(ChronotopeError):
    """Data that was read cannot be used."""


class SourceError(DataError):
    """A source cannot be opened or parsed."""


class SchemaError(DataError):
    """Columns are missing or have the wrong type."""


class ValidationFailed(DataError):  # noqa: N818 - the usual term
    """A critical expectation failed; nothing was written."""


class NotEnoughData(DataError):  # noqa: N818 - named after the condition
    """Too few events, users or items for the step."""


class StoreError(ChronotopeError):
    """The lake, the registry or another store refused an operation."""


class PromotionConflict(StoreError):  # noqa: N818 - named after the condition
    """Another process promoted a version first."""


class EngineError(ChronotopeError):
    """The task engine lost tasks or does not answer."""


class ArtifactError(ChronotopeError):
    """A model bundle is incomplete, corrupt or not blessed."""
