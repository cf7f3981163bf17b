"""The Bot API of the sandbox, spoken to by aiogram itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramForbiddenError,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
)

from deploy.sandbox.telegram.limits import Limits
from tests.telegram_sandbox import PersonAtPhone, RunningSandbox, telegram_sandbox


def bot_of(sandbox: RunningSandbox, token: str | None = None) -> Bot:
    session = AiohttpSession(api=TelegramAPIServer.from_base(sandbox.url))
    return Bot(token or sandbox.token, session=session)


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[RunningSandbox]:
    async with telegram_sandbox(tmp_path) as running:
        yield running


@pytest.fixture
async def bot(sandbox: RunningSandbox) -> AsyncIterator[Bot]:
    bot = bot_of(sandbox)
    yield bot
    await bot.session.close()


def rows(*labels: str) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(
        inline_keyboard=[[InlineKeyboardButton(text=label, callback_data=f"choose:{label}") for label in labels]]
    )


async def test_a_persons_message_comes_as_an_update_until_it_is_confirmed(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person("Анна")
    await anna.writes("/start now")

    (update,) = await bot.get_updates()
    assert await bot.get_updates() == [update]
    assert update.message is not None and update.message.from_user is not None
    assert (update.message.chat.id, update.message.chat.type) == (anna.id, "private")
    assert (update.message.from_user.first_name, update.message.from_user.language_code) == ("Анна", "ru")
    assert update.message.text == "/start now"
    assert update.message.entities is not None and update.message.entities[0].length == len("/start")
    assert await bot.get_updates(offset=update.update_id + 1) == []
    assert await bot.get_updates() == []


async def test_updates_come_in_order_within_the_limit_and_a_negative_offset_takes_the_last(
    bot: Bot, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    for number in range(5):
        await anna.writes(str(number))

    first = await bot.get_updates(limit=2)
    assert [update.message.text for update in first if update.message] == ["0", "1"]
    last = await bot.get_updates(offset=-2)
    assert [update.message.text for update in last if update.message] == ["3", "4"]
    assert (await bot.get_webhook_info()).pending_update_count == 2
    assert await bot.delete_webhook(drop_pending_updates=True)
    assert (await bot.get_webhook_info()).pending_update_count == 0


async def test_a_long_poll_ends_as_soon_as_something_happens(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    polling = asyncio.create_task(bot.get_updates(timeout=30))
    await asyncio.wait({polling}, timeout=0.2)
    assert not polling.done()
    await anna.writes("hello")
    (update,) = await asyncio.wait_for(polling, 5)
    assert update.message is not None and update.message.text == "hello"


async def test_a_long_poll_with_nothing_to_tell_ends_at_its_timeout(bot: Bot) -> None:
    assert await asyncio.wait_for(bot.get_updates(timeout=1), 5) == []


async def test_a_second_poll_ends_the_first_one_with_a_conflict(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    first = asyncio.create_task(bot.get_updates(timeout=30))
    await asyncio.wait({first}, timeout=0.2)
    second = asyncio.create_task(bot.get_updates(timeout=30))
    with pytest.raises(TelegramConflictError, match="terminated by other getUpdates request"):
        await asyncio.wait_for(first, 5)
    await anna.writes("hello")
    assert len(await asyncio.wait_for(second, 5)) == 1


async def test_only_the_allowed_kinds_of_update_are_made_from_then_on(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    await anna.writes("before")
    await bot.get_updates(allowed_updates=["my_chat_member"])
    await anna.writes("unwanted")
    await anna.blocks()
    kinds = [update.event_type for update in await bot.get_updates()]
    assert kinds == ["message", "my_chat_member"]


async def test_the_bot_answers_with_buttons_and_learns_which_was_pressed(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    await anna.writes("/start")
    sent = await bot.send_message(anna.id, "How was it?", reply_markup=rows("1", "2"))
    press = await anna.presses("choose:2")

    update = (await bot.get_updates())[-1]
    assert update.callback_query is not None and update.callback_query.message is not None
    assert update.callback_query.data == "choose:2"
    assert update.callback_query.message.message_id == sent.message_id
    assert await bot.answer_callback_query(update.callback_query.id, text="Thanks", show_alert=True)
    assert await anna.answer_to(press) | {"answered": True, "text": "Thanks", "alert": True} == await anna.answer_to(
        press
    )
    with pytest.raises(TelegramBadRequest, match="query is too old"):
        await bot.answer_callback_query(update.callback_query.id)


async def test_the_bot_edits_its_own_messages_only_and_not_to_the_same(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    await anna.writes("/start")
    sent = await bot.send_message(anna.id, "How was it?", reply_markup=rows("1", "2"))
    await bot.edit_message_reply_markup(chat_id=anna.id, message_id=sent.message_id, reply_markup=rows("2"))
    await bot.edit_message_text("Thanks", chat_id=anna.id, message_id=sent.message_id, reply_markup=rows("2"))
    message = (await anna.messages())[-1]
    assert (message["text"], message["buttons"]) == ("Thanks", [[{"text": "2", "callback_data": "choose:2"}]])
    assert message["edit_date"]
    for fault, call in {
        "message is not modified": bot.edit_message_reply_markup(
            chat_id=anna.id, message_id=sent.message_id, reply_markup=rows("2")
        ),
        "message to edit not found": bot.edit_message_text("x", chat_id=anna.id, message_id=99),
        "message can't be edited": bot.edit_message_text("x", chat_id=anna.id, message_id=1),
    }.items():
        with pytest.raises(TelegramBadRequest, match=fault):
            await call


async def test_a_contact_is_shared_by_the_keyboard_and_only_the_own_one_names_the_sender(
    bot: Bot, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person("Анна", phone="+79161234567")
    await anna.writes("/start")
    button = KeyboardButton(text="Share", request_contact=True)
    await bot.send_message(anna.id, "Hi", reply_markup=ReplyKeyboardMarkup(keyboard=[[button]], resize_keyboard=True))
    assert (await anna.chat())["keyboard"]["keyboard"] == [[{"text": "Share", "request_contact": True}]]

    await anna.shares_contact()
    await anna.shares_contact(phone="+79990001122", first_name="Oleg")
    own, foreign = [update.message for update in (await bot.get_updates())[-2:]]
    assert own is not None and own.contact is not None and foreign is not None and foreign.contact is not None
    assert (own.contact.phone_number, own.contact.user_id) == ("79161234567", anna.id)
    assert (foreign.contact.phone_number, foreign.contact.user_id) == ("79990001122", None)
    await bot.send_message(anna.id, "Thanks", reply_markup=ReplyKeyboardRemove())
    assert (await anna.chat())["keyboard"] is None


async def test_who_blocked_the_bot_gets_nothing_and_the_bot_is_told(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    await anna.writes("/start")
    await anna.blocks()
    with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
        await bot.send_message(anna.id, "Hi")
    await anna.unblocks()
    await bot.send_message(anna.id, "Hi")
    members = [update.my_chat_member for update in await bot.get_updates() if update.my_chat_member]
    assert [member.new_chat_member.status for member in members] == ["kicked", "member"]


async def test_nobody_can_be_written_to_before_they_write(bot: Bot, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    for chat_id in (anna.id, 1):
        with pytest.raises(TelegramBadRequest, match="chat not found"):
            await bot.send_message(chat_id, "Hi")


async def test_an_unknown_token_and_an_unknown_method_are_refused(sandbox: RunningSandbox) -> None:
    stranger = bot_of(sandbox, "8110:guessed")
    try:
        with pytest.raises(TelegramUnauthorizedError):
            await stranger.get_me()
    finally:
        await stranger.session.close()
    unknown = await sandbox.http.post(f"/bot{sandbox.token}/sendDice", json={})
    assert unknown.json() == {"ok": False, "error_code": 404, "description": "Not Found"}


@pytest.mark.parametrize(
    ("text", "markup", "fault"),
    [
        (" ", None, "message text is empty"),
        ("x" * 4097, None, "message is too long"),
        ("x", [[{"text": "1", "callback_data": "d" * 65}]], "BUTTON_DATA_INVALID"),
        ("x", [[{"text": "1"}]], "Text buttons are unallowed in the inline keyboard"),
    ],
)
async def test_what_telegram_would_not_show_is_refused(
    sandbox: RunningSandbox, text: str, markup: list[list[dict[str, str]]] | None, fault: str
) -> None:
    anna = await sandbox.person()
    await anna.writes("/start")
    body: dict[str, object] = {"chat_id": anna.id, "text": text}
    if markup is not None:
        body["reply_markup"] = {"inline_keyboard": markup}
    answer = await sandbox.http.post(f"/bot{sandbox.token}/sendMessage", json=body)
    assert answer.status_code == 400
    assert fault in answer.json()["description"]


async def test_the_three_forms_of_a_request_mean_the_same(sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    await anna.writes("/start")
    keyboard = {"inline_keyboard": [[{"text": "Да", "callback_data": "yes"}]]}
    url = f"/bot{sandbox.token}/SENDMESSAGE"
    fields = {"chat_id": str(anna.id), "text": "Как вам?", "reply_markup": json.dumps(keyboard)}
    await sandbox.http.post(url, json={"chat_id": anna.id, "text": "Как вам?", "reply_markup": keyboard})
    await sandbox.http.post(url, data=fields)
    await sandbox.http.post(url, files={name: (None, value) for name, value in fields.items()})
    await sandbox.http.get(url, params=fields)
    said = [(message["text"], message["buttons"]) for message in await anna.messages() if message["from_bot"]]
    assert said == [("Как вам?", keyboard["inline_keyboard"])] * 4


async def test_whoever_writes_too_fast_is_told_when_to_try_again(tmp_path: Path) -> None:
    limits = Limits(per_second=0, per_chat_per_second=0.5, chat_burst=3)
    async with telegram_sandbox(tmp_path, limits=limits) as sandbox:
        anna, oleg = await sandbox.person(), await sandbox.person("Олег", phone="+79160000000")
        for person in (anna, oleg):
            await person.writes("/start")
        bot = bot_of(sandbox)
        for _ in range(3):
            await bot.send_message(anna.id, "Hi")
        with pytest.raises(TelegramRetryAfter) as told:
            await bot.send_message(anna.id, "Hi")
        assert told.value.retry_after == 2
        await bot.send_message(oleg.id, "Hi")
        await sandbox.http.put("/sandbox/limits", json={"per_second": 1, "per_chat_per_second": 0})
        await bot.send_message(anna.id, "Hi")
        with pytest.raises(TelegramRetryAfter):
            await bot.send_message(oleg.id, "Hi")
        await bot.session.close()


async def test_the_menu_is_kept_by_language(bot: Bot, sandbox: RunningSandbox) -> None:
    await bot.set_my_commands([BotCommand(command="balance", description="Points")])
    await bot.set_my_commands([BotCommand(command="balance", description="Баллы")], language_code="ru")
    menu = (await sandbox.http.get("/sandbox/commands", params={"language_code": "ru"})).json()
    assert menu == [{"command": "balance", "description": "Баллы"}]
    other = (await sandbox.http.get("/sandbox/commands", params={"language_code": "de"})).json()
    assert other == [{"command": "balance", "description": "Points"}]
    assert await bot.send_chat_action((await started(sandbox)).id, "typing")


async def started(sandbox: RunningSandbox) -> PersonAtPhone:
    person = await sandbox.person()
    await person.writes("/start")
    return person
