"""Guard against asking a model that has learned nothing yet."""

from typing import TypeVar

from chronotope.contracts.errors import ConfigError

StateT = TypeVar("StateT")


def require_fitted(state: StateT | None, name: str) -> StateT:
    """Hand out what a model learned.

    Args:
        state: The learned state, None before ``fit``.
        name: Name of the model, for the message.

    Returns:
        The state, when there is one.

    Raises:
        ConfigError: The model has not been fitted.
    """
    if state is None:
        raise ConfigError(f"Model {name!r} has not been fitted", way_out="Call fit(...) first")
    return state
