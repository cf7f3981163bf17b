"""What tills that cannot speak Kafka say over HTTP: the outbox publishes it for them on `pos.purchases`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Path, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from chassis.problems import problem_of_status
from chassis.published import PublishedRoute
from chassis.request_transaction import Tx, service_router
from chassis.settings import Settings
from contracts.fields import ReceiptId
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from services.loyalty.terminals import Terminal

PREFIX: Final = "/till"
FROM_PATH_AND_KEY: Final = frozenset({"receipt_id", "store_id", "terminal_id"})
"""Fields of the records that the body does not have."""
R = TypeVar("R", bound=Record)

router = service_router(route_class=PublishedRoute, prefix=PREFIX, tags=["till"])
till_key = HTTPBearer(scheme_name="till", description="The till's own key.", auto_error=False)


async def _till(request: Request, _key: Annotated[object, Security(till_key)]) -> Terminal:
    """The edge has let it in by its key."""
    till: Terminal = request.state.caller
    return till


Till = Annotated[Terminal, Depends(_till)]
"""The till that sends the request, as an endpoint's argument."""
ReceiptPath = Annotated[ReceiptId, Path(description="The purchase's receipt.")]


def _form_of(record: type[Record]) -> type[BaseModel]:
    """The record's own fields, but those that the path and the key give. A misspelt field is refused, not lost."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in record.model_fields.items() if name not in FROM_PATH_AND_KEY
    }
    config = ConfigDict(extra="forbid", json_schema_extra=record.model_config.get("json_schema_extra"))
    return create_model(f"{record.__name__}Form", __config__=config, __doc__=record.__doc__, **fields)


def _made_of(record: type[R]) -> Callable[..., Awaitable[R]]:
    """A dependency: the record that the body, the path and the till's key make together.

    Raises RequestValidationError where its parts do not go together, `Problem` 413 where no reader would take it.
    """
    form = _form_of(record)

    async def make(request: Request, receipt_id: ReceiptPath, till: Till, body: form) -> R:  # type: ignore[valid-type]
        given: dict[str, Any] = body.model_dump()  # type: ignore[attr-defined]
        try:
            made = record.model_validate({**given, "receipt_id": receipt_id, **till._asdict()})
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None
        settings: Settings = request.app.state.settings
        if len(made.value() or b"") > settings.record_max_bytes:
            raise problem_of_status(413)
        return made

    return make


@router.post("/purchases/{receipt_id:path}/complete")
async def complete_purchase(bought: Annotated[PurchaseCompleted, Depends(_made_of(PurchaseCompleted))], tx: Tx) -> None:
    """A receipt was paid. 201 when it is on the bus, 202 when it is safe here and will be."""
    tx.say(bought)


@router.post("/purchases/{receipt_id:path}/return")
async def return_purchase(back: Annotated[PurchaseReturned, Depends(_made_of(PurchaseReturned))], tx: Tx) -> None:
    """Goods of a purchase came back, at this till, wherever they were bought."""
    tx.say(back)


@router.post("/purchases/{receipt_id:path}/cancel")
async def cancel_purchase(gone: Annotated[PurchaseCancelled, Depends(_made_of(PurchaseCancelled))], tx: Tx) -> None:
    """A purchase never took place: it was annulled at this till."""
    tx.say(gone)
