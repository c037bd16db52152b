"""Data parallelism over threads: shards of a batch run forward and backward side by side.

PyTorch releases the interpreter lock inside its operations, so threads of one process share
the parameters without copies and without the start-up of further processes. The operations
of a training step are too small to be divided themselves.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

ShardLoss = Callable[[], Tensor]


class ShardThreads:
    """Threads that compute the losses of shards."""

    def __init__(self, n_threads: int) -> None:
        """Start the threads; each runs its operations by itself."""
        self.n_threads = n_threads
        self._pool = ThreadPoolExecutor(
            n_threads, "training-shard", initializer=torch.set_num_threads, initargs=(1,)
        )

    def sum_losses(
        self, shard_losses: Sequence[ShardLoss], parameters: Iterable[nn.Parameter]
    ) -> Tensor:
        """Sum of the losses; its gradient is the sum of their gradients, in their order.

        Args:
            shard_losses: Each computes the loss of one shard, a scalar.
            parameters: Parameters to differentiate by.
        """
        if not torch.is_grad_enabled():
            return torch.stack(list(self._pool.map(_without_gradient, shard_losses))).sum()
        loss: Tensor = _ShardedLoss.apply(shard_losses, self._pool, *parameters)  # type: ignore[no-untyped-call]
        return loss

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


class _ShardedLoss(torch.autograd.Function):
    """Forward and backward of all shards at once; the backward pass hands the gradients out."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        shard_losses: Sequence[ShardLoss],
        pool: ThreadPoolExecutor,
        *parameters: nn.Parameter,
    ) -> Tensor:
        """Sum of the losses, shape ()."""

        def run_shard(shard_loss: ShardLoss) -> tuple[Tensor, tuple[Tensor | None, ...]]:
            with torch.enable_grad():
                loss = shard_loss()
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            return loss.detach(), gradients

        losses, gradients = zip(*pool.map(run_shard, shard_losses), strict=True)
        ctx.gradients = [_sum_of_known(shards) for shards in zip(*gradients, strict=True)]  # type: ignore[attr-defined]
        return torch.stack(losses).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """Gradients of the parameters."""
        scaled = [known if known is None else known * gradient for known in ctx.gradients]
        return None, None, *scaled


def _without_gradient(shard_loss: ShardLoss) -> Tensor:
    """Loss of a shard; whether gradients are recorded is a state of each thread."""
    with torch.no_grad():
        return shard_loss()


def _sum_of_known(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Sum of the gradients that are not None, in order; None if there is none."""
    known = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(known).sum(0) if known else None
