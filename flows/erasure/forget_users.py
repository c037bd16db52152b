"""Flow ``forget-users``: erase the users of a file from every store."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.escaping import markdown_text
from chronotope.datasets.values.users_file import read_users_file
from chronotope.erasure import Certificate
from chronotope.erasure import forget_users as erase_users
from chronotope.registry.champion import require_dataset
from chronotope.runtime.allowed_paths import AllowedPath
from flows.privacy.secret_keys import provide_lake_keys


class ErasureSettings(BaseModel):
    """Users to erase, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all stores are below it.")
    users_file: AllowedPath = Field(
        Path("data/erasures/users.txt"),
        description="Text file with one id a line; removed when its users are erased.",
    )


@flow(name="forget-users", result_serializer="json")
def forget_users(dataset: str, settings: ErasureSettings) -> Certificate:
    """Erase users: their rows in all versions of the lake, logs, and files made from them.

    Prefect stores the parameters of a run, so the ids stand in a file, which is removed at the
    end. A run that was killed is started again with the same file.

    Args:
        dataset: Name of the dataset.
        settings: The users, and where the installation is.
    """
    require_dataset(settings.root, dataset)
    provide_lake_keys(settings.root, dataset)
    user_ids = read_users_file(settings.users_file).user_ids
    certificate = erase_users(settings.root, dataset, user_ids)
    settings.users_file.unlink()
    create_markdown_artifact(
        certificate_markdown(certificate),
        key=f"erasure-{dataset.replace('_', '-')}",
        description="Certificate of an erasure",
    )
    return certificate


def certificate_markdown(certificate: Certificate) -> str:
    """What was removed from each store, as Markdown.

    Args:
        certificate: Result of the erasure.
    """
    rows = "\n".join(
        f"| {markdown_text(store.store)} | {store.n_removed:,} {store.unit} | {store.note} |"
        for store in certificate.stores
    )
    models = ", ".join(certificate.models) or "none"
    return (
        f"{len(certificate.user_digests):,} users of `{certificate.dataset}` erased; certificate "
        f"`{certificate.path}`. Model versions trained with them: {models}.\n\n"
        f"| Store | Removed | |\n|---|---:|---|\n{rows}"
    )
