"""What the Bot API's methods take, checked as Telegram does: https://core.telegram.org/bots/api#available-methods."""

import json
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from deploy.sandbox.telegram.people import Json

TEXT_MAX_CHARS: Final = 4096
BUTTON_DATA_MAX_BYTES: Final = 64
BUTTONS_MAX: Final = 100

P = TypeVar("P", bound=BaseModel)


class Refusal(Exception):
    """What the Bot API answers instead: `{"ok": false, "error_code": …, "description": …}`."""

    def __init__(self, error_code: int, description: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(description)
        self.error_code = error_code
        self.description = description
        self.retry_after_s = retry_after_s


def bad_request(why: str) -> Refusal:
    """Telegram's wording of a 400."""
    return Refusal(400, f"Bad Request: {why}")


def _from_json(value: object) -> object:
    """In a form an object is JSON text, in a JSON body it is an object."""
    return json.loads(value) if isinstance(value, str) else value


class InlineButton(BaseModel):
    """InlineKeyboardButton, of the two kinds that Kopilka may use."""

    text: str = Field(min_length=1)
    callback_data: str | None = None
    url: str | None = None


class KeyboardButton(BaseModel):
    """KeyboardButton; pressing it sends its text, or the person's own contact."""

    text: str = Field(min_length=1)
    request_contact: bool = False


class Markup(BaseModel):
    """InlineKeyboardMarkup, ReplyKeyboardMarkup or ReplyKeyboardRemove."""

    inline_keyboard: list[list[InlineButton]] | None = None
    keyboard: list[list[KeyboardButton]] | None = None
    resize_keyboard: bool = False
    one_time_keyboard: bool = False
    input_field_placeholder: str | None = Field(None, max_length=64)
    remove_keyboard: bool = False

    @property
    def buttons(self) -> list[list[Json]]:
        """The inline rows; raises `Refusal` where Telegram would not show them."""
        rows = self.inline_keyboard or []
        if sum(map(len, rows)) > BUTTONS_MAX:
            raise bad_request("reply markup is too long")
        for button in (button for row in rows for button in row):
            if (button.callback_data is None) == (button.url is None):
                raise bad_request(
                    "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
                )
            if (
                button.callback_data is not None
                and not 1 <= len(button.callback_data.encode()) <= BUTTON_DATA_MAX_BYTES
            ):
                raise bad_request("BUTTON_DATA_INVALID")
        return [[button.model_dump(exclude_none=True) for button in row] for row in rows if row]

    @property
    def shown_keyboard(self) -> Json | None:
        """The keyboard to be shown; an empty object takes it away, None leaves what is there."""
        if self.keyboard is not None:
            return self.model_dump(include={"keyboard", "resize_keyboard", "one_time_keyboard"})
        return {} if self.remove_keyboard else None


ReplyMarkup = Annotated[Markup, BeforeValidator(_from_json)]


class Formatted(BaseModel):
    """Text; the sandbox shows plain text alone and says so."""

    text: str = ""
    parse_mode: str | None = None
    entities: Annotated[list[Json], BeforeValidator(_from_json)] = []

    @property
    def checked_text(self) -> str:
        if self.parse_mode or self.entities:
            raise bad_request("the sandbox shows plain text: send neither parse_mode nor entities")
        text = self.text.strip()
        if not text:
            raise bad_request("message text is empty")
        if len(text) > TEXT_MAX_CHARS:
            raise bad_request("message is too long")
        return text


class GetUpdates(BaseModel):
    """getUpdates; `timeout` in seconds."""

    offset: int = 0
    limit: int = 100
    timeout: int = Field(0, ge=0)
    allowed_updates: Annotated[list[str], BeforeValidator(_from_json)] | None = None


class SendMessage(Formatted):
    """sendMessage."""

    chat_id: int
    reply_markup: ReplyMarkup = Markup()


class EditMessageReplyMarkup(BaseModel):
    """editMessageReplyMarkup."""

    chat_id: int
    message_id: int
    reply_markup: ReplyMarkup = Markup()


class EditMessageText(EditMessageReplyMarkup, Formatted):
    """editMessageText."""


class SendChatAction(BaseModel):
    """sendChatAction."""

    chat_id: int
    action: str = Field(min_length=1)


class AnswerCallbackQuery(BaseModel):
    """answerCallbackQuery."""

    callback_query_id: str
    text: str | None = Field(None, max_length=200)
    show_alert: bool = False


class Command(BaseModel):
    """BotCommand: one line of the menu."""

    command: str = Field(pattern=r"^[a-z0-9_]{1,32}$")
    description: str = Field(min_length=1, max_length=256)


class MyCommands(BaseModel):
    """getMyCommands and deleteMyCommands."""

    language_code: str = ""


class SetMyCommands(MyCommands):
    """setMyCommands."""

    commands: Annotated[list[Command], BeforeValidator(_from_json), Field(max_length=100)]


class DeleteWebhook(BaseModel):
    """deleteWebhook."""

    drop_pending_updates: bool = False


def read(model: type[P], given: Json) -> P:
    """The parameters, unknown ones ignored as Telegram does; raises `Refusal` that names the first one at fault."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = fault["loc"][0] if fault["loc"] else "parameters"
        if name == "chat_id" and fault["type"] == "missing":
            raise bad_request("chat_id is empty") from None
        if name == "chat_id":
            raise bad_request("chat not found") from None
        if name == "reply_markup":
            raise bad_request("can't parse reply keyboard markup JSON object") from None
        raise bad_request(f"invalid {name}: {fault['msg']}") from None
