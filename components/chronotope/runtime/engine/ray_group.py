"""Group of simultaneous workers on a Ray cluster: all run, or none of them is of use.

Tasks of an engine are independent; members of a group wait for each other, as processes of a
data-parallel training do. A group that lost a member is not repaired: its owner opens another.
"""

import threading
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

        self._member_class: Any = ray.remote(_GroupMember).options(
            num_cpus=config.task_cpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._members: list[Any] = []
        self._calls: list[Any] = []
        self._start_members(config, n_members, fewer=fewer)
        if len(self._members) < (1 if fewer else n_members):
            self.close()
            raise EngineError(
                "A worker of the group did not start",
                received=f"{len(self._members)} of {n_members} started in {_READY_S:.0f} s",
                way_out="Check `ray status`, and the memory of the nodes",
            )

    def _start_members(self, config: EngineConfig, n_members: int, *, fewer: bool) -> None:
        """Start members until all run; one that is lost meanwhile is replaced by another."""
        import ray
        from ray.exceptions import RayError

        starting: dict[Any, Any] = {}
        deadline = time.monotonic() + _READY_S
        while len(self._members) < n_members and time.monotonic() < deadline:
            if fewer and self._members and _n_possible(config) <= len(self._members):
                break
            while len(self._members) + len(starting) < n_members:
                member = self._member_class.remote()
                starting[member.wait_until_ready.remote()] = member
            ended, _ = ray.wait(list(starting), timeout=_POLL_S)
            for start in ended:
                member = starting.pop(start)
                try:
                    ray.get(start)  # a start on a lost node has ended, too
                except RayError:
                    time.sleep(_POLL_S)
                    continue
                self._members.append(member)
        for member in starting.values():
            ray.kill(member)

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
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            n_running, is_lost = self._poll_calls()
            if is_lost:
                return True
            if not n_running:
                return False
        return False

    @contextmanager
    def closed_on_loss(self) -> Iterator[None]:
        """Context manager that ends all members as soon as one is lost.

        The caller's own connections then break as well, so that it does not wait for a member
        that waits for the lost one.
        """
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(_POLL_S):
                n_running, is_lost = self._poll_calls()
                if is_lost:
                    self.close()
                if is_lost or not n_running:
                    return

        watcher = threading.Thread(target=watch, name="ray-group-watcher", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()

    def _poll_calls(self) -> tuple[int, bool]:
        """Number of calls that run, and whether a member of the others died."""
        import ray
        from ray.exceptions import RayActorError, RayError

        ended, running = ray.wait(self._calls, num_returns=len(self._calls), timeout=_POLL_S)
        is_lost = False
        for call in ended:
            try:
                ray.get(call)
            except RayActorError:
                is_lost = True
            except RayError:  # an error of the function, such as that its peer is gone
                continue
        return len(running), is_lost

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
