"""What customers have, kept from `loyalty.balances` for /balance."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from babel.numbers import format_decimal

from chassis.transaction import Transaction
from contracts.fields import Language
from contracts.loyalty import Balance
from services.feedback.texts import points_words, words

MAIN_CURRENCY: Final = "points"
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


def balance_text(language: Language, kept: Mapping[str, int] | None) -> str:
    """`kept` is the column `customers.balances`; none where the customer has never had any points."""
    balances = dict(kept or {})
    main = balances.pop(MAIN_CURRENCY, 0)
    others = [f"{format_decimal(amount, locale=language)} ({code})" for code, amount in sorted(balances.items())]
    have = ", ".join([points_words(language, main), *others])
    return words(language).gettext("You have {points}.").format(points=have)


def _by_currency(state: Balance) -> dict[str, Any]:
    """What can be spent, over all accounts of a currency."""
    available: dict[str, int] = defaultdict(int)
    for balance in state.balances:
        available[balance.points_currency] += balance.available
    return available
