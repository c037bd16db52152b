"""Endpoint of consent: a user opts out of being logged and learned from, or in again."""

from typing import Annotated

from fastapi import Body, FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

from chronotope.audit import AuditTrail
from chronotope.lake import Lake
from chronotope.lake.privacy import add_to_user_list, remove_from_user_list
from chronotope.lake.table_schemas import OPTED_OUT_USERS
from chronotope.serving.api.requests import EventIdText
from chronotope.serving.executor import BoundedExecutor
from chronotope.serving.state.served_users import ServedUsers


class ConsentChoice(BaseModel):
    """Choice of one user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: EventIdText = Field(description="User id as in the log.")
    opted_out: bool = Field(
        description="true: log nothing, learn nothing, recommend what is popular; false: as before."
    )


class ConsentReceipt(BaseModel):
    """Result of a choice; it is in the lake."""

    model_config = ConfigDict(frozen=True)

    opted_out: bool = Field(description="Whether the user has opted out.")
    is_changed: bool = Field(description="Whether that is new.")


def add_consent_endpoint(
    app: FastAPI,
    lake: Lake,
    served_users: ServedUsers,
    executor: BoundedExecutor,
    audit_trail: AuditTrail,
    dataset: str,
) -> None:
    """Add ``POST /consent`` to an application.

    Args:
        app: The application.
        lake: Lake with the list.
        served_users: Follows the list.
        executor: Threads that write.
        audit_trail: Where changes are recorded, without ids.
        dataset: Name of the dataset.
    """

    def change(choice: ConsentChoice) -> ConsentReceipt:
        served_users.refresh()
        stored_id = served_users.users.stored_id(choice.user_id)
        is_changed = served_users.users.is_opted_out(stored_id) is not choice.opted_out
        if is_changed:
            change_list = add_to_user_list if choice.opted_out else remove_from_user_list
            change_list(lake, OPTED_OUT_USERS, [stored_id])
            action = "opt out" if choice.opted_out else "opt in"
            audit_trail.append(action, dataset, {"n_users": 1})
            served_users.refresh()
        return ConsentReceipt(opted_out=choice.opted_out, is_changed=is_changed)

    @app.post("/consent", response_model=ConsentReceipt)
    async def post_consent(
        choice: Annotated[ConsentChoice, Body(description="Choice of one user.")],
    ) -> Response:
        """Store the choice of a user; other workers follow at their next poll."""
        receipt = await executor.run(change, choice)
        return Response(receipt.model_dump_json(), media_type="application/json")
