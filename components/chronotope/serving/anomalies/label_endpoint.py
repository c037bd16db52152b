"""Endpoint of labels: outcomes of events, durable, shared by all workers."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from fastapi import Body, FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chronotope.audit import AuditTrail
from chronotope.lake.event_labels import KEY_PREFIX, EventLabel, EventLabelLog
from chronotope.serving.api.requests import EventIdText
from chronotope.serving.executor import BoundedExecutor

MAX_LABELS = 1_000
"""Labels of one request."""


class PostedLabel(BaseModel):
    """Outcome of one event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: EventIdText | None = Field(None, description="Id of the event in the lake.")
    key: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="Key with which the event was posted, instead of its id."
    )
    label: Literal["genuine", "fraud"] = Field(
        description="fraud: the event is not its user's; genuine: it is."
    )

    @model_validator(mode="after")
    def _check_names_one(self) -> Self:
        if (self.event_id is None) == (self.key is None):
            raise ValueError("give either event_id or key")
        return self

    @property
    def event_label(self) -> EventLabel:
        """Record of the log."""
        name = self.event_id if self.key is None else f"{KEY_PREFIX}{self.key}"
        return EventLabel(name or "", self.label == "fraud")


class LabelReceipt(BaseModel):
    """Counts of a request; the labels are on disk."""

    model_config = ConfigDict(frozen=True)

    n_received: int = Field(description="Labels of the request.")
    n_new: int = Field(description="Labels that said something new of their event.")


PostedLabels = (
    PostedLabel | Annotated[list[PostedLabel], Field(min_length=1, max_length=MAX_LABELS)]
)


def add_label_endpoint(
    app: FastAPI,
    label_log: EventLabelLog,
    executor: BoundedExecutor,
    audit_trail: AuditTrail,
    dataset: str,
    on_stored: Callable[[], None] = lambda: None,
) -> None:
    """Add ``POST /labels`` to an application.

    Args:
        app: The application.
        label_log: Log of labels.
        executor: Threads that write.
        audit_trail: Where the number of new labels is recorded.
        dataset: Name of the dataset.
        on_stored: Called when labels said something new.
    """

    def store_labels(labels: Sequence[PostedLabel]) -> LabelReceipt:
        n_new = label_log.append([label.event_label for label in labels])
        if n_new:
            n_fraud = sum(label.event_label.is_anomalous for label in labels)
            counts = {"n_received": len(labels), "n_new": n_new, "n_fraud": n_fraud}
            audit_trail.append("label", dataset, counts)
            on_stored()
        return LabelReceipt(n_received=len(labels), n_new=n_new)

    @app.post("/labels", response_model=LabelReceipt)
    async def post_labels(
        labels: Annotated[PostedLabels, Body(description="A label or a list of labels.")],
    ) -> Response:
        """Store outcomes of events; after status 200 each is on disk."""
        label_list = labels if isinstance(labels, list) else [labels]
        receipt = await executor.run(store_labels, label_list)
        return Response(receipt.model_dump_json(), media_type="application/json")
