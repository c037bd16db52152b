"""Step ``embed_items``: vectors and summaries of the items of a dataset."""

from chronotope.content.encoder import Modality
from chronotope.content.modality_report import EmbeddingSummary
from chronotope.datasets.spec import DatasetSpec
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace


def embed_catalogue(
    dataset_spec: DatasetSpec, workspace: Workspace, *, refit: bool = False, dry_run: bool = False
) -> EmbeddingSummary:
    """Encode and summarise the new and changed items of a dataset's lake.

    Args:
        dataset_spec: The dataset; ``items.content`` says what to encode.
        workspace: Folders of the project.
        refit: Whether to fit the text encoder of the catalogue again.
        dry_run: Whether to count the items only, as ``n_encoded``, without summaries.

    Raises:
        ConfigError: An encoder does not exist, or the key of the summary endpoint is not set.
        ArtifactError: The weights of an encoder are not the expected ones.
        StoreError: The lake cannot be read or written.
    """
    from chronotope.content.count_changes import count_changes
    from chronotope.content.embed_items import embed_modality  # takes a second to import
    from chronotope.content.summaries.summarise_items import summarise_items

    content = dataset_spec.items.content if dataset_spec.items else None
    item_lake = Lake(workspace.lake(dataset_spec.name))
    reports = [
        (count_changes if dry_run else embed_modality)(
            Modality(name),
            modality_content,
            item_lake,
            data_dir=dataset_spec.data_dir,
            cache_dir=workspace.cache(),
            refit=refit,
        )
        for name, modality_content in (content.modalities if content else {}).items()
    ]
    summary_spec = content.summary if content and not dry_run else None
    summaries = summarise_items(item_lake, summary_spec) if summary_spec else None
    return EmbeddingSummary(
        dataset=dataset_spec.name, modalities=tuple(reports), summaries=summaries
    )
