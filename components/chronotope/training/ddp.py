"""Several processes share every batch (Lightning DDP over gloo), as if they were one.

This process is rank 0: it alone writes checkpoints, reports and shows progress. Helpers are
spawned, so that threads of whoever called, a flow's server or a database's, do no harm.
All make the same batches from the same seed, and each takes its part; gradients are
averaged with the weight of the rows, so a step is that of one process up to rounding.
Dropout alone differs, since each process draws its own.
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
_PATIENCE: Final = timedelta(minutes=10)
"""How long one waits for another that lives; one that is lost is noticed at once."""

_POLL_S: Final = 0.2
_GRACE_S: Final = 30.0


def run_ddp(job: TrainingJob, n_processes: int, *, progress: bool = False) -> Path:
    """Train with helpers; returns the best checkpoint.

    Args:
        job: What is trained.
        n_processes: How many take part, this one included.
        progress: Show a progress bar.

    Raises:
        ChronotopeError: A helper was lost.
    """
    ranks = _Ranks(0, n_processes, _free_port())
    with _helpers(job, ranks) as helpers, _fewer_threads(n_processes):
        try:
            return _take_part(job, ranks, progress=progress)
        except RuntimeError as error:
            for helper in helpers:
                helper.join(_POLL_S)  # what broke the connection may still be ending
            _refuse_lost(helpers, error)
            raise
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def _take_part(job: TrainingJob, ranks: "_Ranks", *, progress: bool = False) -> Path:
    parts = {name: getattr(job, name).shared(ranks.rank, ranks.n) for name in ("train", "valid")}
    strategy = DDPStrategy(
        cluster_environment=ranks,
        process_group_backend="gloo",
        timeout=_PATIENCE,
        find_unused_parameters=True,  # which heads learn depends on the dataset
    )
    return replace(job, **parts).run(
        progress=progress, devices=ranks.n, strategy=strategy, use_distributed_sampler=False
    )


def _help(written: bytes, ranks: "_Ranks", ready: Event) -> None:
    """What a helper does, in a process of its own."""
    job: TrainingJob = pickle.loads(written)  # noqa: S301 - by the process that started this one
    with _fewer_threads(ranks.n):
        ready.set()
        _take_part(job, ranks)


@contextmanager
def _helpers(job: TrainingJob, ranks: "_Ranks") -> Iterator[list[BaseProcess]]:
    """The other processes, once all are ready; none is left behind."""
    alone = copy(job.module)
    alone.tracker = None  # its connections are this process's own
    written = pickle.dumps(replace(job, module=alone))  # copies: nothing may share memory
    spawn = multiprocessing.get_context("spawn")
    ready = [spawn.Event() for _ in range(1, ranks.n)]
    started = [
        spawn.Process(target=_help, args=(written, _Ranks(rank, ranks.n, ranks.port), is_ready))
        for rank, is_ready in enumerate(ready, start=1)
    ]
    try:
        for process in started:
            process.start()
        for is_ready in ready:
            while not is_ready.wait(_POLL_S):
                _refuse_lost(started, None)
        yield list(started)
        for process in started:
            process.join(_GRACE_S)
    finally:
        for process in started:
            if process.is_alive():
                process.kill()
            if process.pid is not None:
                process.join()


def _refuse_lost(helpers: Sequence[BaseProcess], why: Exception | None) -> None:
    lost = [helper.exitcode for helper in helpers if helper.exitcode]
    if lost:
        raise ChronotopeError(
            "A process that shared the training was lost",
            received=f"exit codes {lost}",
            way_out="Free memory, or lower `n_processes`; started again, the training goes on "
            "after its last whole epoch",
        ) from why


@contextmanager
def _fewer_threads(n_processes: int) -> Iterator[None]:
    """Share the cores, instead of each process taking all."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // n_processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((_HOST, 0))
        return int(sock.getsockname()[1])


class _Ranks(ClusterEnvironment):
    """Who is who, told plainly instead of through environment variables."""

    def __init__(self, rank: int, n: int, port: int) -> None:
        self.rank, self.n, self.port = rank, n, port

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
        return self.n

    def set_world_size(self, size: int) -> None: ...

    def global_rank(self) -> int:
        return self.rank

    def set_global_rank(self, rank: int) -> None: ...

    def local_rank(self) -> int:
        return self.rank

    def node_rank(self) -> int:
        return 0
