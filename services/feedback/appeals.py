"""Appeals: what people write beside the reviews, and the answers of the people who work for the chain."""

from datetime import timedelta
from typing import Final, cast
from uuid import UUID

from chassis.field_faults import N_
from chassis.ids import new_id
from chassis.problems import Problem
from chassis.transaction import Transaction
from contracts.feedback import AppealAnswered, AppealOpened
from contracts.fields import Language
from contracts.records import Record
from services.feedback import outgoing
from services.feedback.chats import Turn, too_long
from services.feedback.texts import words

TEXT_MAX_CHARS: Final = 4096
"""As much as one message of Telegram's holds."""
ANSWER_MAX_CHARS: Final = 3500
"""With the line above it, it fits into one message."""
OPEN_A_DAY_MAX: Final = 20
"""More of one chat are not taken until some are answered: nobody fills the table by a script."""

COUNT: Final = """
SELECT count(*) FROM appeals WHERE chat_id = $1 AND opened_at > $2 AND answered_at IS NULL
"""
OPEN: Final = """
INSERT INTO appeals (id, customer_id, chat_id, text, opened_at) VALUES ($1, $2, $3, $4, $5) RETURNING number
"""
ADOPT: Final = """
UPDATE appeals SET customer_id = $2 WHERE chat_id = $1 AND customer_id IS NULL RETURNING id, opened_at, answered_at
"""
OWNER: Final = """
SELECT FROM customers WHERE customer_id = (SELECT customer_id FROM appeals WHERE id = $1) FOR UPDATE
"""
APPEAL: Final = "SELECT id, number, customer_id, chat_id, answered_at FROM appeals WHERE id = $1 FOR UPDATE"
LANGUAGE: Final = """
SELECT coalesce(chats.language, customers.language, 'ru')
FROM (SELECT $1::bigint AS chat_id, $2::uuid AS customer_id) AS appeal
    LEFT JOIN chats USING (chat_id) LEFT JOIN customers USING (customer_id)
"""
ANSWER: Final = "UPDATE appeals SET answer = $2, answered_at = $3, delivery = 'waiting' WHERE id = $1"


async def open_appeal(turn: Turn, text: str) -> None:
    """Keep the text and tell its number. Of a chat that is not linked it is announced when it becomes somebody's."""
    texts = turn.words
    if len(text) > TEXT_MAX_CHARS:
        await turn.reply(too_long(turn, TEXT_MAX_CHARS))
        return
    ((waiting,),) = await turn.tx.sql(COUNT, turn.chat_id, turn.tx.now - timedelta(days=1))
    if waiting >= OPEN_A_DAY_MAX:
        await turn.reply(
            texts.gettext("Many of your messages are waiting for an answer already: our team will get to them.")
        )
        return
    appeal_id = new_id()
    ((number,),) = await turn.tx.sql(OPEN, appeal_id, turn.customer_id, turn.chat_id, text, turn.tx.now)
    if turn.customer_id is not None:
        turn.tx.say(AppealOpened(customer_id=turn.customer_id, appeal_id=appeal_id, opened_at=turn.tx.now))
    taken = texts.gettext("Your message No. {number} is with our team. The answer will come here.")
    await turn.reply(taken.format(number=number))


async def adopt(tx: Transaction, chat_id: int, customer_id: UUID, *, cause: Record) -> None:
    """The chat belongs to the customer now, and so do the appeals that were written before; the chat is locked."""
    for appeal in sorted(await tx.sql(ADOPT, chat_id, customer_id), key=lambda appeal: appeal.id):
        tx.say(AppealOpened(customer_id=customer_id, appeal_id=appeal.id, opened_at=appeal.opened_at), cause=cause)
        if appeal.answered_at is not None:
            tx.say(
                AppealAnswered(customer_id=customer_id, appeal_id=appeal.id, answered_at=appeal.answered_at),
                cause=cause,
            )


async def answer_appeal(tx: Transaction, appeal_id: UUID, text: str) -> None:
    """Send the answer into the chat that the appeal came from. Raises `Problem` 404, 409."""
    await tx.sql(OWNER, appeal_id)
    appeal = next(iter(await tx.sql(APPEAL, appeal_id)), None)
    if appeal is None:
        raise Problem(404, "appeal_not_found", N_("There is no appeal with this id; GET /appeals lists them."))
    if appeal.answered_at is not None:
        raise Problem(409, "appeal_answered", N_("This appeal has its answer already."))
    if appeal.chat_id is None:
        raise Problem(409, "appeal_erased", N_("This person's data was erased: there is no chat to answer in."))
    await tx.sql(ANSWER, appeal_id, text, tx.now)
    ((language,),) = await tx.sql(LANGUAGE, appeal.chat_id, appeal.customer_id)
    heading = words(cast(Language, language)).gettext("Answer to your message No. {number}:")
    await outgoing.write(tx, appeal.chat_id, f"{heading.format(number=appeal.number)}\n\n{text}", appeal_id=appeal_id)
    if appeal.customer_id is not None:
        tx.say(AppealAnswered(customer_id=appeal.customer_id, appeal_id=appeal_id, answered_at=tx.now))
