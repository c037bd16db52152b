"""Messages of an exchange folder: the counterpart of ``chronotope.federated.exchange``.

A message is a safetensors file: named arrays, and texts in its metadata. Files appear whole, by
renaming. Who takes a request deletes it; who reads an answer deletes it.
"""

import time
from pathlib import Path
from secrets import token_hex

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

POLL_S = 0.05
AVERAGED = "averaged/"  # prefix of the arrays that a round trains
COUNTS = "counts"  # array of the answer to a count

Texts = dict[str, str]
Arrays = dict[str, np.ndarray]


class ExchangeFolder:
    """One folder of messages."""

    def __init__(self, folder: str) -> None:
        """Create what is missing, for the owner only."""
        if not folder or not Path(folder).is_absolute():
            raise ValueError(f"exchange has to be an absolute path. Received: {folder!r}")
        self._requests, self._answers = Path(folder, "requests"), Path(folder, "answers")
        for path in (Path(folder), self._requests, self._answers):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ask(self, texts: Texts, arrays: Arrays, timeout_s: float) -> tuple[Texts, Arrays]:
        """Answer of the Chronotope process that serves the folder."""
        name = f"{time.time_ns():020d}-{token_hex(8)}.safetensors"
        _write(self._requests / name, texts, arrays)
        deadline_s = time.monotonic() + timeout_s
        while not (self._answers / name).exists():
            if time.monotonic() > deadline_s:
                (self._requests / name).unlink(missing_ok=True)
                raise TimeoutError(f"no answer in {self._answers} after {timeout_s:g} seconds")
            time.sleep(POLL_S)
        return _take(self._answers / name)

    def next_request(self) -> tuple[str, Texts, Arrays]:
        """Wait for a request; its name, texts and arrays."""
        while not (paths := sorted(self._requests.glob("*.safetensors"))):
            time.sleep(POLL_S)
        return paths[0].name, *_take(paths[0])

    def answer(self, name: str, texts: Texts, arrays: Arrays) -> None:
        """Answer a request."""
        _write(self._answers / name, texts, arrays)


def _write(path: Path, texts: Texts, arrays: Arrays) -> None:
    draft = path.with_suffix(".draft")
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, draft, texts)
    draft.replace(path)


def _take(path: Path) -> tuple[Texts, Arrays]:
    with safe_open(path, framework="numpy") as file:
        texts = dict(file.metadata() or {})
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path.unlink()
    return texts, arrays
