"""What no ONNX file could hold is refused before hours are spent on it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from chronotope.compression.export import export_module
from chronotope.contracts.errors import ArtifactError


def test_tables_beyond_two_gigabytes_are_refused(tmp_path: Path) -> None:
    module = nn.Module()
    module.register_buffer("table", torch.empty(2**29, device="meta"))
    with pytest.raises(ArtifactError, match="too large") as caught:
        export_module(module, (), (), (), tmp_path / "model.onnx")
    assert "2.1 GB" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
