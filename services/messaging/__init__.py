"""What we tell the customer: templates, consent, channels, sending, status, cost.

Owns the messages with their full texts, what it needs to reach each customer, and the pace of each channel.
Hears `messaging.commands`, what happens to the customers' points on `loyalty.events`, and `customers.contacts`.
Says what became of each message, and contacts that went bad, on `messaging.events`.
"""
