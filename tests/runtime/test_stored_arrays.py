"""Arrays read back as they were; a changed byte is refused or changes nothing."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.errors import ArtifactError
from chronotope.runtime.stored_arrays import load_arrays, save_arrays
from tests.damage import flips


def test_no_changed_byte_gives_other_arrays(tmp_path: Path) -> None:
    path, refused = tmp_path / "run" / "some.npz", 0
    wanted = {"a": np.arange(100.0), "b": np.array([[True], [False]])}
    save_arrays(path, **wanted)
    for _ in flips(path, 200):
        try:
            found = load_arrays(path)
        except ArtifactError:
            refused += 1
        else:  # a field of the archive that nobody reads
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert refused > 100


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_what_is_no_archive_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"some\.npz.*Delete the folder.*train again"):
        load_arrays(path)
