"""The loyalty service: purchases, the points ledger, levels."""

from datetime import timedelta

from chassis.jobs import Job
from chassis.service import Service
from services.loyalty import api, handlers
from services.loyalty.expiry import expire_due_lots

service = Service(
    "loyalty",
    hears=handlers.hears,
    api=api.router,
    jobs=[Job(expire_due_lots, every=timedelta(minutes=1))],
)

if __name__ == "__main__":
    service.run()
