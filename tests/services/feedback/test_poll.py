"""Taking the bot's updates and writing into chats, whatever Telegram, PostgreSQL and the processes do meanwhile."""

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chassis.settings import Settings
from contracts.customers import LinkTelegram
from contracts.feedback import ReviewLeft
from deploy.sandbox.telegram.limits import Limits
from deploy.sandbox.telegram.parameters import Refusal
from services.feedback import dialogue
from services.feedback.chats import Turn
from tests.harness import until
from tests.services.feedback.world import Feedback, OpenFeedback
from tests.telegram_sandbox import RunningSandbox, telegram_sandbox

WAITS_FOR_THE_LOCK = """
SELECT 1 FROM pg_stat_activity
WHERE application_name = 'kopilka-feedback-telegram' AND query LIKE '%pg_try_advisory_lock%'
AND NOT EXISTS (SELECT 1 FROM pg_locks WHERE pg_locks.pid = pg_stat_activity.pid AND locktype = 'advisory')
"""
"""A process has asked for the lock and did not get it."""


async def test_updates_that_waited_while_the_bot_was_away_are_taken_in_their_order(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    for number in range(1, 16):
        await anna.writes(f"text {number}")
    async with feedback.polling():
        await anna.hears("№ 15 принято")
        await feedback.until_all_is_handled()
    assert await feedback.rows("SELECT number, text FROM appeals ORDER BY id") == [
        (number, f"text {number}") for number in range(1, 16)
    ]
    numbers = [f"№ {number} " for number in range(1, 16)]
    assert [number for text in anna.heard() for number in numbers if number in text] == numbers


async def test_an_update_that_telegram_brings_again_changes_nothing(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    await anna.shares_contact()
    (update,) = sandbox.sandbox.world.updates.pending(10)
    async with feedback.polling():
        await feedback.until_said(LinkTelegram)
        await feedback.until_all_is_handled()
    sandbox.sandbox.world.updates.restore({"kind": "update", "queued_at": 2**40, "update": update})
    async with feedback.polling():
        await feedback.until_all_is_handled()
    assert len(await feedback.said(LinkTelegram)) == 1
    assert len(anna.heard()) == 1


async def test_two_instances_take_each_update_once_and_one_takes_over_from_the_other(
    open_feedback: OpenFeedback, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_feedback(), open_feedback()
    anna = await sandbox.person()
    polls: set[str] = set()
    answer = sandbox.sandbox.bot_api.call

    async def note_who_polls(token: str, method: str, given: dict[str, Any]) -> Any:
        if method == "getUpdates":
            polls.add(given["timeout"])
        return await answer(token, method, given)

    monkeypatch.setattr(sandbox.sandbox.bot_api, "call", note_who_polls)
    async with contextlib.AsyncExitStack() as last:
        async with contextlib.AsyncExitStack() as first:
            await first.enter_async_context(one.polling(telegram_poll_s=20))
            await anna.writes("1")
            await anna.hears("№ 1 принято")
            await last.enter_async_context(other.polling(telegram_poll_s=30))
            await other.until_rows(WAITS_FOR_THE_LOCK)
            for text in ("2", "3"):
                await anna.writes(text)
            await anna.hears("№ 3 принято")
            assert polls == {"20"}
        await anna.writes("4")
        await anna.hears("№ 4 принято")
        await other.until_all_is_handled()
    assert await one.rows("SELECT text FROM appeals ORDER BY number") == [("1",), ("2",), ("3",), ("4",)]
    assert len(anna.heard()) == 4
    assert polls == {"20", "30"}


async def test_who_loses_the_lock_stops_at_once_and_leads_again_when_it_is_free(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    holders = """
    SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND application_name = 'kopilka-feedback-telegram' AND granted
    """
    async with feedback.polling(telegram_poll_lease_s=1):
        await anna.writes("1")
        await anna.hears("№ 1 принято")
        ((pid,),) = await feedback.rows(holders)
        await feedback.rows("SELECT pg_terminate_backend($1)", pid)

        async def another_session_leads() -> bool:
            return await feedback.rows(holders) not in ([], [(pid,)])

        await until(another_session_leads, what="the lock is taken anew")
        await anna.writes("2")
        await anna.hears("№ 2 принято")


async def test_a_fault_of_our_own_costs_its_update_alone_and_is_told(
    feedback: Feedback, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fault(turn: Turn, said: str) -> None:
        await appeal(turn, said)
        if said == "bad":
            raise ZeroDivisionError("anna's secret")

    appeal = dialogue.text
    monkeypatch.setattr(dialogue, "text", fault)
    anna = await sandbox.person()
    for text in ("before", "bad", "after"):
        await anna.writes(text)
    async with feedback.polling():
        await anna.hears("У нас что-то сломалось")
        await anna.hears(lambda text: "№" in text)
        await feedback.until_all_is_handled()
    assert await feedback.rows("SELECT text FROM appeals ORDER BY number") == [("before",), ("after",)]
    ((failure,),) = await feedback.rows("SELECT failure FROM telegram_updates WHERE failure IS NOT NULL")
    assert "ZeroDivisionError" in failure and "secret" not in failure


async def test_an_update_that_cannot_be_read_does_not_hold_up_the_next(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    sandbox.sandbox.world.updates.add("message", {"message_id": "new kind of id", "chat": 7})
    await anna.writes("after")
    async with feedback.polling():
        await anna.hears("№ 1 принято")
        await feedback.until_all_is_handled()
    assert await feedback.value("SELECT count(*) FROM telegram_updates") == 2


async def test_telegrams_limits_are_kept_to_and_nothing_is_lost(tmp_path: Path, migrated: Settings) -> None:
    limits = Limits(per_second=0, per_chat_per_second=2, chat_burst=1)
    async with telegram_sandbox(tmp_path / "slow", limits=limits) as sandbox:
        feedback = Feedback(migrated, sandbox)
        anna = await sandbox.person()
        for _ in range(4):
            await anna.writes("/balance")
        async with feedback.polling():

            async def all_answered() -> bool:
                return len(anna.heard()) == 4

            await until(all_answered, what="four answers")
            await feedback.until_all_is_handled()
        assert len(anna.heard()) == 4
        await feedback.close()


async def test_a_line_waits_for_the_one_before_it_in_its_chat_and_for_none_of_another(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna, oleg = await sandbox.person(), await sandbox.person("Олег", phone="+79990001122")
    for person in (anna, oleg):
        await person.writes("/help")
    async with feedback.polling():
        await feedback.until_all_is_handled()
        async with feedback.database.transaction() as tx:
            for person, text, delay_s in ((anna, "first", 2.0), (anna, "second", 0.0), (oleg, "other", 0.0)):
                body = '{"text": "' + text + '"}'
                due_at = tx.now + timedelta(seconds=delay_s)
                await tx.sql(
                    "INSERT INTO outgoing (chat_id, body, due_at) VALUES ($1, $2, $3)", person.id, body, due_at
                )
        await oleg.hears("other")
        assert "first" not in anna.heard()
        await anna.hears("second")
    assert anna.heard()[1:] == ["first", "second"]


async def test_while_telegram_is_away_lines_wait_and_updates_are_asked_for_again(
    tmp_path: Path, migrated: Settings
) -> None:
    async with contextlib.AsyncExitStack() as first:
        sandbox = await first.enter_async_context(telegram_sandbox(tmp_path / "away"))
        port = int(sandbox.url.rpartition(":")[2])
        anna = await sandbox.person()
        await anna.writes("/help")
        feedback = Feedback(migrated, sandbox)
        async with feedback.polling(telegram_poll_s=1):
            await anna.hears("/balance")
            await first.aclose()
            async with feedback.database.transaction() as tx:
                await tx.sql(
                    'INSERT INTO outgoing (chat_id, body, due_at) VALUES ($1, \'{"text": "news"}\', now())', anna.id
                )
            await feedback.until_rows("SELECT 1 FROM outgoing WHERE tries > 0")
            async with telegram_sandbox(tmp_path / "away", port=port) as again:
                anna = await again.person()
                await anna.hears("news")
                await anna.writes("/stop")
                await anna.hears("Этот чат не привязан к карте.")
        await feedback.close()


async def test_who_blocked_the_bot_gets_nothing_later_and_costs_nobody_else_anything(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna, oleg = await sandbox.person(), await sandbox.person("Олег", phone="+79990001122")
    for person in (anna, oleg):
        await person.writes("/help")
    await anna.blocks()
    async with feedback.polling():
        await oleg.hears("/balance")
        await feedback.until_all_is_handled()
        await anna.unblocks()
        await anna.writes("/stop")
        await anna.hears("Этот чат не привязан к карте.")
    assert len(anna.heard()) == 1


async def test_a_stop_does_not_wait_for_the_long_poll(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    async with asyncio.timeout(10):
        async with feedback.polling(telegram_poll_s=50):
            await anna.writes("/help")
            await anna.hears("/balance")


async def test_the_menu_is_told_to_telegram_in_both_languages(feedback: Feedback, sandbox: RunningSandbox) -> None:
    world = sandbox.sandbox.world

    async def has_menus() -> bool:
        return set(world.commands) == {"", "ru"}

    async with feedback.polling():
        await until(has_menus, what="the menus are set")
    assert [command["description"] for command in world.commands["ru"]] == [
        "Баллы на карте",
        "Что я умею",
        "Отвязать этот чат",
    ]
    assert [command["command"] for command in world.commands[""]] == ["balance", "help", "stop"]


async def test_a_refused_token_is_waited_out_and_ends_nothing(
    feedback: Feedback, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await sandbox.person()
    refusals: list[str] = []
    answer = sandbox.sandbox.bot_api.call

    async def refuse_at_first(token: str, method: str, given: dict[str, Any]) -> Any:
        if method == "getUpdates" and len(refusals) < 2:
            refusals.append(method)
            raise Refusal(401, "Unauthorized")
        return await answer(token, method, given)

    monkeypatch.setattr(sandbox.sandbox.bot_api, "call", refuse_at_first)
    async with feedback.polling():
        await anna.writes("/help")
        await anna.hears("/balance")
    assert len(refusals) == 2


async def test_a_press_is_kept_even_where_its_toast_comes_too_late(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    customer_id = await feedback.linked(anna)
    await anna.writes("/help")
    question = await feedback.asked(customer_id)
    press = await anna.presses(f"{question.message_key}:7")
    sandbox.sandbox.world.presses[press].answered = True
    async with feedback.polling():
        await feedback.until_said(ReviewLeft)
        await anna.hears("Что нам сделать лучше?")
