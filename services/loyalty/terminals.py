"""The tills that speak HTTP, their keys, and who did what to them.

A key is `kopilka_till_<the terminal's id, base32>_<32 random bytes, base64>`: it names its terminal, and a scanner for
secrets knows it by its beginning. Of the secret only the SHA-256 is kept; that needs no salt, nobody guesses 32 bytes.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
import structlog

from chassis.actor import Actor
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from services.loyalty.tables import TerminalChange, terminals

log = structlog.get_logger()
T = TypeVar("T")

SECRET_BYTES: Final = 32
KEY: Final = re.compile(r"kopilka_till_([a-z2-7]{2,410})_([A-Za-z0-9_-]{43})")
NO_HASH: Final = secrets.token_bytes(32)
"""What the key of a terminal that is unknown, or has none yet, is compared with, so that it takes as long."""
NOBODY: Final = ""

SHOWN: Final = (
    terminals.c.terminal_id,
    terminals.c.store_id,
    terminals.c.key_set_at,
    terminals.c.key_set_by,
    terminals.c.blocked_at,
    terminals.c.blocked_by,
    terminals.c.registered_at,
    terminals.c.registered_by,
)
"""A terminal without the hash of its key."""
FIND: Final = "SELECT terminal_id, store_id, key_hash, blocked_at FROM terminals WHERE terminal_id = $1"
LOCK: Final = "SELECT blocked_at FROM terminals WHERE terminal_id = $1 FOR UPDATE"
REGISTER: Final = """
INSERT INTO terminals (terminal_id, store_id, registered_at, registered_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (terminal_id) DO UPDATE SET store_id = excluded.store_id WHERE terminals.store_id <> excluded.store_id
RETURNING xmax = 0 AS is_new
"""
SET_KEY: Final = "UPDATE terminals SET key_hash = $2, key_set_at = $3, key_set_by = $4 WHERE terminal_id = $1"
BLOCK: Final = "UPDATE terminals SET blocked_at = $2, blocked_by = $3 WHERE terminal_id = $1"
UNBLOCK: Final = "UPDATE terminals SET blocked_at = NULL, blocked_by = NULL WHERE terminal_id = $1"
KEEP_CHANGE: Final = """
INSERT INTO terminal_changes (id, terminal_id, what, at, actor, store_id) VALUES ($1, $2, $3, $4, $5, $6)
"""


class Terminal(NamedTuple):
    """The till that sent a request, by its key."""

    terminal_id: str
    store_id: str


async def register(tx: Transaction, terminal_id: str, store_id: str, who: Actor) -> bool:
    """The till stands in this store from now on, and its key stays what it is. True where it was not known before."""
    for (is_new,) in await tx.sql(REGISTER, terminal_id, store_id, tx.now, str(who)):
        await _keep_change(tx, terminal_id, "registered" if is_new else "moved", who, store_id)
        return bool(is_new)
    return False


async def new_key(tx: Transaction, terminal_id: str, who: Actor) -> str:
    """A new key for the till, to be shown once; the old one is dead at once. Raises `Problem` 404."""
    await _lock(tx, terminal_id)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    await tx.sql(SET_KEY, terminal_id, _hash_of(secret), tx.now, str(who))
    await _keep_change(tx, terminal_id, "key_set", who)
    name = base64.b32encode(terminal_id.encode()).decode().rstrip("=").lower()
    return f"kopilka_till_{name}_{secret}"


async def block(tx: Transaction, terminal_id: str, who: Actor) -> None:
    """The till's key opens nothing until it is unblocked. Raises `Problem` 404."""
    till = await _lock(tx, terminal_id)
    if till.blocked_at is None:
        await tx.sql(BLOCK, terminal_id, tx.now, str(who))
        await _keep_change(tx, terminal_id, "blocked", who)


async def unblock(tx: Transaction, terminal_id: str, who: Actor) -> None:
    """The till's key opens again. Raises `Problem` 404."""
    till = await _lock(tx, terminal_id)
    if till.blocked_at is not None:
        await tx.sql(UNBLOCK, terminal_id)
        await _keep_change(tx, terminal_id, "unblocked", who)


async def shown(tx: Transaction, terminal_id: str) -> sa.Row[Any]:
    """What operators see of a till. Raises `Problem` 404."""
    return _known((await tx.execute(sa.select(*SHOWN).where(terminals.c.terminal_id == terminal_id))).all())


async def whose_key(tx: Transaction, key: str) -> Terminal:
    """The till whose key this is.

    Raises `Problem` 401, the same one at the same cost, for what is no key, an unknown till, a wrong key and a blocked
    till: who tries keys learns nothing of the tills.
    """
    terminal_id, secret_hash = _read(key)
    found = next(iter(await tx.sql(FIND, terminal_id)), None)
    kept = found.key_hash if found is not None and found.key_hash is not None else NO_HASH
    is_right = hmac.compare_digest(secret_hash, kept)
    if found is None or not is_right or found.blocked_at is not None:
        raise Problem(
            401,
            "unauthorized",
            "This request needs the header Authorization: Bearer, followed by the till's own key.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return Terminal(found.terminal_id, found.store_id)


def _read(key: str) -> tuple[str, bytes]:
    """The terminal that the key names and the hash of its secret; of `NOBODY` where it is no key."""
    match = KEY.fullmatch(key)
    name, secret = match.groups() if match else ("", "")
    try:
        terminal_id = base64.b32decode(name.upper() + "=" * (-len(name) % 8)).decode()
    except (binascii.Error, UnicodeDecodeError):
        terminal_id = NOBODY
    return NOBODY if "\0" in terminal_id else terminal_id, _hash_of(secret)


def _hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def _lock(tx: Transaction, terminal_id: str) -> Any:
    """Whoever else changes the till waits, and sees what was done here. Raises `Problem` 404."""
    return _known(await tx.sql(LOCK, terminal_id))


def _known(rows: Sequence[T]) -> T:
    if not rows:
        raise Problem(404, "terminal_not_found", "No till has this id; register it first.", field="terminal_id")
    return rows[0]


async def _keep_change(
    tx: Transaction, terminal_id: str, what: TerminalChange, who: Actor, store_id: str | None = None
) -> None:
    """While its row is locked: the order of the ids is the order of the changes."""
    await tx.sql(KEEP_CHANGE, new_id(), terminal_id, what, tx.now, str(who), store_id)
    log.info(f"terminal_{what}", terminal_id=terminal_id, actor=str(who), store_id=store_id)
