"""What time does to lots: points can be spent from a moment on, and burn at another."""

from tests.services.loyalty.model.book import Book
from tests.services.loyalty.model.merges import own


def activate(book: Book) -> None:
    for account in book.all_accounts:
        for lot in account.lots.values():
            if lot.pending and lot.activates_at is not None and lot.activates_at <= book.now:
                lot.pending = False


def expire(book: Book) -> None:
    for account in book.all_accounts:
        if account.owner in book.frozen and not book.terms_now["lots_age_while_frozen"]:
            continue
        for lot in account.lots.values():
            if lot.expires_at is not None and lot.expires_at <= book.now and lot.free:
                if lot.came_from is not None and lot.came_from.merged_into is not None:
                    own(book, lot.came_from, -lot.free)
                lot.remaining = lot.held
