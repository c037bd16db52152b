"""Certificate of an erasure: what was searched, what was there, what was removed."""

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.errors import StoreError
from chronotope.runtime.state import (
    document_names,
    read_checked_document,
    write_checked_document,
)
from chronotope.runtime.workspace import Workspace


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreErasure(_Frozen):
    """What one store held of the erased users."""

    store: str = Field(description="The store, relative to the project root")
    n_removed: int = Field(ge=0, description="Rows, records or files that were removed")
    unit: str = Field(description="What is counted: rows, records or files")
    note: str = Field("", description="Why this way")


class Certificate(_Frozen):
    """Result of an erasure. It names no user: ids stand as keyed digests."""

    dataset: str = Field(description="Name of the dataset")
    user_digests: tuple[str, ...] = Field(
        description="HMAC-SHA-256 of each erased id, with the key of the lake's table erased_users"
    )
    started_at: AwareDatetime = Field(description="Start of the erasure")
    finished_at: AwareDatetime = Field(description="End of the erasure")
    stores: tuple[StoreErasure, ...] = Field(description="Every store that was searched")
    models: tuple[str, ...] = Field(
        description="Registered versions trained on data with these users; a new training, "
        "promoted, replaces them"
    )
    n_files_searched: int = Field(
        ge=0, description="Files below the root in which the ids were looked for afterwards"
    )
    path: str = Field(description="File of this certificate")

    @property
    def n_removed(self) -> int:
        """Rows, records and files that were removed in all."""
        return sum(store.n_removed for store in self.stores)


def write_certificate(root: Path, certificate: Certificate) -> None:
    """Store a certificate: a file below the root, or a row that all roots read.

    Args:
        root: Project root.
        certificate: The certificate; its path is relative to the root.

    Raises:
        OSError: The file cannot be written.
        StoreError: The state database cannot be used.
    """
    write_checked_document(root / certificate.path, certificate.model_dump(mode="json"))


def read_certificates(root: Path, dataset: str) -> list[Certificate]:
    """All certificates of a dataset, oldest first, compared with their checksums.

    Args:
        root: Project root.
        dataset: Name of the dataset.

    Raises:
        StoreError: One was changed, or the state database cannot be used.
    """
    folder = Workspace(root).erasures(dataset)
    certificates = []
    for name in document_names(folder, ".json"):
        content = read_checked_document(
            folder / name, subject="The certificate", way_out="Restore it from a copy"
        )
        try:
            certificates.append(Certificate.model_validate(content))
        except ValidationError as error:
            raise StoreError("The certificate is damaged", received=f"{name}: {error}") from error
    return certificates
