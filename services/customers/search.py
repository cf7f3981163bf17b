"""Finding customers: by the phone or card that they name, or by what an operator remembers of them."""

from typing import Final

import sqlalchemy as sa

from chassis.pagination import Keyset, PageAsked
from chassis.transaction import Transaction
from services.customers.customer import Customer, read
from services.customers.profile_fields import sought_phone
from services.customers.tables import cards, customers

PLAN_FOR_THE_WORDS: Final = "SET LOCAL plan_cache_mode = force_custom_plan"
"""Common words are soon met among the newest, rare ones are in the index alone: one plan for both is bad for one."""
SURVIVOR: Final = sa.func.coalesce(customers.c.merged_into, customers.c.id).label("survivor")
NEWEST_FIRST: Final = Keyset([customers.c.id], descending=True)


def fragments(text: str) -> list[str]:
    """The words of the text as patterns that `sought` must all match: case and ё do not matter."""
    words = text.lower().replace("ё", "е").split()
    return [f"%{_literally(word)}%" for word in words]


async def find(
    tx: Transaction, asked: PageAsked, *, phone: str | None, card: str | None, search: str | None
) -> tuple[list[Customer], str | None]:
    """A page of the customers whom all that is given fits, the newest first, and the cursor of the next page.

    What fits a merged record finds its survivor, who may therefore be on another page once more.
    """
    ids = sa.select(SURVIVOR).where(customers.c.erased_at.is_(None))
    if phone is None and search is None:
        ids = ids.where(customers.c.merged_into.is_(None))
    if phone is not None:
        ids = ids.where(customers.c.phone == sought_phone(phone))
    if card is not None:
        ids = ids.where(
            customers.c.id == sa.select(cards.c.customer_id).where(cards.c.number == card).scalar_subquery()
        )
    if search is not None:
        await tx.sql(PLAN_FOR_THE_WORDS)
    for fragment in fragments(search or ""):
        ids = ids.where(customers.c.sought.like(fragment))
    rows, following = await NEWEST_FIRST.page(tx, ids, asked)
    survivors = list(dict.fromkeys(row.survivor for row in rows))
    found = await read(tx, survivors)
    return [found[each] for each in survivors], following


def _literally(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
