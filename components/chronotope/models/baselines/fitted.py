"""Check that a baseline is fitted before it scores."""

from typing import TypeVar

from chronotope.contracts.errors import ConfigError

StateT = TypeVar("StateT")


def require_fitted(state: StateT | None, name: str) -> StateT:
    """Return the fitted state of a model.

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
