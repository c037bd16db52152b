"""Freed memory is used again instead of being returned and asked for."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from chronotope.training.allocator import reuse_freed_memory

if sys.argv[1] == "reuse":
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


def page_faults(mode: str) -> int:
    command = [sys.executable, "-c", PROGRAM, mode]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return int(completed.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_arrays_of_a_step_cause_few_page_faults() -> None:
    assert page_faults("reuse") * 4 < page_faults("default")
