"""Explicit casts of mixed operands, without running the whole program again.

Before ``torch.onnx.export`` converts a program, it runs all of its nodes to find those that mix
types: with open sizes a fifth of the time of an export. Each node carries its value from the
trace, so that only the few nodes that get a cast have to be run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.fx import Node
from torch.onnx._internal.fx.passes import type_promotion

_Interpreter = type_promotion._TypePromotionInterpreter


class _TracedValues(_Interpreter):
    """Torch's pass, which takes the values of unchanged nodes from the trace."""

    def run_node(self, n: Node) -> Any:
        """Cast the operands of a node where its operator promotes them; return its value."""
        if n.op != "call_function" or "val" not in n.meta:
            return super().run_node(n)
        with self._set_current_node(n):
            if rule := type_promotion.get_type_promotion_rule(n, self.type_promotion_table):
                self._maybe_promote_node(n, rule)
        return n.meta["val"]


@contextmanager
def traced_values() -> Iterator[None]:
    """Let torch's exporter insert casts by the values of the trace, as long as the block runs."""
    type_promotion._TypePromotionInterpreter = _TracedValues  # type: ignore[misc]
    try:
        yield
    finally:
        type_promotion._TypePromotionInterpreter = _Interpreter  # type: ignore[misc]
