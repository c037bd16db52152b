"""Certificate of an erasure: what was searched, what was there, what was removed."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


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
