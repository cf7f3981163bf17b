"""Customers: who the customer is.

Owns profiles, contacts, cards and consents, and the trail of who changed them. A person is one customer: phones,
Telegram chats and card numbers belong to one customer at most. Two records of one person are merged, and parted again
where that was a mistake.
Hears `LinkTelegram` and `UnlinkTelegram` (the bot: somebody shared their contact, or wants no more messages) and
`ContactWentBad` (messaging: a channel is dead).
Says what happened on `customers.events`, the newest state on `customers.contacts` (the only topic with personal data)
and on `customers.cards`; everything about a customer is said while the customer's row is locked, so that the order on
the topics is the order of the changes.
"""
