"""What the bot does about each thing that a person may do in its chat."""

from services.feedback import appeals, reviews
from services.feedback.balances import balance_text
from services.feedback.chats import Turn
from services.feedback.texts import COMMANDS


async def start(turn: Turn) -> None:
    """/start: a greeting, and the way to be linked."""
    texts = turn.words
    if turn.customer_id is None:
        greeting = texts.gettext(
            "Hello! I am the bot of the loyalty programme. Share your number with the button below: I will find your "
            "card, or make one, and tell you about your points."
        )
    else:
        greeting = texts.gettext(
            "Hello again! This chat is linked to your card. Has your number changed? Share it with the button below."
        )
    await turn.ask_contact(greeting)


async def balance(turn: Turn) -> None:
    """/balance."""
    if turn.customer_id is None:
        await turn.ask_contact(
            turn.words.gettext("I do not know your card yet. Share your number, and I will find it.")
        )
        return
    await turn.reply(balance_text(turn.language, turn.balances))


async def tell_what_it_can(turn: Turn) -> None:
    """/help, and a command that there is not."""
    texts = turn.words
    lines = [f"/{command} — {texts.gettext(what)}" for command, what in COMMANDS.items()]
    lines.append(texts.gettext("Anything else you write here goes to our team, and they answer here."))
    await turn.reply("\n".join(lines))


async def text(turn: Turn, said: str) -> None:
    """Words: those of a review if they were asked for, else an appeal."""
    said = said.replace("\0", "").strip()
    if turn.comment_on is not None and await reviews.comment(turn, turn.comment_on, said):
        return
    if said:
        await appeals.open_appeal(turn, said)
    else:
        await no_words(turn)


async def no_words(turn: Turn) -> None:
    """A picture, a voice, a sticker."""
    await turn.reply(turn.words.gettext("I can only read text. Please put it into words."))


async def failed(turn: Turn) -> None:
    """The bot's own fault: the person should know that nothing was done."""
    await turn.reply(turn.words.gettext("Something went wrong on our side. Please try again."))
