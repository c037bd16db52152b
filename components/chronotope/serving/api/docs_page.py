"""The page at ``/docs``: every address in one self-contained page without scripts."""

import base64
import hashlib
from typing import Any

from chronotope.contracts.escaping import html_text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
code { background: #8882; padding: .1em .3em } td, th { text-align: left; padding: .2em 1em .2em 0 }
"""


def content_policy() -> str:
    """Nothing but the page's own style."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"


def directory_page(document: dict[str, Any]) -> str:
    """A page of an OpenAPI document.

    Args:
        document: As at ``/openapi.json``, where all details are.
    """
    title, summary = (html_text(document["info"].get(n, "")) for n in ("title", "summary"))
    parts = [
        _operation(method, path, told, document)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{summary} All details are in "
        f'<a href="/openapi.json">openapi.json</a>.</p>{"".join(parts)}</html>'
    )


def _operation(method: str, path: str, told: dict[str, Any], document: dict[str, Any]) -> str:
    rows = [(p["name"], p.get("description", "")) for p in told.get("parameters", ())]
    body = told.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
    schema = document.get("components", {}).get("schemas", {}).get(name, {})
    rows += [(key, of.get("description", "")) for key, of in schema.get("properties", {}).items()]
    table = "".join(f"<tr><th><code>{html_text(k)}</code><td>{html_text(d)}" for k, d in rows)
    heading = f"<h2><code>{method.upper()} {html_text(path)}</code></h2>"
    return f"{heading}<p>{html_text(told.get('description', ''))}</p><table>{table}</table>"
