"""The messaging service: what customers are told, and what became of it."""

from chassis.service import Service
from services.messaging import api, dispatcher, handlers
from services.messaging.settings import messaging_settings

messaging_settings()  # one that cannot be ends the process now, and costs no record
service = Service("messaging", hears=handlers.hears, api=api.router, companions=[dispatcher.dispatch])

if __name__ == "__main__":
    service.run()
