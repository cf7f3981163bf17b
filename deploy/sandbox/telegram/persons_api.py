"""`/sandbox/…`: play persons from a script, a test or the page."""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import phonenumbers
from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, Field, StringConstraints

from chassis.field_faults import N_
from chassis.problems import Problem
from deploy.sandbox.telegram.limits import Flood, Limits
from deploy.sandbox.telegram.parameters import TEXT_MAX_CHARS
from deploy.sandbox.telegram.people import Chat, Json, Message
from deploy.sandbox.telegram.world import Blocked, NoSuchButton, World

T = TypeVar("T")
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
PersonId = Annotated[int, Path(description="The person's id, which is the chat's as well.")]


class NewPerson(BaseModel):
    """Somebody with Telegram on a phone."""

    first_name: Name
    last_name: Name | None = None
    phone: str = Field(max_length=32, description="In E.164, or as one writes it in Russia.", examples=["+79161234567"])
    language_code: Literal["ru", "en"] = "ru"


class ChatView(BaseModel):
    """A chat as the list shows it."""

    id: int
    first_name: str
    last_name: str | None
    phone: str
    language_code: str
    started: bool
    blocked: bool
    keyboard: Json | None
    unread: int
    last_message: Message | None


class Text(BaseModel):
    """What the person types."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_MAX_CHARS)]


class Pressing(BaseModel):
    """Which inline button is pressed."""

    data: str = Field(description="The button's callback_data.")
    message_id: int | None = Field(None, description="The message it stands under; by default the newest that has it.")


class ContactCard(BaseModel):
    """Which contact is shared: nothing given, the person's own."""

    phone: str | None = None
    first_name: Name | None = None
    user_id: int | None = Field(None, description="Telegram id of somebody else's card; none for one without Telegram.")


class PressView(BaseModel):
    """A press and what the bot answered to it."""

    id: str
    message_id: int
    data: str
    answered: bool
    text: str | None
    alert: bool


def view(chat: Chat) -> ChatView:
    """The chat for the list."""
    return ChatView(
        **chat.person.model_dump(),
        started=chat.started,
        blocked=chat.blocked,
        keyboard=chat.keyboard,
        unread=chat.unread,
        last_message=chat.last_message,
    )


def persons_router(world: World, flood: Flood) -> APIRouter:
    """The API; problems are RFC 9457 documents."""
    router = APIRouter(prefix="/sandbox")

    def chat_of(person_id: int) -> Chat:
        chat = world.chats.get(person_id)
        if chat is None:
            raise Problem(404, "person_not_found", N_("Nobody here has this id; GET /sandbox/persons lists everybody."))
        return chat

    @router.post("/persons", status_code=201)
    async def add_person(person: NewPerson, response: Response) -> ChatView:
        """Create a person; 200 and the one that is there where the phone is known already."""
        chat, is_new = world.add_person(
            person.first_name,
            _e164(person.phone),
            last_name=person.last_name,
            language_code=person.language_code,
        )
        response.status_code = 201 if is_new else 200
        return view(chat)

    @router.get("/persons")
    async def persons(
        search: Annotated[str, Query(max_length=100)] = "", limit: Annotated[int, Query(ge=1, le=5000)] = 500
    ) -> list[ChatView]:
        """Who was written to last comes first. `search` looks in names and phones."""
        found = [chat for chat in world.chats.values() if _matches(chat, search.lower())]
        found.sort(key=lambda chat: chat.last_message.date if chat.last_message else 0, reverse=True)
        return [view(chat) for chat in found[:limit]]

    @router.get("/persons/{person_id}")
    async def person(person_id: PersonId) -> ChatView:
        return view(chat_of(person_id))

    @router.get("/persons/{person_id}/messages")
    async def messages(person_id: PersonId, after: Annotated[int, Query(ge=0)] = 0) -> list[Message]:
        """Those with a larger message_id than `after`, the oldest first."""
        return [message for message in chat_of(person_id).messages.values() if message.message_id > after]

    @router.post("/persons/{person_id}/text", status_code=201)
    async def write(person_id: PersonId, typed: Text) -> Message:
        return _unblocked(lambda: world.write(chat_of(person_id), typed.text))

    @router.post("/persons/{person_id}/contact", status_code=201)
    async def share_contact(person_id: PersonId, card: Annotated[ContactCard | None, Body()] = None) -> Message:
        chat = chat_of(person_id)
        return _unblocked(lambda: world.share_contact(chat, _contact(chat, card)))

    @router.post("/persons/{person_id}/press", status_code=201)
    async def press(person_id: PersonId, pressing: Pressing) -> PressView:
        chat = chat_of(person_id)
        try:
            pressed = _unblocked(lambda: world.press(chat, _message_with(chat, pressing), pressing.data))
        except NoSuchButton:
            raise Problem(
                409, "no_such_button", N_("No message of this chat shows a button with this data."), field="data"
            ) from None
        return PressView(**vars(pressed))

    @router.get("/persons/{person_id}/presses")
    async def presses(person_id: PersonId) -> list[PressView]:
        """What was pressed in the last ten minutes, the oldest first."""
        return [PressView(**vars(each)) for each in world.presses.values() if each.chat_id == person_id]

    @router.post("/persons/{person_id}/block")
    async def block(person_id: PersonId) -> ChatView:
        world.block(chat_of(person_id), True)
        return view(chat_of(person_id))

    @router.post("/persons/{person_id}/unblock")
    async def unblock(person_id: PersonId) -> ChatView:
        world.block(chat_of(person_id), False)
        return view(chat_of(person_id))

    @router.post("/persons/{person_id}/read")
    async def read(person_id: PersonId) -> ChatView:
        """The person has seen everything."""
        world.read(chat_of(person_id))
        return view(chat_of(person_id))

    @router.get("/commands")
    async def commands(language_code: str = "") -> list[Json]:
        """The bot's menu."""
        return world.commands.get(language_code) or world.commands.get("", [])

    @router.get("/limits")
    async def limits() -> Limits:
        return flood.limits

    @router.put("/limits")
    async def change_limits(limits: Limits) -> Limits:
        """How fast the bot may write from now on, until the sandbox is started anew."""
        flood.change(limits)
        return limits

    return router


def _e164(phone: str) -> str:
    try:
        number = phonenumbers.parse(phone, "RU")
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise Problem(422, "bad_phone", N_("This is no telephone number; write it like +79161234567."), field="phone")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _contact(chat: Chat, card: ContactCard | None) -> Json:
    """Telegram's Contact. Its clients leave out the plus of the number more often than not."""
    if card is None or card.phone is None:
        person = chat.person
        own: Json = {"phone_number": person.phone.lstrip("+"), "first_name": person.first_name, "user_id": person.id}
        return own | ({"last_name": person.last_name} if person.last_name is not None else {})
    other: Json = {"phone_number": card.phone.lstrip("+"), "first_name": card.first_name or card.phone}
    return other | ({"user_id": card.user_id} if card.user_id is not None else {})


def _message_with(chat: Chat, pressing: Pressing) -> int:
    if pressing.message_id is not None:
        return pressing.message_id
    return max((each.message_id for each in chat.messages.values() if each.shows(pressing.data)), default=0)


def _matches(chat: Chat, search: str) -> bool:
    person = chat.person
    return search in f"{person.first_name} {person.last_name or ''} {person.phone}".lower()


def _unblocked(act: Callable[[], T]) -> T:
    try:
        return act()
    except Blocked:
        raise Problem(409, "bot_is_blocked", N_("This person has blocked the bot; POST …/unblock first.")) from None
