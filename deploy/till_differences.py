"""On what the tills and the ledger do not agree, of one store and day: what each of them says is given."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from deploy.till_receipts import Published

Kept = dict[str, Any]
"""A receipt or return of the ledger, as loyalty's HTTP API gives it."""
Kind = Literal["missing", "extra", "differs", "published_twice"]


class Difference(NamedTuple):
    """A receipt, or a return of one, on which the tills and the ledger do not agree."""

    kind: Kind
    receipt_id: str
    published: Published | None = None
    kept: Kept | None = None

    @property
    def return_id(self) -> str | None:
        """None where it is about the receipt itself."""
        named = self.published.return_id if self.published else (self.kept or {}).get("return_id")
        return named if named is None else str(named)


def compared(published: Iterable[Published], kept: Mapping[str, Kept]) -> Iterator[Difference]:
    """The receipts of one store and day on which the tills and the ledger do not agree."""
    of_tills = _by_key(published)
    for (receipt_id, _none), contents in of_tills.items():
        yield from _of_one(contents, kept.get(receipt_id))
    for receipt_id, each in kept.items():
        if (receipt_id, None) not in of_tills:
            yield Difference("extra", receipt_id, kept=each)


def compared_returns(published: Iterable[Published], kept: Mapping[str, Kept]) -> Iterator[Difference]:
    """The same of what came back of the receipts that the ledger has; a cancellation is one, whatever else it says."""
    of_tills = _by_key(each for each in published if each.receipt_id in kept)
    of_ledger = {(receipt_id, back["return_id"]): back for receipt_id, each in kept.items() for back in each["returns"]}
    for key, contents in of_tills.items():
        if key not in of_ledger or not str(key[1]).startswith("cancelled:"):
            yield from _of_one(contents, of_ledger.get(key))
    for (receipt_id, return_id), back in of_ledger.items():
        if (receipt_id, return_id) not in of_tills:
            yield Difference("extra", receipt_id, kept=back)


def _of_one(contents: Sequence[Published], kept: Kept | None) -> Iterator[Difference]:
    """One receipt or return: each content that the tills gave it, and what the ledger has, if anything."""
    first = contents[0]
    if kept is None:
        yield Difference("missing", first.receipt_id, published=first)
    elif not any(is_same(each, kept) for each in contents):
        yield Difference("differs", first.receipt_id, published=first, kept=kept)
    if len(contents) > 1:
        yield Difference("published_twice", first.receipt_id, published=first, kept=kept)


def _by_key(published: Iterable[Published]) -> dict[tuple[str, str | None], list[Published]]:
    found: dict[tuple[str, str | None], list[Published]] = defaultdict(list)
    for each in published:
        found[each.receipt_id, each.return_id].append(each)
    return found


def is_same(published: Published, kept: Kept) -> bool:
    """By every byte of the record; by the total where a list names no more."""
    if published.content is None:
        return bool(published.total_minor == kept["total_minor"])
    return published.content == int(kept["content_hash"])


def as_entered(published: Published, kept: Kept | None) -> Kept | None:
    """What the ledger has of the missing receipt or return by now, if anything."""
    if kept is None or published.return_id is None:
        return kept
    of_receipt = {back["return_id"]: back for back in kept["returns"]}
    return of_receipt.get(published.return_id)
