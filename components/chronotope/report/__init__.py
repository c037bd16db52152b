"""Reports of a run: one self-contained HTML page and the model card."""

from chronotope.report.backtest_page import BacktestData, render_backtest
from chronotope.report.drift_page import render_drift
from chronotope.report.model_card import render_card
from chronotope.report.page import render_report, write_page, write_report
from chronotope.report.plots import write_plots
from chronotope.report.report_data import ReportData

__all__ = [
    "BacktestData",
    "ReportData",
    "render_backtest",
    "render_card",
    "render_drift",
    "render_report",
    "write_page",
    "write_plots",
    "write_report",
]
