"""Drawings as files: each is a whole document, and none is made of nothing."""

from pathlib import Path
from xml.etree import ElementTree

from chronotope.report.plots import write_plots
from chronotope.report.report_data import ReportData


def test_each_drawing_is_an_image_of_its_own(full: ReportData, tmp_path: Path) -> None:
    files = write_plots(full, tmp_path / "plots")
    names = {path.stem for path in files}
    fronts = {"front_size", "front_latency"}
    assert names == fronts | {"accuracy", "when_calibration", "when_coverage", "map"}
    for path in files:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - we wrote it
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "--strong:" in (root[0].text or "")


def test_nothing_measured_draws_nothing(bare: ReportData, tmp_path: Path) -> None:
    assert write_plots(bare, tmp_path) == []
