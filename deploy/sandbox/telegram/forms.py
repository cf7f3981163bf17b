"""How the Bot API writes persons, chats and messages: https://core.telegram.org/bots/api#available-types."""

import re
from typing import Final

from deploy.sandbox.telegram.people import Chat, Json, Message, Person

COMMAND: Final = re.compile(r"^/[A-Za-z0-9_]{1,32}(@\w+)?")


def bot_form(bot_id: int) -> Json:
    """User: the bot."""
    return {"id": bot_id, "is_bot": True, "first_name": "Kopilka", "username": "kopilka_sandbox_bot"}


def user_form(person: Person) -> Json:
    """User: the person."""
    form: Json = {"id": person.id, "is_bot": False, "first_name": person.first_name}
    if person.last_name is not None:
        form["last_name"] = person.last_name
    return {**form, "language_code": person.language_code}


def chat_form(person: Person) -> Json:
    """Chat: the private one with the person."""
    form: Json = {"id": person.id, "type": "private", "first_name": person.first_name}
    if person.last_name is not None:
        form["last_name"] = person.last_name
    return form


def message_form(chat: Chat, message: Message, bot_id: int) -> Json:
    """Message."""
    form: Json = {
        "message_id": message.message_id,
        "from": bot_form(bot_id) if message.from_bot else user_form(chat.person),
        "chat": chat_form(chat.person),
        "date": message.date,
    }
    if message.edit_date is not None:
        form["edit_date"] = message.edit_date
    if message.text is not None:
        form["text"] = message.text
        command = COMMAND.match(message.text)
        if command is not None:
            form["entities"] = [{"type": "bot_command", "offset": 0, "length": command.end()}]
    if message.contact is not None:
        form["contact"] = message.contact
    if message.buttons:
        form["reply_markup"] = {"inline_keyboard": message.buttons}
    return form
