"""The loyalty service: purchases, the points ledger, levels."""

from datetime import timedelta

from chassis.jobs import Job
from chassis.service import Service
from services.loyalty import api, handlers, till_api
from services.loyalty.expiry import expire_due_lots
from services.loyalty.terminals import whose_key

service = Service(
    "loyalty",
    hears=handlers.hears,
    api=api.router,
    jobs=[Job(expire_due_lots, every=timedelta(minutes=1))],
    own_keys={till_api.PREFIX + "/": whose_key},
)

if __name__ == "__main__":
    service.run()
