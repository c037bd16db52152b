"""Virtual environment of each library, created when it is first needed."""

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ConfigError

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
ENVIRONMENTS: Final = ("implicit", "recbole", "rectools")
TIME_ENVIRONMENTS: Final = ("easytpp",)
"""Environments of models of the next time (``benchmarks/next_time``)."""
READY: Final = "requirements.txt"
"""Copy of what was installed: an environment with another one is completed."""


def requirements(name: str) -> Path:
    """The pinned requirements of a library's environment."""
    return HERE / f"requirements-{name}.txt"


def interpreter(name: str, folder: Path) -> Path:
    """The Python of a library's environment, created if it is missing.

    Args:
        name: One of ``ENVIRONMENTS`` or ``TIME_ENVIRONMENTS``.
        folder: Folder of the environments.

    Raises:
        ConfigError: pip could not install the library.
    """
    home = folder / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = requirements(name).read_text(encoding="utf-8")
    ready = home / READY
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return python
    if not python.exists():
        venv.create(home, with_pip=True)
    command = [str(python), *["-m", "pip", "install", "--quiet", "-r"], str(requirements(name))]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603
        raise ConfigError(
            f"The environment of {name} could not be made",
            received=home,
            way_out=f"Read pip's message, or install {requirements(name)} there by hand",
        )
    ready.write_text(wanted, encoding="utf-8")
    return python


def environment(threads: int) -> dict[str, str]:
    """Environment variables of a worker: its path and its number of threads."""
    counts = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)
    )
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | counts | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}


def python_of(env: str, folder: Path) -> Path:
    """The Python that runs a worker; Chronotope's models run in this one."""
    is_own = env not in (*ENVIRONMENTS, *TIME_ENVIRONMENTS)
    return Path(sys.executable) if is_own else interpreter(env, folder)
