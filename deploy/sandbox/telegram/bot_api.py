"""Telegram's Bot API for the one bot of the sandbox: the methods that Kopilka uses, with Telegram's own errors."""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from deploy.sandbox.telegram import parameters as take
from deploy.sandbox.telegram.bell import Bell
from deploy.sandbox.telegram.forms import bot_form, message_form
from deploy.sandbox.telegram.limits import Flood
from deploy.sandbox.telegram.parameters import Refusal, bad_request, read
from deploy.sandbox.telegram.people import Chat, Json, Message
from deploy.sandbox.telegram.world import World

POLL_MAX_S: Final = 50
CONFLICT: Final = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
TOO_OLD: Final = "query is too old and response timeout expired or query ID is invalid"
NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)


class BotApi:
    """One bot. Every method takes the parameters as they came and gives Telegram's `result`; raises `Refusal`."""

    def __init__(self, token: str, world: World, flood: Flood, changes: Bell) -> None:
        self.token = token
        self.world = world
        self.flood = flood
        self.changes = changes
        self._poll: object | None = None
        self.methods: dict[str, Callable[[Json], Awaitable[Any]]] = {
            "getme": self.get_me,
            "getupdates": self.get_updates,
            "getwebhookinfo": self.get_webhook_info,
            "deletewebhook": self.delete_webhook,
            "setmycommands": self.set_my_commands,
            "getmycommands": self.get_my_commands,
            "deletemycommands": self.delete_my_commands,
            "sendmessage": self.send_message,
            "sendchataction": self.send_chat_action,
            "editmessagetext": self.edit_message_text,
            "editmessagereplymarkup": self.edit_message_reply_markup,
            "answercallbackquery": self.answer_callback_query,
        }

    async def call(self, token: str, method: str, given: Json) -> Any:
        """Do what is asked for; method names are told apart without regard to case."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise Refusal(401, "Unauthorized")
        handle = self.methods.get(method.lower())
        if handle is None:
            raise Refusal(404, "Not Found")
        return await handle(given)

    async def get_me(self, _: Json) -> Json:
        return {
            **bot_form(self.world.bot_id),
            "can_join_groups": False,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    async def get_updates(self, given: Json) -> list[Json]:
        """Long polling. A second call ends the first one with 409, as Telegram does."""
        asked = read(take.GetUpdates, given)
        updates = self.world.updates
        mine = self._poll = object()
        self.changes.ring()
        if asked.allowed_updates is not None:
            updates.allow(asked.allowed_updates)
        if asked.offset:
            updates.confirm(asked.offset)
        deadline = time.monotonic() + min(asked.timeout, POLL_MAX_S)
        while True:
            rung = self.changes.next()
            pending = updates.pending(min(max(asked.limit, 1), 100))
            left_s = deadline - time.monotonic()
            if pending or left_s <= 0 or self.changes.closed:
                return pending
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(rung.wait(), left_s)
            if self._poll is not mine:
                raise Refusal(409, CONFLICT)

    async def get_webhook_info(self, _: Json) -> Json:
        return {"url": "", "has_custom_certificate": False, "pending_update_count": len(self.world.updates)}

    async def delete_webhook(self, given: Json) -> bool:
        if read(take.DeleteWebhook, given).drop_pending_updates:
            self.world.updates.drop_all()
        return True

    async def set_my_commands(self, given: Json) -> bool:
        asked = read(take.SetMyCommands, given)
        self.world.set_commands(asked.language_code, [each.model_dump() for each in asked.commands])
        return True

    async def get_my_commands(self, given: Json) -> list[Json]:
        return self.world.commands.get(read(take.MyCommands, given).language_code, [])

    async def delete_my_commands(self, given: Json) -> bool:
        self.world.set_commands(read(take.MyCommands, given).language_code, [])
        return True

    async def send_message(self, given: Json) -> Json:
        asked = read(take.SendMessage, given)
        chat = self._writable(asked.chat_id)
        text, buttons = asked.checked_text, asked.reply_markup.buttons
        self._count(chat)
        message = self.world.bot_writes(chat, text, buttons=buttons, keyboard=asked.reply_markup.shown_keyboard)
        return message_form(chat, message, self.world.bot_id)

    async def send_chat_action(self, given: Json) -> bool:
        asked = read(take.SendChatAction, given)
        self.world.bot_acts(self._writable(asked.chat_id), asked.action)
        return True

    async def edit_message_text(self, given: Json) -> Json:
        asked = read(take.EditMessageText, given)
        return self._edit(asked, asked.checked_text)

    async def edit_message_reply_markup(self, given: Json) -> Json:
        return self._edit(read(take.EditMessageReplyMarkup, given), None)

    async def answer_callback_query(self, given: Json) -> bool:
        asked = read(take.AnswerCallbackQuery, given)
        if not self.world.bot_answers(asked.callback_query_id, asked.text or None, alert=asked.show_alert):
            raise bad_request(TOO_OLD)
        return True

    def _edit(self, asked: take.EditMessageReplyMarkup, text: str | None) -> Json:
        chat = self._writable(asked.chat_id)
        message = chat.messages.get(asked.message_id)
        if message is None:
            raise bad_request("message to edit not found")
        if not message.from_bot:
            raise bad_request("message can't be edited")
        buttons = asked.reply_markup.buttons
        if _is_same(message, text, buttons):
            raise bad_request(NOT_MODIFIED)
        self._count(chat)
        self.world.bot_edits(chat, message, text=text, buttons=buttons)
        return message_form(chat, message, self.world.bot_id)

    def _writable(self, chat_id: int) -> Chat:
        chat = self.world.reachable(chat_id)
        if chat is None:
            raise bad_request("chat not found")
        if chat.blocked:
            raise Refusal(403, "Forbidden: bot was blocked by the user")
        return chat

    def _count(self, chat: Chat) -> None:
        retry_after_s = self.flood.retry_after_s(chat.person.id)
        if retry_after_s is not None:
            raise Refusal(429, f"Too Many Requests: retry after {retry_after_s}", retry_after_s=retry_after_s)


def _is_same(message: Message, text: str | None, buttons: list[list[Json]]) -> bool:
    return (text is None or text == message.text) and buttons == message.buttons
