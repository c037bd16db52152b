"""docs/content.md: its YAML is understood, and its names are those of the code."""

import re
from pathlib import Path

import yaml

from chronotope.content.encoders.open_encoder import pretrained_names
from chronotope.content.encoders.packaged_weights import EXTRA
from chronotope.content.encoders.tfidf_encoder import NAME
from chronotope.datasets.content_spec import ContentSpec, ImageContent

DOC = (Path(__file__).parents[2] / "docs" / "content.md").read_text(encoding="utf-8")


def test_both_forms_of_the_yaml_are_understood() -> None:
    short, long = (
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    )
    content = ContentSpec.model_validate(short["items"]["content"])
    assert list(content.modalities) == ["text", "image"]
    full = ContentSpec.model_validate(long["content"])
    assert list(full.modalities) == ["text", "image", "audio"]
    assert full.image == ImageContent(path="{image_path}")  # its bounds are the defaults


def test_every_encoder_and_the_extra_are_named() -> None:
    for name in (NAME, *pretrained_names(), EXTRA):
        assert name in DOC
