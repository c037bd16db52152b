"""A headless Chromium, where there is one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1300,1000",
]


@contextmanager
def chromium(*more_flags: str) -> Iterator[Chrome]:
    """Open it; skip the test where it or its driver is not installed."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if found is None or driver is None:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = ChromeOptions()
    options.binary_location = found
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in [*FLAGS, *more_flags, *(["--no-sandbox"] if os.geteuid() == 0 else [])]:
        options.add_argument(flag)
    opened = Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def wait(browser: Chrome, script: str, seconds: float = 30) -> None:
    """Until an expression of the page is true."""
    WebDriverWait(browser, seconds).until(
        lambda b: b.execute_script(f"return Boolean({script})"), f"never true: {script}"
    )


def texts(browser: Chrome, selector: str) -> list[str]:
    """What elements say, in their order on the page."""
    return [found.text for found in browser.find_elements("css selector", selector)]
