"""The score that was pressed, the words to it, and the NPS figure."""

import re
from datetime import timedelta
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import new_id
from contracts.feedback import AppealOpened, ReviewCommented, ReviewLeft
from services.feedback.review_list import nps_of
from services.feedback.telegram_updates import SCORE
from tests.services.feedback.world import Feedback
from tests.telegram_sandbox import PersonAtPhone, RunningSandbox


def data(question_key: str, score: int) -> str:
    """`question_key` is the message key, `nps:<question id>`."""
    return f"{question_key}:{score}"


async def marked(person: PersonAtPhone) -> list[str]:
    """The labels of the question's buttons that are marked as chosen."""
    question = next(message for message in await person.messages() if message["buttons"])
    return [button["text"] for row in question["buttons"] for button in row if not button["text"].isdigit()]


async def test_a_press_is_a_review_and_may_be_changed_until_there_are_words_to_it(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        await anna.writes("/help")
        customer_id = await feedback.linked(anna)
        question = await feedback.asked(customer_id, store_id="367", receipt_id="367-1")
        press = await anna.presses(data(question.message_key, 9))
        await anna.hears("Что вам нравится больше всего?")
        await feedback.until_all_is_handled()
        assert await marked(anna) == ["✓ 9"]
        assert (await anna.answer_to(press))["text"] == "Ваша оценка: 9"

        await anna.presses(data(question.message_key, 3))
        await anna.presses(data(question.message_key, 3))
        await feedback.until_said(ReviewLeft, 2)
        await feedback.until_all_is_handled()
        assert await marked(anna) == ["✓ 3"]

        await anna.writes("The bread was stale.")
        await anna.hears("Спасибо, записали.")
        late = await anna.presses(data(question.message_key, 10))
        await feedback.until_all_is_handled()
        assert "уже у нас" in (await anna.answer_to(late))["text"]

    first, second = await feedback.said(ReviewLeft)
    assert first.review_id == second.review_id
    assert [(event.score, event.store_id, event.receipt_id) for event in (first, second)] == [
        (9, "367", "367-1"),
        (3, "367", "367-1"),
    ]
    assert [event.review_id for event in await feedback.said(ReviewCommented)] == [first.review_id]
    ((score, comment),) = await feedback.rows("SELECT score, comment FROM reviews")
    assert (score, comment) == (3, "The bread was stale.")
    assert sum("Напишите здесь" in text for text in anna.heard()) == 1
    assert await feedback.said(AppealOpened) == []


async def test_words_after_an_hour_are_an_appeal(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        await anna.writes("/help")
        question = await feedback.asked(await feedback.linked(anna))
        await anna.presses(data(question.message_key, 8))
        await anna.hears("Что нам сделать лучше?")
        feedback.ahead = timedelta(minutes=61)
        await anna.writes("Where is my receipt?")
        await anna.hears("Ваше обращение № 1 принято")
    assert await feedback.value("SELECT comment FROM reviews") is None


async def test_only_the_first_words_are_the_reviews(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna = await sandbox.person()
    async with feedback.polling():
        await anna.writes("/help")
        question = await feedback.asked(await feedback.linked(anna))
        await anna.presses(data(question.message_key, 10))
        await anna.hears("Что вам нравится больше всего?")
        await anna.writes("/balance")
        await anna.writes("The cheese")
        await anna.writes("And one more question")
        await anna.hears("Ваше обращение № 1 принято")
    assert await feedback.rows("SELECT comment FROM reviews") == [("The cheese",)]
    assert await feedback.rows("SELECT text FROM appeals") == [("And one more question",)]


async def test_words_that_are_too_long_are_told_so_and_asked_for_again(
    feedback: Feedback, sandbox: RunningSandbox
) -> None:
    anna = await sandbox.person(language_code="en")
    async with feedback.polling():
        await anna.writes("/help")
        question = await feedback.asked(await feedback.linked(anna))
        await anna.presses(data(question.message_key, 5))
        await anna.hears("What went wrong?")
        await anna.writes("x" * 1001)
        await anna.hears("This is too long: 1000 characters at most")
        await anna.writes("y" * 1000)
        await anna.hears("Thank you, we have noted it.")
    assert await feedback.value("SELECT comment FROM reviews") == "y" * 1000


async def test_a_question_to_somebody_else_cannot_be_answered(feedback: Feedback, sandbox: RunningSandbox) -> None:
    anna, oleg = await sandbox.person(), await sandbox.person("Олег", phone="+79990001122")
    async with feedback.polling():
        for person in (anna, oleg):
            await person.writes("/help")
        question = await feedback.asked(await feedback.linked(anna))
        await feedback.linked(oleg)
        for forged in (data(question.message_key, 0), f"nps:{new_id()}:0", "nps:1:0", data(question.message_key, 11)):
            await forward(sandbox, oleg, forged)
            press = await oleg.presses(forged)
            await feedback.until_all_is_handled()
            assert (await oleg.answer_to(press))["text"] in ("Этот вопрос задан не вам.", None)
    assert await feedback.said(ReviewLeft) == []


async def forward(sandbox: RunningSandbox, person: PersonAtPhone, callback_data: str) -> None:
    """A message with that button in the person's chat."""
    chat = sandbox.sandbox.world.chats[person.id]
    sandbox.sandbox.world.bot_writes(
        chat, "?", buttons=[[{"text": "?", "callback_data": callback_data}]], keyboard=None
    )


@pytest.mark.parametrize("score", range(11))
def test_the_buttons_come_back_as_their_score(score: int) -> None:
    question_id = new_id()
    match = SCORE.fullmatch(f"nps:{question_id}:{score}")
    assert match is not None and (UUID(match[1]), int(match[2])) == (question_id, score)


@given(st.text())
def test_nothing_else_does(text: str) -> None:
    if not re.fullmatch(r"nps:[0-9a-f-]{36}:(10|\d)", text, re.ASCII):
        assert SCORE.fullmatch(text) is None


@given(st.lists(st.integers(0, 10)))
def test_the_figure_is_the_share_of_promoters_less_that_of_detractors(scores: list[int]) -> None:
    promoters = sum(score >= 9 for score in scores)
    detractors = sum(score <= 6 for score in scores)
    figure = nps_of(len(scores), promoters, detractors)
    if not scores:
        assert figure is None
        return
    assert figure is not None and -100 <= figure <= 100
    exactly = Fraction(sum(100 if s >= 9 else -100 if s <= 6 else 0 for s in scores), len(scores))
    assert abs(Fraction(str(figure)) - exactly) <= Fraction(1, 20)
    assert nps_of(len(scores), detractors, promoters) == pytest.approx(-figure)
