"""Forgetting people."""

from datetime import timedelta

from chassis.ids import new_id
from contracts.customers import ContactErased
from contracts.feedback import TelegramUnlinked
from services.feedback import erasure
from tests.services.feedback.world import Feedback, accrued, balance, contact
from tests.telegram_sandbox import RunningSandbox


async def test_an_erased_customer_leaves_scores_but_no_chat_and_no_word(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna, oleg = await sandbox.person(), await sandbox.person("Олег", phone="+79990001122")
    customer_id, other_id = await feedback.linked(anna), await feedback.linked(oleg)
    await feedback.hears(balance(customer_id, 204))
    async with feedback.polling():
        for person, its in ((anna, customer_id), (oleg, other_id)):
            await person.writes("My secret appeal")
            question = await feedback.asked(its)
            await person.presses(f"{question.message_key}:9")
            await person.hears("Что вам нравится больше всего?")
            await person.writes("My secret comment")
            await person.hears("записали")
        await feedback.until_all_is_handled()

        await feedback.hears(ContactErased(customer_id=customer_id))

        assert await feedback.value("SELECT count(*) FROM customers WHERE chat_id = $1", anna.id) == 0
        assert await feedback.value("SELECT count(*) FROM chats WHERE chat_id = $1", anna.id) == 0
        mine = await feedback.rows("SELECT text, answer, chat_id FROM appeals WHERE customer_id = $1", customer_id)
        assert mine == [(None, None, None)]
        reviews = "SELECT score, comment FROM reviews WHERE customer_id = $1"
        assert await feedback.rows(reviews, customer_id) == [(9, None)]
        assert await feedback.rows(reviews, other_id) == [(9, "My secret comment")]
        assert [event.customer_id for event in await feedback.said(TelegramUnlinked)] == [customer_id]

        await anna.writes("/balance")
        await anna.hears("Я ещё не знаю вашей карты")
    for row in await feedback.rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'customers'"):
        assert row.column_name not in ("phone", "first_name", "last_name")


async def test_nothing_that_comes_late_builds_an_erased_customer_again(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    customer_id, stranger_id = await feedback.linked(anna), new_id()
    await feedback.hears(ContactErased(customer_id=customer_id), ContactErased(customer_id=stranger_id))
    known = len(await feedback.everything_said())
    for each in (customer_id, stranger_id):
        await feedback.hears(contact(each, anna.id), balance(each, 5), accrued(each))
    await feedback.hears(ContactErased(customer_id=customer_id))
    assert await feedback.rows("SELECT chat_id, balances FROM customers") == [(None, None)] * 2
    assert await feedback.value("SELECT count(*) FROM chats") == 0
    assert len(await feedback.everything_said()) == known


async def test_who_said_stop_before_leaves_no_chat_either(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    customer_id = await feedback.linked(anna)
    async with feedback.polling():
        await anna.writes("/stop")
        await anna.hears("Чат отвязан")
        await feedback.until_all_is_handled()
    await feedback.hears(ContactErased(customer_id=customer_id))
    assert await feedback.rows("SELECT chat_id, stopped_chat_id FROM customers") == [(None, None)]
    assert await feedback.value("SELECT count(*) FROM chats") == 0


async def test_what_waits_to_be_sent_to_an_erased_customer_is_not_sent(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    customer_id = await feedback.linked(anna)
    async with feedback.polling():
        await anna.writes("/help")
        await anna.hears("/balance")
    async with feedback.database.transaction() as tx:
        await tx.sql('INSERT INTO outgoing (chat_id, body, due_at) VALUES ($1, \'{"text": "secret"}\', now())', anna.id)
    await feedback.hears(ContactErased(customer_id=customer_id))
    assert await feedback.value("SELECT count(*) FROM outgoing") == 0


async def test_strangers_are_forgotten_after_a_long_silence_and_customers_are_not(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna, oleg = await sandbox.person(), await sandbox.person("Олег", phone="+79990001122")
    await feedback.linked(anna)
    async with feedback.polling():
        for person in (anna, oleg):
            await person.writes("Hello?")
            await person.hears("принято")
    for ahead, chats, texts in ((timedelta(days=89), 2, 2), (timedelta(days=91), 1, 1)):
        feedback.ahead = ahead
        async with feedback.database.transaction() as tx:
            assert not await erasure.forget_strangers(tx)
            assert not await erasure.forget_updates(tx)
        assert await feedback.value("SELECT count(*) FROM chats") == chats
        assert await feedback.value("SELECT count(text) FROM appeals") == texts
    assert await feedback.value("SELECT count(*) FROM telegram_updates") == 0
    assert await feedback.value("SELECT chat_id FROM chats") == anna.id
