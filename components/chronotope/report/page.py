"""The report of a training: one HTML file that needs no network to be read."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from chronotope.contracts.errors import StoreError
from chronotope.contracts.escaping import html_text
from chronotope.report import sections
from chronotope.report.formatting import format_instant
from chronotope.report.report_data import ReportData
from chronotope.report.style import CSS
from chronotope.runtime.durable_files import write_text

_SECTIONS = (
    sections.gate_section,
    sections.model_section,
    sections.fold_section,
    sections.slice_section,
    sections.context_column_section,
    sections.time_section,
    sections.place_section,
    sections.compression_section,
    sections.ingestion_section,
    sections.step_section,
    sections.card_section,
)


def render_report(data: ReportData) -> str:
    """Render the page; parts that are absent are left out.

    Args:
        data: What the run measured. Every text in it is escaped.

    Returns:
        A complete HTML document with inline style and drawings, and no script.
    """
    facts = (
        f"Data version {data.data_version}",
        data.protocol,
        f"seed {data.seed}",
    )
    body = "".join(section(data) for section in _SECTIONS)
    return html_document(f"Chronotope: {data.dataset}", facts, data.generated_at, body)


def html_document(title: str, facts: Sequence[str], at: datetime | None, body: str) -> str:
    """A whole page around its sections.

    Args:
        title: Its heading; escaped here.
        facts: What stands under the heading; escaped here.
        at: When it was made, if that is to be told.
        body: Sections as HTML, already escaped.
    """
    made = [] if at is None else [f"<time>{html_text(format_instant(at))}</time>"]
    line = " \N{MIDDLE DOT} ".join([*map(html_text, facts), *made])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html_text(title)}</title><style>{CSS}</style></head><body>"
        f'<header><h1>{html_text(title)}</h1><p class="soft">'
        f"{line}</p></header>"
        f"<main>{body}</main></body></html>\n"
    )


def write_report(data: ReportData, path: Path) -> Path:
    """Render the report and write it whole.

    Args:
        data: What the run measured.
        path: The file to write; missing folders are made.

    Returns:
        The path written.

    Raises:
        StoreError: The file cannot be written.
    """
    return write_page(render_report(data), path)


def write_page(html: str, path: Path) -> Path:
    """Write a page so that a reader sees the old file or the new one, never half of one.

    Args:
        html: The page.
        path: The file to write; missing folders are made.

    Returns:
        The path written.

    Raises:
        StoreError: The file cannot be written.
    """
    try:
        write_text(path, html)
    except OSError as error:
        raise StoreError(
            "The report cannot be written",
            received=f"{path}: {error}",
            way_out="Choose a folder that can be written and has room",
        ) from error
    return path
