"""What customers does on each record that it hears."""

from collections.abc import Sequence

from chassis.hears import Hears
from chassis.transaction import Transaction
from contracts.customers import LinkTelegram, UnlinkTelegram
from contracts.messaging import ContactWentBad
from services.customers import reachability, telegram_links

hears = Hears()


@hears.many(LinkTelegram)
async def telegram_chats_shared(commands: Sequence[LinkTelegram], tx: Transaction) -> None:
    await telegram_links.link(tx, commands)


@hears.many(UnlinkTelegram)
async def telegram_chats_given_up(commands: Sequence[UnlinkTelegram], tx: Transaction) -> None:
    await telegram_links.unlink(tx, commands)


@hears.many(ContactWentBad)
async def contacts_went_bad(events: Sequence[ContactWentBad], tx: Transaction) -> None:
    await reachability.went_bad(tx, events)
