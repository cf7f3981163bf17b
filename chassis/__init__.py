"""How every service runs: bus, delivery, transaction, inbox, outbox, jobs, HTTP, health. No word of the business.

A service is `Service(name, hears, api, jobs).run()`; everything it does happens in a `Transaction`, and everything
it says leaves through the outbox of that transaction.
"""
