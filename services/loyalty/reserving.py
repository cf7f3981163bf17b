"""What a till does before a purchase is completed: ask for a quote, have points held, let them go."""

from chassis.problems import Problem
from chassis.transaction import Transaction
from services.loyalty import holds, quotes
from services.loyalty.accounts import (
    Account,
    Opened,
    account_of_kind,
    find_known,
    is_frozen,
    lock_accounts,
    lock_holder_of,
    look_up,
    refuse_more_than_available,
)
from services.loyalty.balances import say_balances
from services.loyalty.guessing import no_card, terms_for_guesser
from services.loyalty.holds import Hold
from services.loyalty.limits import Amounts, Deed, add_held, count_purchases
from services.loyalty.paying import payable_minor, worth_minor
from services.loyalty.quotes import Basket, Quote, Quoted, gone_on
from services.loyalty.terms import MAIN, Terms


async def quote(tx: Transaction, basket: Basket, identifier: str) -> Quote:
    """What the basket would earn and how much of it can be paid with points.

    Raises `Problem` 404 alike for a card that nobody has and one that is blocked, 429 where the till has asked for too
    many such, 422 for money that the programme does not take, 409 where a hard limit is reached or the
    receipt has gone on from its quote.
    """
    terms = await terms_for_guesser(tx, basket.terminal_id)
    if basket.currency not in terms.currencies:
        raise Problem(422, "unknown_currency", "The programme does not take this money.", field="currency")
    opened = (await look_up(tx, identifier)).opened.get(identifier)
    if opened is None:
        raise no_card()
    earning = await account_of_kind(tx, opened.holder, terms.earning_kind(basket.store_id), terms)
    quoted = quotes.price_quote(basket, opened, earning, terms)
    total_minor = sum(line.total_minor for line in basket.lines)
    await _refuse_beyond_limits(
        tx,
        Deed(tx.now, basket.card_number, opened.buyer_id, basket.terminal_id),
        {"purchases": 1, "points_earned": quoted.pricing.points, "receipt_total_minor": total_minor},
        terms,
    )
    await quotes.keep(tx, basket, opened.buyer_id, quoted)
    return quoted


async def reserve(
    tx: Transaction, receipt_id: str, terminal_id: str, points: int, kind: str = MAIN
) -> tuple[Hold, Account]:
    """Hold points for a quoted receipt of this till, from the account of that kind.

    Raises `Problem` 404 where the till has quoted no such receipt or the customer has no such account, 409 where the
    purchase has gone on, the card or the customer is blocked, a hard limit is reached, or there are too few points, 422
    where more is asked than can be paid, or not by the minimum and the step.
    """
    quoted = await _quoted(tx, receipt_id, terminal_id)
    terms = quoted.terms
    opened = await _locked(tx, quoted)
    account = opened.holder.accounts.get(kind)
    meant = terms.kind(kind)
    if account is None or meant is None or not terms.opens_in(meant, quoted.store_id):
        raise Problem(404, "account_not_found", "The customer has no such account for this store.", field="account")
    if account.is_frozen or opened.is_buyer_frozen:
        raise Problem(409, "account_frozen", "The customer is blocked and spends nothing.")
    _refuse_points(quoted, account, points, terms)
    await _refuse_beyond_limits(
        tx,
        Deed(tx.now, quoted.card_number, opened.buyer_id, quoted.terminal_id),
        {
            "purchases": 1,
            "points_earned": sum(line.points for line in quoted.lines),
            "points_spent": points,
            "receipt_total_minor": sum(line.total_minor for line in quoted.lines),
        },
        terms,
    )
    worth = worth_minor(points, terms.currency_of(kind), account.redemption_coefficient)
    hold = await holds.place(tx, account, quoted, points, worth)
    if hold is None:
        raise gone_on((await _quoted(tx, receipt_id, terminal_id)).state)
    return hold, account


async def release(tx: Transaction, receipt_id: str, terminal_id: str) -> Hold:
    """Let go what this till has held for the receipt, which is as it was quoted.

    Raises `Problem` 404 where nothing is held for it.
    """
    for hold in await holds.standing_at(tx, receipt_id, terminal_id):
        account = (await lock_accounts(tx, [hold.account_id]))[hold.account_id]
        if await holds.let_go(tx, [(hold, account)], "released"):
            say_balances(tx, [account])
            return hold
    await _quoted(tx, receipt_id, terminal_id)
    raise Problem(404, "nothing_held", "No points are held for this receipt.", field="receipt_id")


async def _quoted(tx: Transaction, receipt_id: str, terminal_id: str) -> Quoted:
    quoted = await quotes.read(tx, receipt_id)
    if quoted is None or quoted.terminal_id != terminal_id:
        raise Problem(404, "quote_not_found", "This till has quoted no such receipt.", field="receipt_id")
    return quoted


async def _locked(tx: Transaction, quoted: Quoted) -> Opened:
    """The customer's accounts, locked; by the card where one was shown, for it may be blocked by now."""
    if quoted.card_number is not None:
        opened = (await find_known(tx, [quoted.card_number])).opened.get(quoted.card_number)
        if opened is None:
            raise no_card()
        return opened
    holder = await lock_holder_of(tx, quoted.customer_id)
    if holder is None:
        raise no_card()
    is_buyer_frozen = quoted.customer_id != holder.customer_id and await is_frozen(tx, quoted.customer_id)
    return Opened(holder, quoted.customer_id, is_buyer_frozen)


async def _refuse_beyond_limits(tx: Transaction, deed: Deed, amounts: Amounts, terms: Terms) -> None:
    """Hard limits alone: what breaks a soft one is flagged when the purchase is completed."""
    hard = [limit for limit in terms.limits if limit.hard]
    if not hard:
        return
    spends = "points_spent" in amounts
    counts = await count_purchases(tx, [deed], [terms], binds=spends)
    if counts is None:
        return
    if spends:
        await add_held(tx, counts, deed)
    for breach in counts.breaches(deed, amounts, hard):
        raise Problem(
            409,
            "limit_reached",
            "The programme's limit {limit} is reached; sell without the programme.",
            limit=breach.limit.code,
        )


def _refuse_points(quoted: Quoted, account: Account, points: int, terms: Terms) -> None:
    if quoted.state != "quoted":
        raise gone_on(quoted.state)
    if points < terms.payable_min_points or points % terms.payable_step_points:
        raise Problem(
            422,
            "points_not_payable",
            "Points are paid with from {least} on, in steps of {step}.",
            least=terms.payable_min_points,
            step=terms.payable_step_points,
            field="points",
        )
    refuse_more_than_available(account, points)
    most = quotes.pay_with(account, sum(payable_minor(quoted.lines, terms)), terms).most_points
    if points > most:
        raise Problem(
            422, "too_many_points", "At most {most} points can be paid for this receipt.", most=most, field="points"
        )
