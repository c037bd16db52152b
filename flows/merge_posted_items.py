"""Tasks that merge the items posted to a service into the items table."""

from dataclasses import asdict

from prefect import task

from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.loading import load_spec
from chronotope.ingestion import ingest_table
from chronotope.ingestion.posted_rows import posted_rows_to_merge, read_posted_items
from chronotope.lake import Lake
from chronotope.pipelines.results import SourceLines, TableCounts
from chronotope.runtime.workspace import Workspace
from chronotope.validation import check_table
from flows.embed_items import EmbedSettings, embed_content, has_content
from flows.ingest_events import TASK, IngestSettings


def merge_posted_items(dataset: str, settings: IngestSettings) -> None:
    """Merge posted items into the items table, and encode them if there were any.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location, reading and validation of the data.
    """
    embed_settings = EmbedSettings(
        root=settings.root, conf_dir=settings.conf_dir, data_dir=settings.data_dir
    )
    posted_counts = write_posted_items(dataset, settings)
    if posted_counts.n_good and has_content(dataset, embed_settings):
        embed_content(dataset, embed_settings)


@task(**TASK)
def write_posted_items(dataset: str, settings: IngestSettings) -> TableCounts:
    """Merge the items that were posted to a service into the items table.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location, reading and validation of the data.

    Returns:
        Row counts of new and changed items.
    """
    dataset_spec = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir)
    lake = Lake(Workspace(settings.root).lake(dataset_spec.name))
    posted = read_posted_items(Workspace(settings.root).posted_items(dataset_spec.name))
    table_report = ingest_table(
        "items",
        posted_rows_to_merge(lake, posted),
        SourceReport(),
        row_check=check_table(settings.suites_dir / "items.json"),
        lake=lake,
        dataset_name=dataset_spec.name,
        run_id="posted-items",
    )
    return TableCounts(**asdict(table_report), lines=SourceLines.from_report(SourceReport()))
