"""`kopilka loyalty`: points by hand and the proof of the ledger, over loyalty's HTTP API."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.customer_card import find_customer, moment, told_operation
from deploy.service_api import ServiceApi
from deploy.status_table import figure
from deploy.trouble import Trouble
from deploy.words import _, ngettext

FORMATS = (".csv", ".xlsx")
PROOF_S = 3600.0
"""The proof reads the whole ledger."""


def reconcile(api: ServiceApi, console: Console) -> None:
    """Prove the ledger; raises Trouble where a law is broken, after each difference was shown."""
    proof = api.get("loyalty", "/reconciliation", timeout_s=PROOF_S)
    for each in proof["differences"]:
        difference = _("{law}: {subject} should be {expected}, is {found}").format(**each)
        _print(console, difference)
    counted = figure(proof["operations"])
    if proof["differences"]:
        broken = len(proof["differences"])
        text = ngettext("{n} difference in the ledger", "{n} differences in the ledger", broken)
        raise Trouble(text.format(n=broken))
    _print(console, _("The ledger is right: {operations} operations, no difference.").format(operations=counted))


def show_operations(api: ServiceApi, console: Console, phone_or_card: str, *, most: int) -> None:
    """The newest first, with the ids that a reversal asks for, establishments and [idempotency keys]."""
    customer = find_customer(api, phone_or_card)
    shown = api.get("loyalty", f"/customers/{customer['id']}/operations", limit=most)["items"]
    for operation in shown:
        where = f", {operation['establishment']}" if operation["establishment"] else ""
        key = f" [{operation['idempotency_key']}]" if operation["idempotency_key"] else ""
        comment = f": {operation['comment']}" if operation["comment"] else ""
        mark = _(" (reversed)") if operation["reversed_by"] else ""
        _print(console, f"{operation['id']}  {told_operation(operation)}{where}{key}{comment}{mark}")
    if not shown:
        _print(console, _("No operations."))


def show_terms(api: ServiceApi, console: Console) -> None:
    """Every change of the terms, the newest first: from when, by whom, what."""
    for terms in api.get("loyalty", "/terms"):
        head = _("From {moment}, set by {who} on {set_at}")
        told = head.format(moment=moment(terms["in_force_from"]), who=terms["set_by"], set_at=moment(terms["set_at"]))
        _print(console, told)
        for change in terms["changes"]:
            _print(console, f"  {change['term']}: {change['before']} → {change['after']}")


def adjust(api: ServiceApi, console: Console, phone_or_card: str, form: Mapping[str, Any]) -> None:
    """Give or take points by hand, and say what the customer has now."""
    customer = find_customer(api, phone_or_card)
    done = api.post("loyalty", f"/customers/{customer['id']}/operations", form=form)
    _print(console, f"{done['id']}  {told_operation(done)}")
    for account in api.get("loyalty", f"/customers/{customer['id']}/balance")["accounts"]:
        if account["account_id"] == done["account_id"]:
            _print(console, _("Balance now: {points}").format(points=figure(account["available"])))


def reverse(api: ServiceApi, console: Console, operation_id: str, form: Mapping[str, Any]) -> None:
    """Take back what was done by hand."""
    done = api.post("loyalty", f"/operations/{operation_id}/reversal", form=form)
    _print(console, f"{done['id']}  {told_operation(done)}")


def export(
    api: ServiceApi, console: Console, what: str, file: Path, query: Mapping[str, str | Sequence[str] | None]
) -> None:
    """Put operations or purchases into the file, whose suffix says whether it is CSV or XLSX."""
    if file.suffix not in FORMATS:
        raise Trouble(_("{file}: end its name with one of {suffixes}").format(file=file, suffixes=", ".join(FORMATS)))
    size = api.download("loyalty", f"/{what}{file.suffix}", file, **query)
    _print(console, _("{file}: {size} bytes").format(file=file, size=figure(size)))


def show_reviews(api: ServiceApi, console: Console, *, state: str, most: int) -> None:
    """What broke limits, the newest first, with the ids that a decision asks for."""
    shown = api.get("loyalty", "/reviews", state=state, limit=most)["items"]
    for review in shown:
        _print(console, f"{review['id']}  {_told_review(review)}")
    if not shown:
        _print(console, _("No reviews."))


def decide(api: ServiceApi, console: Console, review_id: str, verdict: str, form: Mapping[str, Any]) -> None:
    """Approve or reject what broke a limit."""
    review = api.post("loyalty", f"/reviews/{review_id}/{verdict}", form=form)
    _print(console, f"{review['id']}  {_told_review(review)}")
    if review["correction_id"]:
        told = _("What the purchase had earned is corrected: {operation}").format(operation=review["correction_id"])
        _print(console, told)


def _told_review(review: Mapping[str, Any]) -> str:
    states = {"open": _("open"), "approved": _("approved"), "rejected": _("rejected")}
    about = f"{review['limit_code']} {review['subject']}: {figure(review['counted'])} > {figure(review['most'])}"
    receipt = review["return_id"] or review["receipt_id"]
    return f"{moment(review['occurred_at'])}  {about}  {receipt}  {states[review['state']]}"


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
