"""Swagger UI at ``/docs`` in a real browser, without requests to other hosts."""

import signal
from pathlib import Path

import pytest

from tests.serving.api.test_demo_page import register_town
from tests.serving.browser import chromium, texts, wait
from tests.serving.test_process import Server


@pytest.mark.slow
def test_operations_are_shown_and_can_be_tried_out(tmp_path: Path) -> None:
    with chromium() as browser:
        register_town(tmp_path)
        server = Server(tmp_path)
        origin = f"http://127.0.0.1:{server.port}"
        browser.get(f"{origin}/docs")
        wait(browser, "document.querySelectorAll('.opblock-summary-path').length > 5")
        paths = [path.replace("\u200b", "") for path in texts(browser, ".opblock-summary-path")]
        assert {"/recommend", "/predict", "/explain", "/events"} <= set(paths)
        browser.execute_script(
            "[...document.querySelectorAll('.opblock-get')].find(block =>"
            " block.querySelector('[data-path=\"/health\"]'))"
            ".querySelector('.opblock-summary-control').click()"
        )
        wait(browser, "document.querySelector('.try-out__btn')")
        browser.execute_script("document.querySelector('.try-out__btn').click()")
        wait(browser, "document.querySelector('.execute')")
        browser.execute_script("document.querySelector('.execute').click()")
        wait(browser, "document.querySelector('.live-responses-table .response-col_status')")
        assert texts(browser, ".live-responses-table tr.response td.response-col_status")[
            0
        ].startswith("200")
        requested = browser.execute_script(
            "return performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        assert all(url.startswith((origin, "data:")) for url in requested)
        assert browser.get_log("browser") == []
        server.kill(signal.SIGTERM)
