"""Group of simultaneous workers on a Ray cluster: all run, or none of them is of use.

Tasks of an engine are independent; members of a group wait for each other, as processes of a
data-parallel training do. A group that lost a member is not repaired: its owner opens another.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from chronotope.contracts.errors import ConfigError, EngineError
from chronotope.runtime.engine.config import EngineConfig
from chronotope.runtime.engine.open_engine import require_ray
from chronotope.runtime.engine.ray_engine import ray_connection

_READY_S: Final = 180.0
"""Time for all members to start; a node may import PyTorch for the first time."""

_POLL_S: Final = 0.2


class RayGroup:
    """Members of a group, each a worker process with its own processors, spread over the nodes."""

    def __init__(self, config: EngineConfig, n_members: int, *, fewer: bool) -> None:
        """Start the members, and wait until they run.

        Args:
            config: Settings of the engine.
            n_members: Number of members.
            fewer: Whether those will do for whom the cluster has processors. A lost node is
                listed until the cluster has noticed.

        Raises:
            EngineError: A member did not start.
        """
        import ray

        member_class: Any = ray.remote(_GroupMember).options(
            num_cpus=config.task_cpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._members = [member_class.remote() for _ in range(n_members)]
        self._calls: list[Any] = []
        starts = [member.wait_until_ready.remote() for member in self._members]
        deadline = time.monotonic() + _READY_S
        ready: list[Any] = []
        while len(ready) < n_members and time.monotonic() < deadline:
            ready, _ = ray.wait(starts, num_returns=n_members, timeout=_POLL_S)
            if fewer and ready and _n_possible(config) <= len(ready):
                break
        n_wanted = 1 if fewer else n_members
        if len(ready) < n_wanted:
            self.close()
            raise EngineError(
                "A worker of the group did not start",
                received=f"{len(ready)} of {n_members} started in {_READY_S:.0f} s",
                way_out="Check `ray status`, and the memory of the nodes",
            )
        is_ready = [start in set(ready) for start in starts]
        for member, runs in zip(self._members, is_ready, strict=True):
            if not runs:
                ray.kill(member)
        self._members = [
            member for member, runs in zip(self._members, is_ready, strict=True) if runs
        ]

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self._members)

    @property
    def driver_address(self) -> str:
        """Address of this machine in the cluster."""
        import ray

        return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]

    def start(self, function: Callable[..., None], payload: Any, ranks: Sequence[Any]) -> None:
        """Call a function in every member; returns at once.

        Args:
            function: Function of the payload, the member's own value, and its node's address.
            payload: First argument, sent to every node once.
            ranks: Second argument of each member.
        """
        import ray

        reference = ray.put(payload)
        self._calls = [
            member.call.remote(function, reference, rank)
            for member, rank in zip(self._members, ranks, strict=True)
        ]

    def wait(self, timeout_s: float) -> None:
        """Wait until all calls have ended.

        Args:
            timeout_s: Maximum time.
        """
        import ray

        ray.wait(self._calls, num_returns=len(self._calls), timeout=timeout_s)

    def has_lost_member(self, timeout_s: float) -> bool:
        """Whether a member died; a lost node is noticed after some seconds.

        Args:
            timeout_s: Time to wait for the news.
        """
        import ray
        from ray.exceptions import RayActorError, RayError

        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ended, running = ray.wait(self._calls, num_returns=len(self._calls), timeout=_POLL_S)
            for call in ended:
                try:
                    ray.get(call)
                except RayActorError:
                    return True
                except RayError:  # an error of the function, such as that its peer is gone
                    continue
            if not running:
                return False
        return False

    def close(self) -> None:
        """End all members."""
        import ray

        for member in self._members:
            ray.kill(member)


@contextmanager
def open_ray_group(config: EngineConfig, n_members: int, *, fewer: bool) -> Iterator[RayGroup]:
    """Context manager of a group; its members, and a private cluster, end after the block.

    Args:
        config: Settings of the engine.
        n_members: Number of members.
        fewer: Whether a smaller group will do, where the cluster has lost nodes.

    Raises:
        ConfigError: Ray is not installed, or the cluster has too few processors.
        EngineError: The cluster does not respond, or a member did not start.
    """
    require_ray()
    with ray_connection(config):
        n_possible = _n_possible(config)
        if n_possible < (1 if fewer else n_members):
            raise ConfigError(
                "The cluster has too few processors for all processes at once",
                received=f"room for {n_possible} workers, {n_members} beside this process needed",
                way_out="Add nodes, or lower training.n_processes or engine.task_cpus",
            )
        group = RayGroup(config, min(n_members, n_possible), fewer=fewer)
        try:
            yield group
        finally:
            group.close()


def _n_possible(config: EngineConfig) -> int:
    """Members for whom the nodes have processors."""
    import ray

    n_cpus = ray.cluster_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
    return int(n_cpus / config.task_cpus)


class _GroupMember:
    """Actor of one member."""

    def wait_until_ready(self) -> None:
        """Return as soon as the process runs."""

    def call(self, function: Callable[..., None], payload: Any, rank: Any) -> None:
        """Call the function with the address of this node."""
        import ray

        address = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        function(payload, rank, address)
