"""Data-parallel training (Lightning DDP over gloo): several processes share every batch.

This process is rank 0: only it writes checkpoints, reports and shows progress. Helper
processes are spawned, not forked, because the caller may have threads. All processes build
the same batches from the same seed, and each takes its shard; gradients are averaged with
the number of rows as weights, so a step equals that of one process up to rounding. Only
dropout differs, since each process draws its own.
"""

import multiprocessing
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

from chronotope.contracts.errors import ChronotopeError
from chronotope.training.trainer import TrainingJob

_HOST: Final = "127.0.0.1"
_TIMEOUT: Final = timedelta(minutes=10)
"""Wait for a live process; a lost one is noticed at once."""

_POLL_S: Final = 0.2
_GRACE_S: Final = 30.0


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


def _train_shard(job: TrainingJob, process_rank: "_ProcessRank", *, progress: bool = False) -> Path:
    sharded_batches = {
        batches_name: getattr(job, batches_name).shard(process_rank.rank, process_rank.n_processes)
        for batches_name in ("train_batches", "valid_batches")
    }
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
    module_copy = copy(job.module)
    module_copy.tracker = None  # its connections belong to this process
    pickled_job = pickle.dumps(
        replace(job, module=module_copy)
    )  # a copy: processes must not share memory
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


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((_HOST, 0))
        return int(sock.getsockname()[1])


class _ProcessRank(ClusterEnvironment):
    """Rank, size and address of the process group, without environment variables."""

    def __init__(self, rank: int, n_processes: int, port: int) -> None:
        self.rank, self.n_processes, self.port = rank, n_processes, port

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return _HOST

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
