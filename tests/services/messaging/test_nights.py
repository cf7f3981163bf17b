"""What may wait for the customer's morning waits for it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.messaging.claims import Pace, claim
from services.messaging.nights import Night, morning_after
from services.messaging.settings import MessagingSettings
from tests.services.messaging.bot_api import BotApi
from tests.services.messaging.world import (
    MOSCOW,
    Messaging,
    accrued,
    activated,
    adjusted,
    chat_of,
    contact,
    erased,
    expiring,
    returned,
)

NIGHT = Night(21, 9)


def moscow(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=MOSCOW)


@pytest.mark.parametrize(
    ("now", "morning"),
    [
        ("2025-11-05T09:00", None),
        ("2025-11-05T20:59:59.999999", None),
        ("2025-11-05T21:00", "2025-11-06T09:00"),
        ("2025-11-05T23:59", "2025-11-06T09:00"),
        ("2025-11-06T00:00", "2025-11-06T09:00"),
        ("2025-11-06T08:59:59.999999", "2025-11-06T09:00"),
    ],
)
def test_a_night_lasts_from_nine_to_nine_by_the_customers_clock(now: str, morning: str | None) -> None:
    told = morning_after(moscow(now).astimezone(UTC), "Europe/Moscow", NIGHT)

    assert told == (None if morning is None else moscow(morning))


def test_the_morning_after_clocks_were_put_on_is_at_nine_by_them() -> None:
    before = datetime(2026, 3, 28, 22, tzinfo=UTC)

    assert morning_after(before, "Europe/Berlin", NIGHT) == datetime(2026, 3, 29, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("night", "now", "morning"),
    [
        (Night(1, 7), "2025-11-05T00:59", None),
        (Night(1, 7), "2025-11-05T01:00", "2025-11-05T07:00"),
        (Night(1, 7), "2025-11-05T07:00", None),
        (Night(1, 7), "2025-11-05T23:00", None),
        (Night(22, 0), "2025-11-05T23:59", "2025-11-06T00:00"),
        (Night(22, 0), "2025-11-06T00:00", None),
        (Night(0, 23), "2025-11-06T00:00", "2025-11-06T23:00"),
        (Night(0, 23), "2025-11-06T23:00", None),
        (Night(9, 9), "2025-11-06T09:00", None),
        (Night(0, 0), "2025-11-06T00:00", None),
    ],
)
def test_a_night_may_end_on_the_day_it_begins_or_be_none(night: Night, now: str, morning: str | None) -> None:
    told = morning_after(moscow(now).astimezone(UTC), "Europe/Moscow", night)

    assert told == (None if morning is None else moscow(morning))


@pytest.mark.parametrize("name", ["NIGHT_BEGINS_H", "NIGHT_ENDS_H"])
@pytest.mark.parametrize("hour", ["24", "-1", "9:00", "nine"])
def test_an_hour_that_is_none_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, hour: str) -> None:
    monkeypatch.setenv(f"KOPILKA_{name}", hour)

    with pytest.raises(ValidationError, match=f"{name.lower()}\\n  Input should be"):
        MessagingSettings()


@pytest.mark.parametrize(("hours", "status"), [(("0", "0"), "accepted"), (("23", "1"), "scheduled")])
async def test_the_chain_says_when_night_is(
    messaging: Messaging, monkeypatch: pytest.MonkeyPatch, hours: tuple[str, str], status: str
) -> None:
    for name, hour in zip(("KOPILKA_NIGHT_BEGINS_H", "KOPILKA_NIGHT_ENDS_H"), hours, strict=True):
        monkeypatch.setenv(name, hour)
    rules = MessagingSettings()
    monkeypatch.setattr("services.messaging.acceptance.messaging_settings", lambda: rules)
    anna = await messaging.customer()
    messaging.be_in_moscow_at(0)

    await messaging.hears(activated(anna))

    assert (await messaging.message(anna.customer_id)).status == status


async def test_what_comes_by_night_is_sent_in_the_morning_and_a_purchase_at_once(
    messaging: Messaging, api: BotApi
) -> None:
    anna = await messaging.customer(language="en")
    midnight = messaging.be_in_moscow_at(0)

    await messaging.hears(activated(anna), expiring(anna, at=midnight + timedelta(days=7)), adjusted(anna, 100))
    await messaging.hears(accrued(anna), returned(anna))

    rows = await messaging.messages(anna.customer_id)
    assert [row.status for row in rows] == ["scheduled"] * 3 + ["accepted"] * 2
    assert {row.due_at for row in rows[:3]} == {midnight.replace(hour=9)}
    async with messaging.dispatching(api):
        await messaging.until(lambda now: [row.status for row in now[3:]] == ["sent"] * 2, what="the purchase is told")
        assert [row.status for row in await messaging.messages()][:3] == ["scheduled"] * 3

        messaging.ahead += timedelta(hours=9)
        await messaging.until_status("sent")

    assert api.texts_to(chat_of(anna)) == [row.text for row in (*rows[3:], *rows[:3])]
    assert (await messaging.said_of(anna.customer_id)).count("MessageAccepted") == 5


async def test_what_comes_by_day_is_sent_at_once(messaging: Messaging) -> None:
    anna = await messaging.customer()
    messaging.be_in_moscow_at(12)

    await messaging.hears(activated(anna))

    row = await messaging.message(anna.customer_id)
    assert (row.status, row.due_at) == ("accepted", None)


async def test_the_night_is_that_of_the_customers_own_zone(messaging: Messaging) -> None:
    anna = await messaging.customer()
    far = contact(anna.customer_id, chat=chat_of(anna)).model_copy(update={"time_zone": "Asia/Vladivostok"})
    messaging.be_in_moscow_at(3)
    await messaging.hears(far)

    await messaging.hears(activated(anna))

    assert (await messaging.message(anna.customer_id)).status == "accepted"


async def test_what_would_be_too_late_in_the_morning_is_sent_by_night(messaging: Messaging) -> None:
    anna = await messaging.customer()
    midnight = messaging.be_in_moscow_at(0)

    await messaging.hears(expiring(anna, at=midnight + timedelta(hours=9)))

    assert (await messaging.message(anna.customer_id)).status == "accepted"


async def test_what_waits_for_the_morning_is_forgotten_with_its_customer(messaging: Messaging) -> None:
    anna = await messaging.customer()
    messaging.be_in_moscow_at(0)
    await messaging.hears(activated(anna))

    await messaging.hears(erased(anna))

    row = await messaging.message(anna.customer_id)
    assert (row.status, row.reason, row.text) == ("failed", "erased", None)


async def test_whoever_buys_in_the_morning_does_not_stand_behind_the_night(messaging: Messaging) -> None:
    midnight = messaging.be_in_moscow_at(0)
    sleepers = [await messaging.customer() for _ in range(120)]
    await messaging.hears(*(expiring(each, at=midnight + timedelta(days=7)) for each in sleepers))
    messaging.ahead += timedelta(hours=9)
    buyer = await messaging.customer()

    assert await taken_up(messaging) == []
    await messaging.hears(accrued(buyer))
    told: list[UUID] = []
    while len(told) < 121:
        told += await taken_up(messaging)

    assert told.index(buyer.customer_id) == 50
    assert set(told) == {each.customer_id for each in (*sleepers, buyer)}


async def test_a_chat_that_must_wait_keeps_nobody_else_asleep(messaging: Messaging) -> None:
    midnight = messaging.be_in_moscow_at(0)
    throttled, sleeper = await messaging.customer(), await messaging.customer()
    await messaging.hears(accrued(throttled), expiring(sleeper, at=midnight + timedelta(days=7)))
    messaging.ahead += timedelta(hours=9)
    async with messaging.database.transaction() as tx:
        await tx.sql(
            "UPDATE contacts SET telegram_free_at = $2 WHERE customer_id = $1",
            throttled.customer_id,
            midnight + timedelta(days=1),
        )

    assert await taken_up(messaging) == []
    assert await taken_up(messaging) == [sleeper.customer_id]


async def taken_up(messaging: Messaging) -> list[UUID]:
    """Whose messages a dispatcher takes up in one round, ten at most."""
    pace = Pace(interval=timedelta(milliseconds=1), lease=timedelta(seconds=30))
    async with messaging.database.transaction() as tx:
        claimed, goes_on = await claim(tx, pace, most=10, lead=timedelta(0))
    assert goes_on
    return [each.customer_id for each in claimed]
