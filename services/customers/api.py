"""The HTTP API of customers: tills register and look up, operators search, change and erase."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response

from chassis.actor import Who
from chassis.http import Tx, service_router
from chassis.pagination import Page, Paging
from chassis.transaction import Transaction
from contracts.fields import Channel
from services.customers import (
    audit,
    blocking,
    cards,
    consents,
    customer,
    erasure,
    merging,
    profile,
    registration,
    search,
)
from services.customers.audit import AuditLine
from services.customers.consents import ConsentLine
from services.customers.documents import (
    BlockForm,
    CardDocument,
    ConsentDocument,
    CustomerDocument,
    MergeForm,
    ProfileForm,
    RegistrationForm,
    WantedCardForm,
)

router = service_router(prefix="/customers", tags=["customers"])

Number = Annotated[str, Path(pattern=r"^[0-9]{4,20}$", description="Card number.")]


@router.post("", status_code=201, responses={200: {"model": CustomerDocument, "description": "They were there."}})
async def register_customer(tx: Tx, form: RegistrationForm, who: Who, response: Response) -> CustomerDocument:
    """Register a customer, or get the one who has this phone: 201 for a new one, 200 for one who was there."""
    registered, is_new = await registration.register(tx, form.registration(), who)
    response.status_code = 201 if is_new else 200
    return CustomerDocument.of(registered)


@router.get("")
async def list_customers(
    tx: Tx,
    paging: Paging,
    phone: Annotated[str | None, Query(max_length=32, description="The whole phone; the plus may be left out.")] = None,
    card: Annotated[str | None, Query(pattern=r"^[0-9]{4,20}$", description="The whole card number.")] = None,
    search_for: Annotated[
        str | None,
        Query(
            alias="search",
            min_length=2,
            max_length=100,
            description="Fragments of names, phone or e-mail, all of which must fit.",
        ),
    ] = None,
) -> Page[CustomerDocument]:
    """Look customers up by phone or card, or search them; the newest first."""
    found, following = await search.find(tx, paging, phone=phone, card=card, search=search_for)
    return Page(items=[CustomerDocument.of(each) for each in found], next=following)


@router.get("/{customer_id}")
async def get_customer(tx: Tx, customer_id: UUID) -> CustomerDocument:
    """One customer; a record that was merged into another is shown as it is kept, with `merged_into`."""
    return CustomerDocument.of(await customer.read_one(tx, customer_id))


@router.patch("/{customer_id}")
async def change_customer(tx: Tx, customer_id: UUID, form: ProfileForm, who: Who) -> CustomerDocument:
    """Change the fields that are sent; null empties a field that may be empty."""
    return CustomerDocument.of(await profile.change(tx, customer_id, form.named(), who))


@router.delete("/{customer_id}", status_code=204)
async def erase_customer(tx: Tx, customer_id: UUID, who: Who) -> None:
    """Erase the person: their data leaves at once, here and in every service; there is no way back."""
    await erasure.erase(tx, customer_id, who)


@router.post("/{customer_id}/block")
async def block_customer(tx: Tx, customer_id: UUID, form: BlockForm, who: Who) -> CustomerDocument:
    """The customer neither earns nor spends points from now on; what they have stays theirs."""
    return CustomerDocument.of(await blocking.block(tx, customer_id, form.reason, who))


@router.post("/{customer_id}/unblock")
async def unblock_customer(tx: Tx, customer_id: UUID, who: Who) -> CustomerDocument:
    """The customer earns and spends points again."""
    return CustomerDocument.of(await blocking.unblock(tx, customer_id, who))


@router.post("/{customer_id}/merges", status_code=201, responses={200: {"model": CustomerDocument}})
async def merge_customers(tx: Tx, customer_id: UUID, form: MergeForm, who: Who, response: Response) -> CustomerDocument:
    """The other record is the same person: it is part of this one from now on; 200 where it is already."""
    survivor, is_new = await merging.merge(tx, customer_id, form.merged_id, who)
    response.status_code = 201 if is_new else 200
    return CustomerDocument.of(survivor)


@router.post("/{customer_id}/merges/{merged_id}/undo")
async def undo_merge(tx: Tx, customer_id: UUID, merged_id: UUID, who: Who) -> CustomerDocument:
    """The two are two people again, each with what they had; gives the one who is left."""
    return CustomerDocument.of(await merging.unmerge(tx, customer_id, merged_id, who))


@router.post("/{customer_id}/cards", status_code=201, responses={200: {"model": CardDocument}})
async def give_card(tx: Tx, customer_id: UUID, form: WantedCardForm, who: Who, response: Response) -> CardDocument:
    """Give the customer one more card: 201 for a new one, 200 for one that they have already."""
    card, is_new = await cards.give(tx, customer_id, form.card_number, who)
    response.status_code = 201 if is_new else 200
    return CardDocument.model_validate(card)


@router.post("/{customer_id}/cards/{number}/block")
async def block_card(tx: Tx, customer_id: UUID, number: Number, who: Who) -> CardDocument:
    """The card may not be used from now on."""
    return CardDocument.model_validate(await cards.block(tx, customer_id, number, who))


@router.post("/{customer_id}/cards/{number}/unblock")
async def unblock_card(tx: Tx, customer_id: UUID, number: Number, who: Who) -> CardDocument:
    """The card may be used again."""
    return CardDocument.model_validate(await cards.unblock(tx, customer_id, number, who))


@router.post("/{customer_id}/cards/{number}/replace", status_code=201)
async def replace_card(tx: Tx, customer_id: UUID, number: Number, form: WantedCardForm, who: Who) -> CardDocument:
    """Another card takes the place of one that is lost or worn out, which is blocked for good; gives the new one."""
    return CardDocument.model_validate(await cards.replace(tx, customer_id, number, form.card_number, who))


@router.get("/{customer_id}/consents")
async def list_consents(tx: Tx, customer_id: UUID, paging: Paging) -> Page[ConsentLine]:
    """Every consent given and withdrawn, the newest first; they outlive an erasure."""
    await _refuse_unknown(tx, customer_id)
    return await consents.history(tx, customer_id, paging)


@router.put("/{customer_id}/consents/{channel}")
async def give_consent(tx: Tx, customer_id: UUID, channel: Channel, who: Who) -> ConsentDocument:
    """The customer allows advertising on the channel; a consent that was given before keeps its moment.

    Not by the id of a record that was merged into another.
    """
    return ConsentDocument.model_validate(await consents.give(tx, customer_id, channel, who))


@router.delete("/{customer_id}/consents/{channel}", status_code=204)
async def withdraw_consent(tx: Tx, customer_id: UUID, channel: Channel, who: Who) -> None:
    """The customer no longer allows advertising on the channel, by none of the records that are this person."""
    await consents.withdraw(tx, customer_id, channel, who)


@router.get("/{customer_id}/audit")
async def list_changes(tx: Tx, customer_id: UUID, paging: Paging) -> Page[AuditLine]:
    """Who did what to the customer's record, the newest first; it outlives an erasure."""
    await _refuse_unknown(tx, customer_id)
    return await audit.trail(tx, customer_id, paging)


async def _refuse_unknown(tx: Transaction, customer_id: UUID) -> None:
    if not await customer.read(tx, [customer_id]):
        raise customer.not_found()
