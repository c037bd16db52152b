"""Data parallelism over threads: shards of a batch run forward and backward side by side.

PyTorch releases the interpreter lock inside its operations, so threads of one process share
the parameters without copies and without the start-up of further processes. Operations of a
training step are small, which makes shards in threads faster than threads inside each
operation.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

ShardLoss = Callable[[], Tensor]


def sum_of_shards(
    shard_losses: Sequence[ShardLoss], parameters: Sequence[nn.Parameter], pool: ThreadPoolExecutor
) -> Tensor:
    """Sum of the losses of all shards; its gradient is the sum of their gradients, in order.

    Args:
        shard_losses: Each computes the loss of one shard, a scalar that needs a gradient.
        parameters: Parameters to differentiate by.
        pool: Threads that run the shards.
    """
    loss: Tensor = _ShardedLoss.apply(shard_losses, pool, *parameters)  # type: ignore[no-untyped-call]
    return loss


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


def _sum_of_known(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Sum of the gradients that are not None, in order; None if there is none."""
    known = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(known).sum(0) if known else None
