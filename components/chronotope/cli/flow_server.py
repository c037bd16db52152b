"""Prefect server of a command's flow: it starts while the flow's packages are imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from chronotope.runtime.usable_paths import require_usable_root


@contextmanager
def flow_server(root: Path, flow_module: str, *, validates: bool) -> Iterator[None]:
    """Run a flow on the server that Prefect's settings name, or on a private one.

    Args:
        root: Project root; the log of a private server lies below it.
        flow_module: Module of the flow, such as ``flows.train_model``.
        validates: Whether the flow checks rows, which takes Great Expectations.

    Raises:
        ConfigError: The root cannot be used.
    """
    require_usable_root(root)
    from flows.private_server import run_by_hand

    def preload() -> None:
        import_module(flow_module)
        if validates:
            from chronotope.validation.gx_context import import_great_expectations

            import_great_expectations()

    with run_by_hand(root, preload):
        yield
