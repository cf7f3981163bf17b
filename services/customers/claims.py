"""Claims: whoever gives a phone or a Telegram chat to a customer claims it first, then looks whose it is.

Between the look and the commit nobody else can take it, so that two tills with one phone make one customer, and a chat
moves in one piece. Claims come before any row lock, sorted, all of a transaction's in one statement: no two
transactions wait for each other. The unique constraints stand behind.
"""

from collections.abc import Iterable

from chassis.envelope import content_hash
from chassis.transaction import Transaction

CLAIM = "SELECT pg_advisory_xact_lock(claimed) FROM unnest($1::bigint[]) AS claimed"


async def claim(tx: Transaction, *, phones: Iterable[str] = (), telegram_chat_ids: Iterable[int] = ()) -> None:
    """Be the only one, until this transaction ends, who gives these phones and chats to anybody."""
    names = {f"customers phone {phone}" for phone in phones}
    names |= {f"customers telegram {chat_id}" for chat_id in telegram_chat_ids}
    await tx.sql(CLAIM, sorted(content_hash(name.encode()) for name in names))
