"""Hook of the site: links to files outside docs/ become paths, since the site holds no code."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>(?:\.\./)+[^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace links that leave the documentation folder.

    Args:
        markdown: Source of a page.
        page: The page; its path tells how many levels lie above it.
    """
    depth = page.file.src_uri.count("/")

    def replace(match: re.Match[str]) -> str:
        ups = match["path"].count("../")
        if ups <= depth:
            return match[0]
        text, path = match["text"], match["path"].replace("../", "")
        return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"

    return _OUTSIDE.sub(replace, markdown)
