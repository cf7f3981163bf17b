"""The loyalty service: purchases, the points ledger, levels."""

from datetime import timedelta

from chassis.jobs import Job
from chassis.service import Service
from services.loyalty import api, handlers, till_api
from services.loyalty.activation import activate_due_lots
from services.loyalty.expiry import expire_due_lots
from services.loyalty.holds import release_timed_out
from services.loyalty.notices import announce_expiry
from services.loyalty.quotes import abandon_stale
from services.loyalty.terminals import whose_key

service = Service(
    "loyalty",
    hears=handlers.hears,
    api=api.router,
    jobs=[
        Job(activate_due_lots, every=timedelta(seconds=10)),
        Job(expire_due_lots, every=timedelta(minutes=1)),
        Job(announce_expiry, every=timedelta(minutes=5)),
        Job(release_timed_out, every=timedelta(seconds=5)),
        Job(abandon_stale, every=timedelta(minutes=1)),
    ],
    own_keys={till_api.PREFIX + "/": whose_key},
)

if __name__ == "__main__":
    service.run()
