"""The feedback service: the Telegram bot, reviews and appeals."""

from datetime import timedelta

from chassis.jobs import Job
from chassis.service import Service
from services.feedback import api, erasure, handlers, telegram_poll
from services.feedback.settings import feedback_settings

feedback_settings()  # one that cannot be ends the process now, and costs no record
service = Service(
    "feedback",
    hears=handlers.hears,
    api=api.router,
    jobs=[
        Job(erasure.forget_strangers, every=timedelta(hours=1)),
        Job(erasure.forget_updates, every=timedelta(hours=1)),
    ],
    companions=[telegram_poll.poll],
)

if __name__ == "__main__":
    service.run()
