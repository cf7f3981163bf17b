"""What customers are told of their points, unasked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.ids import new_id
from contracts.customers import Contact
from contracts.limits import PointsCorrected
from contracts.loyalty import OperationReversed
from tests.services.messaging.world import (
    Messaging,
    accrued,
    activated,
    adjusted,
    asked,
    expiring,
    of_operation,
    returned,
)


async def told(messaging: Messaging, customer: Contact) -> list[str]:
    """The texts as people see them, in their order."""
    return [" ".join(row.text.split()) for row in await messaging.messages(customer.customer_id)]


def corrected(known: Contact, points: int, **other: Any) -> PointsCorrected:
    decided = {"receipt_id": "R-1", "review_id": new_id(), "corrected_at": datetime.now(UTC)}
    return PointsCorrected.model_validate({**of_operation(known), "points": points, **decided, **other})


def taken_back(known: Contact, points: int) -> OperationReversed:
    by_hand = {"reverses": new_id(), "reason": "mistake", "actor": "operator:anna", "reversed_at": datetime.now(UTC)}
    return OperationReversed.model_validate({**of_operation(known), "points": points, **by_hand})


async def test_a_purchase_that_was_paid_with_points_is_one_message_of_what_was_earned_and_what_was_paid(
    messaging: Messaging,
) -> None:
    anna = await messaging.customer(language="en")

    await messaging.hears(accrued(anna).model_copy(update={"points_paid": 100, "available_after": 161}))

    assert await told(messaging, anna) == [
        "+57 points for your purchase of RUB 1,140 at store 367; paid with 100 points; balance 161"
    ]


async def test_the_balance_that_is_told_is_what_can_be_spent_and_points_that_wait_say_until_when(
    messaging: Messaging,
) -> None:
    anna = await messaging.customer(language="en")
    waiting = {"available_after": 147, "activates_at": datetime(2025, 11, 15, 21, tzinfo=UTC)}

    await messaging.hears(accrued(anna).model_copy(update=waiting))

    (text,) = await told(messaging, anna)
    assert text.endswith(", they can be spent from November 16, 2025; can be spent now: 147")


async def test_points_that_all_went_to_a_debt_are_not_promised_for_later(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")
    waiting = {"debt_paid": 57, "available_after": 0, "activates_at": datetime(2025, 11, 15, 21, tzinfo=UTC)}

    await messaging.hears(accrued(anna, 57, balance=-43).model_copy(update=waiting))
    await messaging.hears(corrected(anna, 57, **waiting))

    texts = await told(messaging, anna)
    assert len(texts) == 2
    assert all(text.endswith(", 57 of them went to what was owed; balance 0") for text in texts)


async def test_a_purchase_that_is_looked_at_tells_what_was_paid_and_nothing_of_what_it_may_earn(
    messaging: Messaging,
) -> None:
    anna = await messaging.customer(language="en")
    withheld = {"withheld": "limit_till_day", "available_after": 104}

    await messaging.hears(accrued(anna, 0).model_copy(update=withheld))
    await messaging.hears(accrued(anna, 0).model_copy(update={**withheld, "points_paid": 100}))

    assert await told(messaging, anna) == ["−100 points paid for your purchase of RUB 1,140 at store 367; balance 104"]


async def test_a_return_is_one_message_of_what_was_taken_back_and_what_was_given_back(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")

    await messaging.hears(returned(anna).model_copy(update={"refunded": 100, "available_after": 292}))

    assert await told(messaging, anna) == [
        "−12 points for your return of RUB 240 at store 367; +100 points that you had paid; balance 292"
    ]


async def test_what_a_return_gave_back_names_what_of_it_paid_a_debt_and_what_it_took_back_what_is_owed(
    messaging: Messaging,
) -> None:
    anna = await messaging.customer(language="en")
    paid_a_debt = {"refunded": 100, "refund_debt_paid": 40, "owed": 5, "available_after": 60}

    await messaging.hears(returned(anna).model_copy(update=paid_a_debt))

    assert await told(messaging, anna) == [
        "−12 points for your return of RUB 240 at store 367; 5 of them are owed, the next points pay them;"
        " +100 points that you had paid, 40 of them went to what was owed; balance 60"
    ]


async def test_what_burns_soon_is_told_until_it_has_burned(messaging: Messaging) -> None:
    anna, bob = await messaging.customer(language="en"), await messaging.customer()
    in_a_week = messaging.be_in_moscow_at(12) + timedelta(days=7)

    await messaging.hears(expiring(anna, at=in_a_week))
    await messaging.hears(expiring(bob, at=datetime.now(UTC) - timedelta(seconds=1)))

    to_anna = await messaging.message(anna.customer_id)
    assert (to_anna.status, to_anna.expires_at, to_anna.purpose) == ("accepted", in_a_week, "service")
    assert to_anna.text.startswith("30 points burn on ")
    assert (await messaging.message(bob.customer_id)).status == "expired"


async def test_a_day_that_is_announced_again_is_told_once_and_is_no_dead_letter(messaging: Messaging) -> None:
    anna = await messaging.customer()
    notice = expiring(anna, at=datetime.now(UTC) + timedelta(days=7))

    await messaging.hears(notice, notice.model_copy(update={"points": 20, "available": 5}))

    assert len(await messaging.messages(anna.customer_id)) == 1
    assert await messaging.dead_letters() == []


async def test_points_that_can_be_spent_from_now_on_are_told_once(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")
    event = activated(anna)

    await messaging.hears(event, event)

    assert await told(messaging, anna) == ["57 points can be spent now; balance 204"]


async def test_points_that_were_given_are_told_with_the_occasion_and_never_with_the_reason_or_who_gave_them(
    messaging: Messaging,
) -> None:
    anna = await messaging.customer(language="en")

    await messaging.hears(adjusted(anna, 100, occasion="birthday"), adjusted(anna, 50))

    assert await told(messaging, anna) == [
        "+100 points for your birthday; balance 204",
        "+50 points credited to you; balance 204",
    ]


async def test_what_is_taken_or_put_right_is_told_neutrally(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")

    await messaging.hears(adjusted(anna, -100), taken_back(anna, -50), taken_back(anna, 30))
    await messaging.hears(corrected(anna, -57, owed=7), corrected(anna, 57))

    assert await told(messaging, anna) == [
        "−100 points taken off your account; balance 204",
        "−50 points by a correction on your account; balance 204",
        "+30 points by a correction on your account; balance 204",
        "−57 points after a check of an earlier purchase; 7 of them are owed, the next points pay them; balance 204",
        "+57 points after a check of an earlier purchase; balance 204",
    ]


async def test_what_comes_back_by_a_correction_names_what_paid_a_debt(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")

    await messaging.hears(taken_back(anna, 30).model_copy(update={"debt_paid": 20}))

    assert await told(messaging, anna) == [
        "+30 points by a correction on your account, 20 of them went to what was owed; balance 204"
    ]


async def test_a_decision_that_changed_no_points_is_not_told(messaging: Messaging) -> None:
    anna = await messaging.customer()

    await messaging.hears(corrected(anna, 0))

    assert await messaging.messages() == []


async def test_news_of_points_need_no_consent_to_advertising(messaging: Messaging) -> None:
    anna = await messaging.customer(advertising=False)
    in_a_week = messaging.be_in_moscow_at(12) + timedelta(days=7)

    await messaging.hears(expiring(anna, at=in_a_week), activated(anna), adjusted(anna, 100), corrected(anna, 5))

    assert {(row.purpose, row.status) for row in await messaging.messages()} == {("service", "accepted")}


@pytest.mark.parametrize("days", [1, 30])
async def test_old_news_are_not_told(messaging: Messaging, days: int) -> None:
    anna = await messaging.customer()
    long_ago = datetime.now(UTC) - timedelta(days=days, seconds=1)

    await messaging.hears(activated(anna), adjusted(anna, 100), taken_back(anna, -5), corrected(anna, 5), time=long_ago)

    assert {row.status for row in await messaging.messages()} == {"expired"}


async def test_any_of_these_may_be_asked_for_by_a_command(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")
    parameters = {"points": 30, "balance": 204, "expires_at": "2025-11-06T00:00:00+03:00"}

    await messaging.hears(asked(anna, template="points_expiring", parameters=parameters))

    assert (await told(messaging, anna))[0].startswith("30 points burn on November 5, 2025 at 11:59 PM")


async def test_a_purchase_and_its_return_are_told_to_the_member_of_the_family_who_bought(messaging: Messaging) -> None:
    anna, boris = await messaging.customer(), await messaging.customer(language="en")
    by_boris = {"buyer_id": boris.customer_id}

    await messaging.hears(accrued(anna).model_copy(update=by_boris), returned(anna).model_copy(update=by_boris))
    await messaging.hears(accrued(anna, 0).model_copy(update={**by_boris, "points_paid": 100, "withheld": "limit_day"}))

    assert await told(messaging, boris) == [
        "+57 points on your family's account for your purchase of RUB 1,140 at store 367; family balance 204",
        "−12 points off your family's account for your return of RUB 240 at store 367; family balance 192",
        "−100 points of your family's account paid for your purchase of RUB 1,140 at store 367; family balance 204",
    ]
    assert await told(messaging, anna) == []


async def test_points_of_a_currency_with_a_scale_are_told_in_whole_ones(messaging: Messaging) -> None:
    anna = await messaging.customer(language="en")
    in_a_week = messaging.be_in_moscow_at(12) + timedelta(days=7)
    events = [
        accrued(anna, 450, balance=20_450),
        returned(anna, 150),
        expiring(anna, 3_050, at=in_a_week),
        activated(anna, 50),
        adjusted(anna, 150),
        adjusted(anna, -150),
        taken_back(anna, -150),
        corrected(anna, 150),
    ]

    await messaging.hears(*(event.model_copy(update={"points_scale": 2}) for event in events))

    texts = await told(messaging, anna)
    assert sorted(text.split(" point")[0] for text in texts) == sorted(
        ["+4.5", "−1.5", "30.5", "0.5", "+1.5", "−1.5", "−1.5", "+1.5"]
    )
    assert {text.rpartition(" ")[2] for text in texts} == {"204.5", "1.92", "2.04"}
