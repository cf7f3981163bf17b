"""`kopilka customer PHONE|CARD`: what each service knows of one customer, over their HTTP APIs, on one page."""

from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape

from deploy.service_api import ServiceApi
from deploy.status_table import figure
from deploy.trouble import Trouble
from deploy.words import _

NEWEST = 10
Json = dict[str, Any]
Section = Callable[[ServiceApi, str], Iterator[str]]


def show_customer(api: ServiceApi, console: Console, phone_or_card: str) -> None:
    """A service that does not answer costs its own section only."""
    customer = find_customer(api, phone_or_card)
    for line in _who(customer):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    sections: list[tuple[str, Section]] = [
        (_("Balance"), _balance),
        (_("Operations"), _operations),
        (_("RFM"), _rfm),
        (_("Messages"), _messages),
        (_("Reviews and appeals"), _feedback),
    ]
    for title, section in sections:
        console.print(f"\n[bold]{escape(title)}[/bold]")
        try:
            lines = list(section(api, customer["id"])) or ["-"]
        except Trouble as trouble:
            lines = [str(trouble)]
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def find_customer(api: ServiceApi, phone_or_card: str) -> Json:
    """Thirteen digits may be either; a card is looked for first, for its number is exact."""
    digits = phone_or_card.strip()
    asked: list[Json] = [{"phone": phone_or_card}]
    if digits.isdigit() and 4 <= len(digits) <= 20:
        asked.insert(0, {"card": digits})
    for query in asked:
        found: list[Json] = api.get("customers", "/customers", **query)["items"]
        if found:
            return found[0]
    raise Trouble(_("no customer has this phone or card; the phone is written with its country code: +7…"))


def _who(customer: Json) -> Iterator[str]:
    name = " ".join(filter(None, (customer["first_name"], customer["last_name"]))) or _("(no name)")
    yield f"{name}  {customer['phone'] or ''}  {customer['id']}"
    yield _("Registered {when}, {language}, {time_zone}").format(
        when=moment(customer["registered_at"]), language=customer["language"], time_zone=customer["time_zone"]
    )
    cards = [f"{card['number']} ({card['state']})" for card in customer["cards"]]
    if cards:
        yield _("Cards: {cards}").format(cards=", ".join(cards))
    if blocked := customer["blocked"]:
        yield _("Blocked since {since}: {reason}").format(since=moment(blocked["since"]), reason=blocked["reason"])
    linked = _("linked") if customer["telegram_chat_id"] else _("not linked")
    yield _("Telegram: {linked}").format(linked=linked)
    channels = [consent["channel"] for consent in customer["consents"]]
    if channels:
        yield _("Allows advertising by: {channels}").format(channels=", ".join(channels))


def _balance(api: ServiceApi, customer_id: str) -> Iterator[str]:
    found = api.find("loyalty", f"/customers/{customer_id}/balance")
    for account in (found or {}).get("accounts", ()):
        yield _("{points} points ({currency}), level {level}").format(
            points=figure(account["available"]), currency=account["points_currency"], level=account["level"]
        )
        besides = {"pending": _("not activated yet"), "held": _("held for purchases"), "debt": _("owed")}
        for bucket, words in besides.items():
            if account[bucket]:
                yield f"  {words}: {figure(account[bucket])}"


def _operations(api: ServiceApi, customer_id: str) -> Iterator[str]:
    for operation in api.get("loyalty", f"/customers/{customer_id}/operations", limit=NEWEST)["items"]:
        yield told_operation(operation)


def told_operation(operation: Json) -> str:
    """When, how many points, of what: a line without its id."""
    kinds = {
        "purchase": _("purchase"),
        "return": _("return"),
        "cancellation": _("cancellation"),
        "order_payment": _("paid with points"),
        "refund": _("refund of points"),
        "registration": _("registration"),
        "birthday": _("birthday"),
        "referral": _("referral"),
        "activity": _("activity"),
        "promotion": _("promotion"),
        "gift": _("gift"),
        "compensation": _("compensation"),
        "manual": _("by hand"),
        "reversal": _("reversal"),
        "expiry": _("expiry"),
        "merge": _("merge"),
        "unmerge": _("merge undone"),
        "review": _("review"),
    }
    kind = kinds.get(operation["type"], operation["type"])
    by_hand = (operation["reason"], operation["actor"].removeprefix(f"trigger:{operation['type']}"))
    about = operation["receipt_id"] or ", ".join(filter(None, by_hand))
    return f"{moment(operation['occurred_at'])}  {operation['points']:+}  {kind} {about}".rstrip()


def _rfm(api: ServiceApi, customer_id: str) -> Iterator[str]:
    profile = api.find("segmentation", f"/customers/{customer_id}")
    if profile is None:
        return
    if rfm := profile["rfm"]:
        yield _("{segment}: recency {recency}, frequency {frequency}, monetary {monetary} of 5").format(
            segment=segment_name(rfm["segment"]),
            recency=rfm["recency"],
            frequency=rfm["frequency"],
            monetary=rfm["monetary"],
        )
    for spent in profile["spending"]:
        yield _("{purchases} purchases, {total} {currency}, last on {when}").format(
            purchases=figure(spent["purchases"]),
            total=_money(spent["total_minor"]),
            currency=spent["currency"],
            when=moment(profile["last_purchase_at"]),
        )


def _messages(api: ServiceApi, customer_id: str) -> Iterator[str]:
    for message in api.get("messaging", "/messages", customer_id=customer_id, limit=NEWEST)["items"]:
        status = f"{message['status']} ({message['reason']})" if message["reason"] else message["status"]
        text = " / ".join((message["text"] or message["template"]).splitlines())
        yield f"{moment(message['accepted_at'])}  {message['channel'] or '-'}  {status}  {text}"


def _feedback(api: ServiceApi, customer_id: str) -> Iterator[str]:
    summary = api.find("feedback", f"/customers/{customer_id}")
    if summary is None:
        return
    for review in summary["reviews"]["newest"]:
        comment = f": {review['comment']}" if review["comment"] else ""
        yield f"{moment(review['left_at'])}  {review['score']}/10{comment}"
    for appeal in summary["appeals"]["newest"]:
        state = _("answered") if appeal["answered_at"] else _("open")
        yield f"{moment(appeal['opened_at'])}  #{appeal['number']} ({state}): {appeal['text'] or '-'}"


def segment_name(segment: str) -> str:
    """An RFM segment in the operator's language."""
    return {
        "hibernating": _("hibernating"),
        "at_risk": _("at risk"),
        "cant_lose": _("can't lose"),
        "about_to_sleep": _("about to sleep"),
        "need_attention": _("needs attention"),
        "loyal": _("loyal"),
        "promising": _("promising"),
        "new": _("new"),
        "potential_loyalist": _("potential loyalist"),
        "champions": _("champion"),
    }.get(segment, segment)


def moment(iso: str | None) -> str:
    """Of the APIs' ISO 8601, in UTC."""
    return "-" if iso is None else iso[:16].replace("T", " ")


def _money(minor: int) -> str:
    units, hundredths = divmod(abs(minor), 100)
    return f"{'-' if minor < 0 else ''}{figure(units)}.{hundredths:02}"
