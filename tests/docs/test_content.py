"""docs/content.md: its YAML is understood, and its names are those of the code."""

import re
from pathlib import Path
from typing import Any

import yaml

from chronotope.content.encoders.open_encoder import pretrained_names
from chronotope.content.encoders.packaged_weights import EXTRA
from chronotope.content.encoders.tfidf_encoder import NAME
from chronotope.datasets.content_spec import (
    ClassifySpec,
    ContentSpec,
    ImageContent,
    ItemTableSpec,
    SummaryEndpoint,
    SummarySpec,
)

DOC = (Path(__file__).parents[2] / "docs" / "content.md").read_text(encoding="utf-8")


def blocks() -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)]


def test_both_forms_of_the_yaml_are_understood() -> None:
    short, long = blocks()[:2]
    source = {"format": "parquet", "path": "items.parquet"} | short["items"]
    content = ItemTableSpec.model_validate(source).content
    assert content is not None
    assert content.attributes is not None
    assert content.attributes.columns == ("category", "language", "year")
    assert list(content.modalities) == ["text", "image", "attributes"]
    full = ContentSpec.model_validate(long["content"])
    assert list(full.modalities) == ["text", "image", "audio", "attributes"]
    assert full.image == ImageContent(path="{image_path}")  # its bounds are the defaults


def test_labels_and_summaries_of_the_page_are_understood() -> None:
    labels, short, endpoint = blocks()[2:]
    items = ItemTableSpec.model_validate({"format": "csv", "path": "i.csv"} | labels["items"])
    assert items.content is not None
    assert list(items.content.classify) == ["category", "brand"]
    assert ClassifySpec(columns=("title",)) == items.content.classify["category"]
    summary = ContentSpec.model_validate(short["content"]).summary
    assert summary == SummarySpec(columns=("text",))
    full = ContentSpec.model_validate(endpoint["content"]).summary
    assert full is not None
    assert full.endpoint is not None
    defaults = SummaryEndpoint(base_url="http://h/v1", model="m")
    assert (full.endpoint.timeout_s, full.endpoint.max_tokens, full.endpoint.max_items) == (
        defaults.timeout_s,
        defaults.max_tokens,
        defaults.max_items,
    )


def test_every_encoder_and_the_extra_are_named() -> None:
    for name in (NAME, *pretrained_names(), EXTRA):
        assert name in DOC
