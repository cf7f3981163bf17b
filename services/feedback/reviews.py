"""Reviews: the score that was pressed, which may be changed until there are words to it, and the words."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from chassis.ids import new_id
from contracts.feedback import ReviewCommented, ReviewLeft
from services.feedback import outgoing
from services.feedback.chats import Turn, await_comment, too_long
from services.feedback.questions import SCORE_ROWS, button_data

COMMENT_WITHIN: Final = timedelta(hours=1)
COMMENT_MAX_CHARS: Final = 1000
BEST_DETRACTOR: Final = 6
WORST_PROMOTER: Final = 9

QUESTION: Final = "SELECT id, receipt_id, store_id FROM questions WHERE id = $1 AND customer_id = $2"
REVIEW: Final = "SELECT id, score, commented_at FROM reviews WHERE question_id = $1 FOR UPDATE"
LEAVE: Final = """
INSERT INTO reviews (id, question_id, customer_id, receipt_id, store_id, score, left_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
CHANGE: Final = "UPDATE reviews SET score = $2, left_at = $3 WHERE id = $1"
COMMENT: Final = """
UPDATE reviews SET comment = $2, commented_at = $3
WHERE id = $1 AND customer_id = $4 AND commented_at IS NULL
RETURNING id
"""


async def press_score(turn: Turn, question_id: UUID, score: int, message_id: int) -> None:
    """A button under the question was pressed: the score is kept, shown under the question, and words are asked for."""
    texts = turn.words
    question = await _question(turn, question_id)
    if question is None:
        turn.toast = texts.gettext("This question is not for you.")
        return
    review = next(iter(await turn.tx.sql(REVIEW, question_id)), None)
    if review is not None and review.commented_at is not None:
        turn.toast = texts.gettext("We have your answer and your words already: thank you!")
        return
    review_id = review.id if review is not None else new_id()
    if review is None or review.score != score:
        await _keep_score(turn, review_id, question, score, is_first=review is None)
    turn.toast = texts.gettext("Your answer: {score}").format(score=score)
    await outgoing.show_buttons(turn.tx, turn.chat_id, message_id, _buttons(question_id, chosen=score))
    if turn.comment_on != review_id:
        await turn.reply(_thanks(turn, score))
    await await_comment(turn, review_id, turn.tx.now + COMMENT_WITHIN)


async def comment(turn: Turn, review_id: UUID, text: str) -> bool:
    """Add the words to the review; False where they do not belong to it after all, and are something else."""
    if len(text) > COMMENT_MAX_CHARS:
        await turn.reply(too_long(turn, COMMENT_MAX_CHARS))
        return True
    await await_comment(turn, None, None)
    if turn.customer_id is None or not await turn.tx.sql(COMMENT, review_id, text, turn.tx.now, turn.customer_id):
        return False
    turn.tx.say(ReviewCommented(customer_id=turn.customer_id, review_id=review_id, commented_at=turn.tx.now))
    await turn.reply(turn.words.gettext("Thank you, we have noted it."))
    return True


async def _question(turn: Turn, question_id: UUID) -> Any:
    """The question, if it was asked of the customer whose chat this is."""
    if turn.customer_id is None:
        return None
    return next(iter(await turn.tx.sql(QUESTION, question_id, turn.customer_id)), None)


async def _keep_score(turn: Turn, review_id: UUID, question: Any, score: int, *, is_first: bool) -> None:
    assert turn.customer_id is not None
    now = turn.tx.now
    if is_first:
        await turn.tx.sql(
            LEAVE, review_id, question.id, turn.customer_id, question.receipt_id, question.store_id, score, now
        )
    else:
        await turn.tx.sql(CHANGE, review_id, score, now)
    turn.tx.say(
        ReviewLeft(
            customer_id=turn.customer_id,
            review_id=review_id,
            score=score,
            receipt_id=question.receipt_id,
            store_id=question.store_id,
            left_at=now,
        )
    )


def _buttons(question_id: UUID, *, chosen: int) -> outgoing.Buttons:
    """The same buttons, the chosen one marked: the answer may still be changed."""
    return [
        [
            {"label": f"✓ {score}" if score == chosen else str(score), "data": button_data(question_id, score)}
            for score in row
        ]
        for row in SCORE_ROWS
    ]


def _thanks(turn: Turn, score: int) -> str:
    texts = turn.words
    if score >= WORST_PROMOTER:
        thanks = texts.gettext("Thank you! What do you like most? Write it here within an hour.")
    elif score > BEST_DETRACTOR:
        thanks = texts.gettext("Thank you! What would make us better? Write it here within an hour.")
    else:
        thanks = texts.gettext("Thank you for your honesty. What went wrong? Write it here within an hour.")
    return thanks
