"""What the customer has: purchases, the points ledger, lots, levels.

Owns accounts, the double-entry ledger, lots of points, the life of each purchase, and the tills that speak HTTP.
Hears `pos.purchases`, `customers.cards`, of `customers.contacts` the phones that purchases may name, and of
`customers.events` who is blocked and unblocked.
Counts against limits what is suspicious, and flags it for the staff.
Burns points at the end of their lot, by the clock.
Says every ledger operation once on `loyalty.events`, and which account is frozen; each customer's newest balance on
`loyalty.balances`. Passes on to `pos.purchases` what tills say over HTTP.
"""
