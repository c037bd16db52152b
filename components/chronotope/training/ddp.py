"""Data-parallel training (Lightning DDP over gloo): several processes share every batch.

Helper processes run on this machine, or on the nodes of a Ray cluster.

This process is rank 0: only it writes checkpoints, reports and shows progress. Helper
processes are spawned, not forked, because the caller may have threads. All processes build
the same batches from the same seed, and each takes its shard; gradients are averaged with
the number of rows as weights, so a step equals that of one process up to rounding. Only
dropout differs, since each process draws its own.
"""

import fcntl
import logging
import multiprocessing
import os
import pickle
import socket
import struct
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from datetime import timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

from chronotope.contracts.errors import ChronotopeError, EngineError
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.engine.ray_group import RayGroup, open_ray_group
from chronotope.training.trainer import TrainingJob

_HOST: Final = "127.0.0.1"
_TIMEOUT: Final = timedelta(minutes=10)
"""Wait for a live process; a lost one is noticed at once."""

_MEETING: Final = timedelta(minutes=2)
"""Wait for processes on other nodes to meet: one may be lost before it is connected."""

_POLL_S: Final = 0.2
_GRACE_S: Final = 30.0
_NOTICE_S: Final = 90.0
"""Time in which a cluster notices that a node is gone."""

_GLOO_INTERFACE: Final = "GLOO_SOCKET_IFNAME"
_SIOCGIFADDR: Final = 0x8915
"""Request of Linux for the address of a network interface."""

_logger = logging.getLogger(__name__)


def run_ddp(job: TrainingJob, n_processes: int, *, progress: bool = False) -> Path:
    """Train with several processes; returns the best checkpoint.

    Args:
        job: The training.
        n_processes: Number of processes, this one included.
        progress: Show a progress bar.

    Raises:
        ChronotopeError: A helper process was lost.
    """
    process_rank = _ProcessRank(0, n_processes, _free_port())
    with _helper_processes(job, process_rank) as helper_processes, _fewer_threads(n_processes):
        try:
            return _train_shard(job, process_rank, progress=progress)
        except RuntimeError as error:
            for helper in helper_processes:
                helper.join(_POLL_S)  # a lost helper may still be exiting
            _raise_if_lost(helper_processes, error)
            raise
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def run_ddp_on_ray(
    job: TrainingJob, n_processes: int, engine: EngineConfig, *, progress: bool = False
) -> Path:
    """Train with helper processes on the nodes of a Ray cluster; returns the best checkpoint.

    This process is rank 0 as in ``run_ddp``. After the loss of a node or a helper the training
    continues after its last complete epoch, with fewer helpers if the cluster became smaller.

    Args:
        job: The training.
        n_processes: Number of processes, this one included.
        engine: Settings of the engine; ``max_retries`` bounds the losses.
        progress: Show a progress bar.

    Raises:
        ConfigError: The cluster has too few processors.
        EngineError: Helpers were lost more often than ``max_retries`` allows.
    """
    pickled_job = _pickled_for_helpers(job)
    attempt_job, n_helpers = job, n_processes - 1
    for n_losses in range(engine.max_retries + 1):
        with open_ray_group(engine, n_helpers, fewer=n_losses > 0) as group:
            checkpoint = attempt_job.resume_from
            payload = (pickled_job, checkpoint.read_bytes() if checkpoint else None)
            try:
                return _run_with_group(attempt_job, group, payload, progress=progress)
            except RuntimeError as error:  # of gloo; an error of our own is no loss
                if not group.has_lost_member(_NOTICE_S):
                    raise
                lost = error
        _logger.warning("A helper of the training was lost; continuing after the last epoch")
        attempt_job = _resumed_job(job, pickled_job)
    raise EngineError(
        "Helpers of the training were lost more often than max_retries allows",
        received=lost,
        way_out="Check the memory of the nodes; run it again: the training resumes after its last "
        "complete epoch",
    ) from lost


def _run_with_group(
    job: TrainingJob, group: RayGroup, payload: tuple[bytes, bytes | None], *, progress: bool
) -> Path:
    """Train as rank 0 beside the members of a group."""
    host, n_processes = group.driver_address, group.n_members + 1
    port = _free_port(host)
    ranks = [
        _ProcessRank(rank, n_processes, port, host, _MEETING) for rank in range(1, n_processes)
    ]
    group.start(_run_remote_helper, payload, ranks)
    with _gloo_interface(host), group.closed_on_loss():
        try:
            best_path = _train_shard(
                job,
                _ProcessRank(0, n_processes, port, host, _MEETING),
                progress=progress,
            )
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
    group.wait(_GRACE_S)
    return best_path


def _run_remote_helper(
    payload: tuple[bytes, bytes | None], process_rank: "_ProcessRank", node_address: str
) -> None:
    """Entry point of a helper on a node, which need not reach the folder of the checkpoints."""
    pickled_job, checkpoint = payload
    job: TrainingJob = pickle.loads(pickled_job)  # noqa: S301 - pickled by the driver
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, _gloo_interface(node_address):
        resume_from = None
        if checkpoint is not None:
            resume_from = Path(scratch) / "resumed.ckpt"
            resume_from.write_bytes(checkpoint)
        shard_job = replace(job, checkpoint_dir=Path(scratch), resume_from=resume_from)
        try:
            _train_shard(shard_job, process_rank)
        except Exception:
            # other processes wait for this one until its connections are closed
            traceback.print_exc()
            os._exit(1)


def _resumed_job(job: TrainingJob, pickled_job: bytes) -> TrainingJob:
    """The training after its last complete epoch, or from its first values."""
    initial_job: TrainingJob = pickle.loads(pickled_job)  # noqa: S301 - of this process
    initial_job.module.tracker = job.module.tracker
    last_checkpoint = job.checkpoint_dir / "last.ckpt"
    return replace(
        job,
        module=initial_job.module,
        resume_from=last_checkpoint if last_checkpoint.exists() else job.resume_from,
    )


def _train_shard(job: TrainingJob, process_rank: "_ProcessRank", *, progress: bool = False) -> Path:
    sharded_batches = {
        batches_name: getattr(job, batches_name).shard(process_rank.rank, process_rank.n_processes)
        for batches_name in ("train_batches", "valid_batches")
    }
    process_rank.meet()
    strategy = DDPStrategy(
        cluster_environment=process_rank,
        process_group_backend="gloo",
        timeout=_TIMEOUT,
        find_unused_parameters=True,  # the trained heads depend on the dataset
    )
    return replace(job, **sharded_batches).run(
        progress=progress,
        devices=process_rank.n_processes,
        strategy=strategy,
        use_distributed_sampler=False,
    )


def _run_helper(pickled_job: bytes, process_rank: "_ProcessRank", is_ready: Event) -> None:
    """Entry point of a helper process."""
    job: TrainingJob = pickle.loads(pickled_job)  # noqa: S301 - pickled_job by the parent process
    with _fewer_threads(process_rank.n_processes):
        is_ready.set()
        _train_shard(job, process_rank)


@contextmanager
def _helper_processes(
    job: TrainingJob, process_rank: "_ProcessRank"
) -> Iterator[list[BaseProcess]]:
    """Helper processes, once all are ready; all are ended on exit."""
    pickled_job = _pickled_for_helpers(job)
    spawn_context = multiprocessing.get_context("spawn")
    ready_events = [spawn_context.Event() for _ in range(1, process_rank.n_processes)]
    processes = [
        spawn_context.Process(
            target=_run_helper,
            args=(
                pickled_job,
                _ProcessRank(rank, process_rank.n_processes, process_rank.port),
                is_ready,
            ),
        )
        for rank, is_ready in enumerate(ready_events, start=1)
    ]
    try:
        for process in processes:
            process.start()
        for is_ready in ready_events:
            while not is_ready.wait(_POLL_S):
                _raise_if_lost(processes, None)
        yield list(processes)
        for process in processes:
            process.join(_GRACE_S)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
            if process.pid is not None:
                process.join()


def _pickled_for_helpers(job: TrainingJob) -> bytes:
    """The training without what helpers do not need: the tracker, and users without a target."""
    module_copy = copy(job.module)
    module_copy.tracker = None  # its connections belong to this process
    return pickle.dumps(
        replace(
            job,
            module=module_copy,
            train_batches=job.train_batches.for_helpers(),
            valid_batches=job.valid_batches.for_helpers(),
        )
    )  # a copy: processes must not share memory


def _raise_if_lost(helper_processes: Sequence[BaseProcess], cause: Exception | None) -> None:
    exit_codes = [helper.exitcode for helper in helper_processes if helper.exitcode]
    if exit_codes:
        raise ChronotopeError(
            "A helper process of the training was lost",
            received=f"exit codes {exit_codes}",
            way_out="Free memory, or lower `n_processes`; run it again: the training resumes "
            "after its last complete epoch",
        ) from cause


@contextmanager
def _fewer_threads(n_processes: int) -> Iterator[None]:
    """Divide the threads of torch among the processes."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(max(1, n_threads // n_processes))
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _free_port(host: str = _HOST) -> int:
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


@contextmanager
def _gloo_interface(address: str) -> Iterator[None]:
    """Let gloo listen on the interface of an address, not on that of the host's name."""
    name = _interface_name(address)
    previous = os.environ.get(_GLOO_INTERFACE)
    if name and previous is None:
        os.environ[_GLOO_INTERFACE] = name
    try:
        yield
    finally:
        if previous is None:
            os.environ.pop(_GLOO_INTERFACE, None)


def _interface_name(address: str) -> str | None:
    """Name of the network interface with an IPv4 address; None where it cannot be read."""
    for _, name in socket.if_nameindex():
        request = struct.pack("256s", name[:15].encode())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
            response = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
            if socket.inet_ntoa(response[20:24]) == address:
                return name
    return None


class _ProcessRank(ClusterEnvironment):
    """Rank, size and address of the process group, without environment variables."""

    def __init__(
        self,
        rank: int,
        n_processes: int,
        port: int,
        host: str = _HOST,
        meeting: timedelta = _TIMEOUT,
    ) -> None:
        self.rank, self.n_processes, self.port, self.host = rank, n_processes, port, host
        self.meeting = meeting

    def meet(self) -> None:
        """Connect all processes; Lightning then uses this process group.

        Raises:
            RuntimeError: A process did not come in time.
        """
        store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
            self.host, self.port, self.n_processes, self.rank == 0, timeout=self.meeting
        )
        torch.distributed.init_process_group(
            "gloo", store=store, rank=self.rank, world_size=self.n_processes, timeout=_TIMEOUT
        )

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self.host

    @property
    def main_port(self) -> int:
        return self.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.n_processes

    def set_world_size(self, size: int) -> None: ...

    def global_rank(self) -> int:
        return self.rank

    def set_global_rank(self, rank: int) -> None: ...

    def local_rank(self) -> int:
        return self.rank

    def node_rank(self) -> int:
        return 0
