"""What the customer has: purchases, the points ledger, lots, levels.

Owns accounts, the double-entry ledger, lots of points, the life of each purchase, and the tills that speak HTTP.
Hears `pos.purchases`, `customers.cards`, of `customers.contacts` the phones that purchases may name, and of
`customers.events` who is blocked, unblocked, merged and unmerged; of `loyalty.commands` points on an occasion.
Answers tills over HTTP: quotes, holds, and purchases of those that cannot speak Kafka.
Activates points, tells of those that burn soon, burns them, and lets holds and quotes go, by the clock.
Counts against limits what is suspicious, and flags it for the staff.
Says every ledger operation once on `loyalty.events`, and which account is frozen; each customer's newest balance on
`loyalty.balances`. Passes on to `pos.purchases` what tills say over HTTP.
"""
