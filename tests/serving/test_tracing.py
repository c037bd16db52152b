"""Traces from request to graph, and logs as JSON that name them: right spans, and no user."""

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_trace_id

from chronotope.contracts.errors import ConfigError
from chronotope.serving import tracing
from chronotope.serving.json_logs import JsonFormatter
from tests.inference.hand_made import fill_lake, register_twice
from tests.serving.test_process import Server
from tests.serving.town import LocalClient, Town

USER = "u05"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Spans of this process, kept in memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("tests"))
    return exporter


def parent_name(span: ReadableSpan, all_spans: dict[int, ReadableSpan]) -> str | None:
    return all_spans[span.parent.span_id].name if span.parent else None


def test_a_request_is_traced_down_to_the_model(town: Town, spans: InMemorySpanExporter) -> None:
    with LocalClient(town.app(poll_s=3600, traces=True)) as client:
        body = {"user_id": USER, "request_time": "2020-09-13T18:00:00+00:00"}
        assert client.post("/recommend", json=body).status_code == 200
    finished = spans.get_finished_spans()
    by_id = {span.context.span_id: span for span in finished}
    parents = {span.name: parent_name(span, by_id) for span in finished}
    assert parents["POST /recommend"] is None
    assert parents["recommend"] == "POST /recommend"
    assert {parents[name] for name in ("read history", "run model", "rank items")} == {"recommend"}
    (request_span,) = (span for span in finished if span.parent is None)
    assert request_span.attributes == {
        "http.request.method": "POST",
        "http.route": "/recommend",
        "http.response.status_code": 200,
    }
    assert USER not in "".join(span.to_json() for span in finished)


def test_a_request_continues_the_trace_of_its_client(
    town: Town, spans: InMemorySpanExporter
) -> None:
    with LocalClient(town.app(poll_s=3600, traces=True)) as client:
        client.get("/ready", headers={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"})
        client.get("/ready", headers={"traceparent": "nonsense"})
    continued, own = spans.get_finished_spans()
    assert format_trace_id(continued.context.trace_id) == TRACE_ID
    assert own.parent is None


def test_a_refused_request_is_no_error_and_a_failed_one_names_nobody(
    town: Town, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = town.app(poll_s=3600, traces=True)
    with LocalClient(app) as client:
        assert client.post("/recommend", json={"k": 0}).status_code == 422

        def fail(*_: object) -> None:
            raise RuntimeError(f"no luck for {USER}")

        monkeypatch.setattr(app.state.service.recommend_endpoint, "recommend", fail)
        assert client.post("/recommend", json={"user_id": USER}).status_code == 500
    finished = [span for span in spans.get_finished_spans() if span.kind.name == "SERVER"]
    assert [span.status.status_code for span in finished] == [StatusCode.UNSET, StatusCode.ERROR]
    assert USER not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_nothing_is_recorded_by_default(town: Town, spans: InMemorySpanExporter) -> None:
    with LocalClient(town.app(poll_s=3600)) as client:
        client.post("/recommend", json={"user_id": USER})
    assert not spans.get_finished_spans()


def test_a_missing_exporter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="exporter") as caught:
        tracing.export_traces("city")
    assert "chronotope[tracing]" in str(caught.value)


def test_a_log_line_is_an_object_and_hides_messages_of_errors() -> None:
    logger = logging.getLogger("chronotope.test")
    error = (ValueError, ValueError(USER), None)
    record = logger.makeRecord(
        logger.name, logging.ERROR, __file__, 1, "%d lost\nlines", (3,), error
    )
    (line,) = JsonFormatter().format(record).splitlines()
    written = json.loads(line)
    assert written["message"] == "3 lost\nlines"
    assert (written["level"], written["logger"]) == ("error", "chronotope.test")
    assert written["exception"] == "ValueError"
    assert USER not in line


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP collector on loopback: its address, and what it received."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_real_service_sends_its_traces_and_logs_each_request(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    log_path = tmp_path / "service.log"
    with collector() as (address, received), log_path.open("w") as log_file:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
        words = ("--traces", "--json-logs")
        server = Server(tmp_path, *words, env=environment, stderr=log_file)
        server.post("/recommend", {"user_id": USER, "request_time": "2020-09-13T18:00:00Z"})
        server.kill(signal.SIGTERM)  # what was not sent yet is sent now
    scopes = [
        (resource_spans.resource, scope)
        for request in received
        for resource_spans in request.resource_spans
        for scope in resource_spans.scope_spans
    ]
    resource = {item.key: item.value.string_value for item in scopes[0][0].attributes}
    assert (resource["service.name"], resource["chronotope.dataset"]) == ("chronotope", "city")
    sent = {span.name: span for _, scope in scopes for span in scope.spans}
    assert {
        "POST /recommend",
        "recommend",
        "read history",
        "run model",
        "rank items",
    } <= sent.keys()
    lines = [json.loads(line) for line in log_path.read_text(encoding="utf-8").splitlines()]
    (request_line,) = (line for line in lines if line.get("route") == "/recommend")
    assert (request_line["method"], request_line["status"]) == ("POST", 200)
    assert request_line["trace_id"] == sent["POST /recommend"].trace_id.hex()
    assert USER not in log_path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_collector_that_is_down_delays_nobody(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    server = Server(tmp_path, "--traces", env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    for _ in range(3):
        assert server.post("/recommend", {"user_id": USER})["items"]
    assert server.kill(signal.SIGTERM) == -signal.SIGTERM
