"""Customers: who the customer is, how to reach them, which cards they hold."""

from chassis.service import Service
from services.customers import api, handlers
from services.customers.settings import customers_settings

customers_settings()  # one that cannot be ends the process now, and costs no record
service = Service("customers", hears=handlers.hears, api=api.router)

if __name__ == "__main__":
    service.run()
