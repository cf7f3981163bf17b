"""The loyalty service: purchases, the points ledger, levels."""

from chassis.service import Service
from services.loyalty import api, handlers

service = Service("loyalty", hears=handlers.hears, api=api.router)

if __name__ == "__main__":
    service.run()
