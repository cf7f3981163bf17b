"""The sandbox's little Telegram, looked at by the Bot API from one end and by the persons from the other.

Everything is in memory and synchronous; each change is told to `on_change` as one fact, a JSON object with its
`kind`, and from the facts alone `restore` builds the same state again.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from deploy.sandbox.telegram.forms import bot_form, chat_form, message_form, user_form
from deploy.sandbox.telegram.people import Chat, Json, Message, Person, id_of_phone
from deploy.sandbox.telegram.updates import Updates

PRESS_KEPT_S: Final = 600


class Blocked(Exception):
    """The person has blocked the bot, and can neither write nor press before unblocking it."""


class NoSuchButton(Exception):
    """The message does not show such a button, or is not there."""


@dataclass
class Press:
    """A button that a person pressed, and what the bot answered: words shown over the chat."""

    id: str
    chat_id: int
    message_id: int
    data: str
    pressed_at: float
    answered: bool = False
    text: str | None = None
    alert: bool = False


class World:
    """Persons, chats and the updates for the bot."""

    def __init__(self, bot_id: int, *, on_change: Callable[[Json], None]) -> None:
        self.bot_id = bot_id
        self.on_change = on_change
        self.chats: dict[int, Chat] = {}
        self.updates = Updates(on_change)
        self.commands: dict[str, list[Json]] = {}
        """The bot's menu by language code; "" is for everybody else."""
        self.presses: dict[str, Press] = {}
        self._press_ids = itertools.count(time.time_ns())

    # What persons do.

    def add_person(
        self, first_name: str, phone: str, *, last_name: str | None = None, language_code: str = "ru"
    ) -> tuple[Chat, bool]:
        """The chat of the person with this phone, and whether it is a new one."""
        known = next((chat for chat in self.chats.values() if chat.person.phone == phone), None)
        if known is not None:
            return known, False
        person = Person(
            id=id_of_phone(phone, self.chats),
            first_name=first_name,
            last_name=last_name,
            phone=phone,
            language_code=language_code,
        )
        chat = self.chats[person.id] = Chat(person=person)
        self.on_change(_chat_fact(chat))
        return chat, True

    def write(self, chat: Chat, text: str) -> Message:
        """The person writes; the first message starts the chat. Raises `Blocked`."""
        return self._from_person(chat, text=text)

    def share_contact(self, chat: Chat, contact: Json) -> Message:
        """The person sends a contact: the own one, or any card of the address book. Raises `Blocked`."""
        return self._from_person(chat, contact=contact)

    def press(self, chat: Chat, message_id: int, data: str) -> Press:
        """The person presses an inline button. Raises `Blocked`, `NoSuchButton`."""
        if chat.blocked:
            raise Blocked
        message = chat.messages.get(message_id)
        if message is None or not message.shows(data):
            raise NoSuchButton
        self._forget_old_presses()
        press = Press(str(next(self._press_ids)), chat.person.id, message_id, data, time.time())
        self.presses[press.id] = press
        self.updates.add(
            "callback_query",
            {
                "id": press.id,
                "from": user_form(chat.person),
                "message": message_form(chat, message, self.bot_id),
                "chat_instance": str(chat.person.id),
                "data": data,
            },
        )
        return press

    def block(self, chat: Chat, blocked: bool) -> None:
        """Block the bot or unblock it; a bot that was ever written to learns it by `my_chat_member`."""
        if chat.blocked == blocked:
            return
        chat.blocked = blocked
        self.on_change(_chat_fact(chat))
        if not chat.started:
            return
        bot = bot_form(self.bot_id)
        banned, member = {"user": bot, "status": "kicked", "until_date": 0}, {"user": bot, "status": "member"}
        self.updates.add(
            "my_chat_member",
            {
                "chat": chat_form(chat.person),
                "from": user_form(chat.person),
                "date": int(time.time()),
                "old_chat_member": member if blocked else banned,
                "new_chat_member": banned if blocked else member,
            },
        )

    def read(self, chat: Chat) -> None:
        """The person has seen everything."""
        if chat.read_up_to != chat.last_message_id:
            chat.read_up_to = chat.last_message_id
            self.on_change(_chat_fact(chat))

    # What the bot does.

    def reachable(self, chat_id: int) -> Chat | None:
        """The chat that the bot knows by this id: somebody has to write first."""
        chat = self.chats.get(chat_id)
        return chat if chat is not None and chat.started else None

    def bot_writes(self, chat: Chat, text: str, *, buttons: list[list[Json]], keyboard: Json | None) -> Message:
        """`keyboard` is a ReplyKeyboardMarkup to be shown, an empty object to take it away, None to leave it."""
        if keyboard is not None:
            chat.keyboard = keyboard or None
        return self._message(chat, from_bot=True, text=text, buttons=buttons)

    def bot_edits(self, chat: Chat, message: Message, *, text: str | None, buttons: list[list[Json]]) -> None:
        """Change a message of the bot's; `text` None leaves the text."""
        message.text = message.text if text is None else text
        message.buttons = buttons
        message.edit_date = int(time.time())
        self.on_change(_message_fact(chat, message))

    def bot_answers(self, press_id: str, text: str | None, *, alert: bool) -> bool:
        """Show words over the chat; False where the press is unknown, too old or answered already."""
        self._forget_old_presses()
        press = self.presses.get(press_id)
        if press is None or press.answered:
            return False
        press.answered, press.text, press.alert = True, text, alert
        self.on_change({"kind": "toast", "chat": press.chat_id, "text": text, "alert": alert})
        return True

    def bot_acts(self, chat: Chat, action: str) -> None:
        """The bot is seen typing."""
        self.on_change({"kind": "action", "chat": chat.person.id, "action": action})

    def set_commands(self, language_code: str, commands: list[Json]) -> None:
        """The bot's menu for a language."""
        self.commands[language_code] = commands
        self.on_change({"kind": "commands", "language_code": language_code, "commands": commands})

    # Facts.

    def facts(self) -> Iterator[Json]:
        """The whole state as the fewest facts."""
        for language_code, commands in self.commands.items():
            yield {"kind": "commands", "language_code": language_code, "commands": commands}
        for chat in self.chats.values():
            yield _chat_fact(chat)
            for message in chat.messages.values():
                yield _message_fact(chat, message)
        yield from self.updates.facts()

    def restore(self, facts: Iterable[Json]) -> None:
        """Take the facts of an earlier life."""
        for fact in facts:
            match fact["kind"]:
                case "chat":
                    chat = Chat.model_validate(fact["chat"])
                    known = self.chats.get(chat.person.id)
                    chat.messages = known.messages if known is not None else {}
                    self.chats[chat.person.id] = chat
                case "message":
                    self.chats[fact["chat"]].keep(Message.model_validate(fact["message"]))
                case "commands":
                    self.commands[fact["language_code"]] = fact["commands"]
                case _:
                    self.updates.restore(fact)

    def _from_person(self, chat: Chat, **content: Any) -> Message:
        if chat.blocked:
            raise Blocked
        chat.started = True
        if chat.keyboard is not None and chat.keyboard.get("one_time_keyboard"):
            chat.keyboard = None
        message = self._message(chat, from_bot=False, **content)
        self.updates.add("message", message_form(chat, message, self.bot_id))
        return message

    def _message(self, chat: Chat, **content: Any) -> Message:
        chat.last_message_id += 1
        message = Message(message_id=chat.last_message_id, date=int(time.time()), **content)
        chat.keep(message)
        self.on_change(_message_fact(chat, message))
        self.on_change(_chat_fact(chat))
        return message

    def _forget_old_presses(self) -> None:
        for press in list(self.presses.values()):
            if press.pressed_at > time.time() - PRESS_KEPT_S:
                return
            del self.presses[press.id]


def _chat_fact(chat: Chat) -> Json:
    return {"kind": "chat", "chat": chat.model_dump(exclude_none=True)}


def _message_fact(chat: Chat, message: Message) -> Json:
    return {"kind": "message", "chat": chat.person.id, "message": message.model_dump(exclude_none=True)}
