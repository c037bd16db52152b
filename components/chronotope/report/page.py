"""Training report: one self-contained HTML file, readable offline."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from chronotope.contracts.errors import StoreError
from chronotope.contracts.escaping import html_text
from chronotope.report import sections
from chronotope.report.augmentation_section import augmentation_section
from chronotope.report.formatting import format_instant
from chronotope.report.item_context_section import item_context_section
from chronotope.report.item_space_section import item_space_section
from chronotope.report.item_text_section import item_text_section
from chronotope.report.next_basket_section import next_basket_section
from chronotope.report.report_data import ReportData
from chronotope.report.responsibility.partial_dependence_section import partial_dependence_section
from chronotope.report.style import CSS
from chronotope.report.trust_section import trust_section
from chronotope.runtime.durable_files import write_text

_SECTIONS = (
    sections.gate_section,
    sections.model_section,
    next_basket_section,
    sections.fold_section,
    augmentation_section,
    sections.slice_section,
    trust_section,
    sections.context_column_section,
    item_context_section,
    sections.content_section,
    partial_dependence_section,
    sections.time_section,
    sections.place_section,
    sections.compression_section,
    sections.ingestion_section,
    item_text_section,
    item_space_section,
    sections.step_section,
    sections.card_section,
)


def render_report(report_data: ReportData) -> str:
    """Render the page; parts that are absent are left out.

    Args:
        report_data: What the run measured. Every text in it is escaped.

    Returns:
        A complete HTML document with inline style and drawings, and no script.
    """
    subtitle_facts = (
        f"Data version {report_data.data_version}",
        report_data.protocol,
        f"seed {report_data.seed}",
    )
    body_html = "".join(section(report_data) for section in _SECTIONS)
    return html_document(
        f"Chronotope: {report_data.dataset}", subtitle_facts, report_data.generated_at, body_html
    )


def html_document(
    page_title: str, subtitle_facts: Sequence[str], generated_at: datetime | None, body_html: str
) -> str:
    """Complete HTML document around the sections.

    Args:
        page_title: Its heading; escaped here.
        subtitle_facts: Texts below the heading; escaped here.
        generated_at: Time of creation, if the page shows it.
        body_html: Sections as HTML, already escaped.
    """
    time_html = (
        [] if generated_at is None else [f"<time>{html_text(format_instant(generated_at))}</time>"]
    )
    subtitle_html = " \N{MIDDLE DOT} ".join([*map(html_text, subtitle_facts), *time_html])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html_text(page_title)}</title><style>{CSS}</style></head><body>"
        f'<header><h1>{html_text(page_title)}</h1><p class="soft">'
        f"{subtitle_html}</p></header>"
        f"<main>{body_html}</main></body></html>\n"
    )


def write_report(report_data: ReportData, page_path: Path) -> Path:
    """Render the report and write it atomically.

    Args:
        report_data: What the run measured.
        page_path: The file to write; missing folders are made.

    Returns:
        The path written.

    Raises:
        StoreError: The file cannot be written.
    """
    return write_page(render_report(report_data), page_path)


def write_page(page_html: str, page_path: Path) -> Path:
    """Write a page atomically: readers see the old file or the new one.

    Args:
        page_html: The page.
        page_path: The file to write; missing folders are made.

    Returns:
        The path written.

    Raises:
        StoreError: The file cannot be written.
    """
    try:
        write_text(page_path, page_html)
    except OSError as error:
        raise StoreError(
            "The report cannot be written",
            received=f"{page_path}: {error}",
            way_out="Choose a folder that can be written and has room",
        ) from error
    return page_path
