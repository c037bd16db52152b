"""Freed memory is used again instead of being returned and asked for."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from chronotope.training.allocator import reuse_freed_memory

assert reuse_freed_memory()
torch.set_num_threads(1)
columns = torch.ones(700_000)

def step():
    a, b, c = columns + 1.0, columns * 2.0, columns - 3.0
    return (a * b + c).sum()

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_arrays_of_a_step_cause_few_page_faults() -> None:
    """Twenty steps allocate five arrays of 684 pages each."""
    command = [sys.executable, "-c", PROGRAM]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert int(completed.stdout) < 20 * 684
