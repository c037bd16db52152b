"""Flow ``forget-users``: erase the users of a file from every store."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from chronotope.contracts.escaping import markdown_text
from chronotope.erasure import Certificate
from chronotope.erasure import forget_users as erase_users
from chronotope.registry.champion import require_dataset
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.scoring.users_file import read_users_file


@flow(name="forget-users", result_serializer="json")
def forget_users(dataset: str, users_file: AllowedPath, root: AllowedPath = Path()) -> Certificate:
    """Erase users: their rows in all versions of the lake, logs, and files made from them.

    Prefect stores the parameters of a run, so the ids stand in a file, which is removed at the
    end. A run that was killed is started again with the same file.

    Args:
        dataset: Name of the dataset.
        users_file: Text file with one id a line.
        root: Project root.
    """
    require_dataset(root, dataset)
    certificate = erase_users(root, dataset, read_users_file(users_file).user_ids)
    users_file.unlink()
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
