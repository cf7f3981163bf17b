"""What customers have, kept from `loyalty.balances` for /balance."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import orjson

from chassis.transaction import Transaction
from contracts.currencies import in_whole_points
from contracts.fields import Language
from contracts.loyalty import Balance
from services.feedback.texts import number_words, points_words, words

MAIN_CURRENCY: Final = "points"
WholePoints = int | str
"""As they are kept: whole points, as text where there is a fraction, which JSON keeps in no exact form."""
KEEP: Final = """
INSERT INTO customers (customer_id, balances, balances_as_of)
SELECT customer_id, balances::jsonb, as_of
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS said (customer_id, balances, as_of)
ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE SET balances = excluded.balances, balances_as_of = excluded.balances_as_of
WHERE customers.erased_at IS NULL
  AND (customers.balances_as_of IS NULL OR customers.balances_as_of <= excluded.balances_as_of)
"""


async def keep_balances(tx: Transaction, states: Sequence[Balance]) -> None:
    """Keep the newest of each customer; one that is older than what is known changes nothing."""
    newest = {state.customer_id: state for state in sorted(states, key=lambda state: state.as_of)}
    await tx.sql(
        KEEP,
        list(newest),
        [orjson.dumps(_by_currency(state)).decode() for state in newest.values()],
        [state.as_of for state in newest.values()],
    )


def balance_text(language: Language, kept: Mapping[str, WholePoints] | None) -> str:
    """`kept` is the column `customers.balances`; none where the customer has never had any points."""
    balances = {code: Decimal(points) for code, points in (kept or {}).items()}
    main = balances.pop(MAIN_CURRENCY, Decimal(0))
    others = [f"{number_words(language, points)} ({code})" for code, points in sorted(balances.items())]
    have = ", ".join([points_words(language, main), *others])
    return words(language).gettext("You have {points}.").format(points=have)


def _by_currency(state: Balance) -> dict[str, WholePoints]:
    """What can be spent, over all accounts of a currency."""
    available: dict[str, Decimal] = defaultdict(Decimal)
    for balance in state.balances:
        available[balance.points_currency] += in_whole_points(balance.available, balance.points_scale or 0)
    return {code: int(points) if points == int(points) else str(points) for code, points in available.items()}
