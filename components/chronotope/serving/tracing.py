"""OpenTelemetry traces, from a request over HTTP to the run of the graph.

Without ``export_traces`` nothing is recorded. Spans carry no ids of users and no messages of
errors, which may name them.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.types import ASGIApp, Receive, Scope, Send

from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_TRACER: Final = trace.get_tracer("chronotope.serving")
_NO_SPAN: Final[AbstractContextManager[Span]] = nullcontext(trace.INVALID_SPAN)
_SERVER_ERROR = 500
_FLUSH_MS = 2_000  # for a collector that does not answer


def export_traces(dataset: str) -> "TracerProvider":
    """Send all spans of this process to a collector, by OTLP over HTTP.

    The variables ``OTEL_EXPORTER_OTLP_*``, ``OTEL_TRACES_SAMPLER`` and ``OTEL_SERVICE_NAME`` of
    OpenTelemetry hold: by default the collector is at http://127.0.0.1:4318.

    Args:
        dataset: Dataset whose champion is served, an attribute of all spans.

    Raises:
        ConfigError: The exporter is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ConfigError(
            "Traces need an exporter of OpenTelemetry",
            received=str(error),
            way_out="Install it: pip install 'chronotope[tracing]'",
        ) from None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = {
        "service.name": os.environ.get("OTEL_SERVICE_NAME", "chronotope"),
        "service.version": version("chronotope"),
        "chronotope.dataset": dataset,
    }
    provider = TracerProvider(resource=Resource.create(attributes))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def flushing_traces(application: ASGIApp, provider: "TracerProvider") -> ASGIApp:
    """The application, which at its end sends the spans that were not sent yet.

    uvicorn ends the process by the signal that it received, so nothing runs later.

    Args:
        application: The application.
        provider: What ``export_traces`` returned.
    """

    async def flushed(scope: Scope, receive: Receive, send: Send) -> None:
        await application(scope, receive, send)
        if scope["type"] == "lifespan":
            provider.force_flush(_FLUSH_MS)

    return flushed


@contextmanager
def request_span(scope: Scope, route: str) -> Iterator[Span]:
    """Span of a request; a ``traceparent`` header makes it part of the client's trace.

    Args:
        scope: ASGI scope of the request.
        route: Path of the endpoint, without the values of its parameters.
    """
    carrier = {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}
    span_name = f"{scope['method']} {route}"
    attributes = {"http.request.method": scope["method"], "http.route": route}
    with _TRACER.start_as_current_span(
        span_name,
        extract(carrier),
        SpanKind.SERVER,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def set_response_status(span: Span, status_code: int) -> None:
    """Status of a response; one of 500 or above makes the span an error.

    Args:
        span: What ``request_span`` yielded.
        status_code: HTTP status, 0 if no response was begun.
    """
    span.set_attribute("http.response.status_code", status_code)
    if status_code >= _SERVER_ERROR or not status_code:
        span.set_status(StatusCode.ERROR)


def step_span(step_name: str) -> AbstractContextManager[Span]:
    """Span of one step of a response, within that of the request; none where that is not recorded.

    Args:
        step_name: What the step does, such as "run model".
    """
    if not trace.get_current_span().is_recording():  # a microsecond, a span of the API several
        return _NO_SPAN
    return _TRACER.start_as_current_span(
        step_name, record_exception=False, set_status_on_exception=False
    )
