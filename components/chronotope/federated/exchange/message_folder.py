"""Requests and answers of two programs as safetensors files in a folder that both can use.

A message is one file: named arrays, and texts in the metadata of the file. Files appear whole, by
renaming. Who takes a request deletes it; who reads an answer deletes it.

``requests/NAME.safetensors``  from the side that asks, ``answers/NAME.safetensors`` back.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from chronotope.contracts.errors import EngineError, StoreError
from chronotope.runtime.durable_files import replacing
from chronotope.runtime.private_files import private_folder

POLL_S: Final = 0.05

_SUFFIX: Final = ".safetensors"

NamedArrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer.

    Attributes:
        texts: Metadata by key; values are texts, JSON among them.
        arrays: Arrays by name.
        n_bytes: Size of the file; 0 before it is written.
    """

    texts: dict[str, str]
    arrays: NamedArrays = field(default_factory=dict)
    n_bytes: int = 0


class MessageFolder:
    """Folder of messages between two programs.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folder, for its owner only; an existing one keeps its mode."""
        self.folder = private_folder(folder)
        self._requests = private_folder(folder / "requests")
        self._answers = private_folder(folder / "answers")
        self._n_requests = 0

    def clear_requests(self) -> None:
        """Delete requests of a program that was killed."""
        _delete_messages(self._requests)

    def clear_answers(self) -> None:
        """Delete answers that nobody waits for any more."""
        _delete_messages(self._answers)

    def ask(self, message: Message, *, timeout_s: float, answer_s: float) -> Message:
        """Post a request and wait for its answer.

        Args:
            message: The request.
            timeout_s: Time until somebody takes the request.
            answer_s: Time from then until the answer.

        Raises:
            EngineError: Nobody takes the request, or its answer is late.
            StoreError: The answer is damaged.
        """
        name = self._post(message)
        request_path, answer_path = self._requests / name, self._answers / name
        if not _is_reached(lambda: not request_path.exists(), timeout_s):
            request_path.unlink(missing_ok=True)
            raise EngineError(
                "Nobody takes the orders of the federation",
                received=f"{self.folder}, for {timeout_s:g} seconds",
                way_out="Start the program that serves this folder, such as the Flower app, then "
                "start the run again, which continues",
            )
        if not _is_reached(answer_path.exists, answer_s):
            raise EngineError(
                "The answer to an order of the federation is late",
                received=f"{self.folder}, {answer_s:g} seconds after the order was taken",
                way_out="Look at the program that serves this folder, such as the Flower app, then "
                "start the run again, which continues",
            )
        return _taken(answer_path)

    def tell(self, message: Message, *, timeout_s: float) -> None:
        """Post a request that has no answer; it is deleted if nobody takes it.

        Args:
            message: The request.
            timeout_s: Time until somebody takes it.
        """
        request_path = self._requests / self._post(message)
        _is_reached(lambda: not request_path.exists(), timeout_s)
        request_path.unlink(missing_ok=True)

    def take(self) -> tuple[str, Message] | None:
        """Earliest request and the name of its answer; None if there is none.

        Raises:
            StoreError: The request is damaged.
        """
        names = sorted(path.name for path in self._requests.glob(f"*{_SUFFIX}"))
        return None if not names else (names[0], _taken(self._requests / names[0]))

    def answer(self, name: str, message: Message) -> None:
        """Write the answer to a request.

        Args:
            name: Name that ``take`` returned.
            message: The answer.
        """
        _write(self._answers / name, message)

    def _post(self, message: Message) -> str:
        """Write a request; returns the name of its file, and names increase."""
        self._n_requests += 1
        name = f"{self._n_requests:06d}-{token_hex(8)}{_SUFFIX}"
        _write(self._requests / name, message)
        return name


def _delete_messages(folder: Path) -> None:
    for file_path in folder.glob(f"*{_SUFFIX}"):
        file_path.unlink(missing_ok=True)


def _write(file_path: Path, message: Message) -> None:
    contiguous = {name: np.asarray(array, order="C") for name, array in message.arrays.items()}
    with replacing(file_path) as draft_path:
        save_file(contiguous, draft_path, metadata=message.texts)


def _taken(file_path: Path) -> Message:
    """Message of a file, which is deleted."""
    try:
        n_bytes = file_path.stat().st_size
        with safe_open(file_path, framework="numpy") as tensor_file:
            texts = dict(tensor_file.metadata() or {})
            arrays = {name: tensor_file.get_tensor(name) for name in tensor_file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise StoreError(
            "A message of the federation is damaged",
            received=f"{file_path}: {error}",
            way_out="Start the run again, which continues",
        ) from error
    finally:
        with suppress(OSError):
            file_path.unlink()
    return Message(texts, arrays, n_bytes)


def _is_reached(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether a condition holds in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True
