"""Swagger UI at ``/docs``, served from this package's own address without a CDN."""

import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

_ASSET_TYPES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
"""Media types of the files of Swagger UI 5 that the package ``fastapi-offline`` carries."""


def add_docs_page(app: FastAPI) -> None:
    """Add Swagger UI and its assets to an application.

    Args:
        app: The application, with its OpenAPI document at ``/openapi.json``.
    """

    @app.get("/docs", include_in_schema=False)
    async def docs_page() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{app.title} API",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/favicon.png",
            swagger_ui_parameters={"validatorUrl": None},  # it would send the document elsewhere
        )
        page.headers["Content-Security-Policy"] = _content_policy(bytes(page.body).decode())
        return page

    @app.get("/docs/{asset_name}", include_in_schema=False)
    async def docs_asset(asset_name: str) -> Response:
        media_type = _ASSET_TYPES.get(asset_name)
        if media_type is None:
            raise HTTPException(404)
        asset = files("fastapi_offline").joinpath("static", asset_name).read_bytes()
        return Response(asset, media_type=media_type)


def _content_policy(page: str) -> str:
    """Policy that allows the page's own assets and its one inline script, by digest."""
    inline_scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digests = (hashlib.sha256(script.encode()).digest() for script in inline_scripts)
    sources = " ".join(
        f"'sha256-{base64.b64encode(content_digest).decode()}'" for content_digest in digests
    )
    return (
        f"default-src 'none'; script-src 'self' {sources}; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
