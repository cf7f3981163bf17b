"""The operators' HTTP API over the tills that speak HTTP: registering, keys, blocking, who did what."""

from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import Path, Response
from pydantic import BaseModel, ConfigDict, Field

from chassis.actor import Who
from chassis.idempotency import NO_STORE
from chassis.pagination import Keyset, Page, Paging
from chassis.request_transaction import Tx, service_router
from contracts.fields import StoreId
from services.loyalty import tables, terminals
from services.loyalty.tables import TerminalChange

router = service_router(prefix="/terminals", tags=["tills"])

IN_ORDER = Keyset([tables.terminals.c.terminal_id])
NEWEST_FIRST = Keyset([tables.terminal_changes.c.id], descending=True)
TerminalPath = Annotated[str, Path(min_length=1, max_length=64, description="The chain's own code of the till.")]


class TerminalForm(BaseModel):
    """Where the till stands."""

    model_config = ConfigDict(extra="forbid")

    store_id: StoreId


class TerminalOut(BaseModel):
    """A till that speaks HTTP. Its key is not here: it is shown once, when it is made."""

    model_config = ConfigDict(from_attributes=True)

    terminal_id: str
    store_id: str
    key_set_at: datetime | None = Field(description="When its key was made; null: it has none yet.")
    key_set_by: str | None = Field(examples=["operator:anna"])
    blocked_at: datetime | None = Field(description="Since when its key opens nothing.")
    blocked_by: str | None = Field(examples=["operator:anna"])
    registered_at: datetime
    registered_by: str = Field(examples=["operator:anna"])


class KeyOut(BaseModel):
    """The till's key, shown this once."""

    terminal_id: str
    key: str = Field(examples=["kopilka_till_gm3domjnga2a_Zx3kqjTt0kV0H1h4m0i1Vd0r0k9o0c1Qn2s3b4v5w6y"])


class TerminalChangeOut(BaseModel):
    """One thing done to a till."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    what: TerminalChange
    store_id: str | None = Field(description="Where it stands from then on, of a till registered or moved.")
    actor: str = Field(examples=["operator:anna"])


@router.put("/{terminal_id:path}", responses={201: {"model": TerminalOut, "description": "It was not known before."}})
async def register_terminal(
    terminal_id: TerminalPath, form: TerminalForm, who: Who, tx: Tx, response: Response
) -> TerminalOut:
    """Register a till, or move it to another store; its key stays what it is."""
    is_new = await terminals.register(tx, terminal_id, form.store_id, who)
    response.status_code = 201 if is_new else 200
    return TerminalOut.model_validate(await terminals.shown(tx, terminal_id))


@router.post("/{terminal_id:path}/key", status_code=201)
async def make_key(terminal_id: TerminalPath, who: Who, tx: Tx, response: Response) -> KeyOut:
    """Give the till a new key, shown this once and kept nowhere; its old one is dead at once."""
    response.headers["Cache-Control"] = NO_STORE
    return KeyOut(terminal_id=terminal_id, key=await terminals.new_key(tx, terminal_id, who))


@router.post("/{terminal_id:path}/block")
async def block_terminal(terminal_id: TerminalPath, who: Who, tx: Tx) -> TerminalOut:
    """The till's key opens nothing from now on."""
    await terminals.block(tx, terminal_id, who)
    return TerminalOut.model_validate(await terminals.shown(tx, terminal_id))


@router.post("/{terminal_id:path}/unblock")
async def unblock_terminal(terminal_id: TerminalPath, who: Who, tx: Tx) -> TerminalOut:
    """The till's key opens again."""
    await terminals.unblock(tx, terminal_id, who)
    return TerminalOut.model_validate(await terminals.shown(tx, terminal_id))


@router.get("")
async def list_terminals(tx: Tx, paging: Paging) -> Page[TerminalOut]:
    """The tills that speak HTTP, by their ids."""
    rows, following = await IN_ORDER.page(tx, sa.select(*terminals.SHOWN), paging)
    return Page(items=[TerminalOut.model_validate(row) for row in rows], next=following)


@router.get("/{terminal_id:path}/changes")
async def list_changes(terminal_id: TerminalPath, tx: Tx, paging: Paging) -> Page[TerminalChangeOut]:
    """What was done to the till and who did it, the newest first."""
    await terminals.shown(tx, terminal_id)
    select = sa.select(tables.terminal_changes).where(tables.terminal_changes.c.terminal_id == terminal_id)
    rows, following = await NEWEST_FIRST.page(tx, select, paging)
    return Page(items=[TerminalChangeOut.model_validate(row) for row in rows], next=following)
