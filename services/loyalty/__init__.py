"""What the customer has: purchases, the points ledger, lots, levels.

Owns accounts, the double-entry ledger, lots of points, and the life of each purchase.
Hears `pos.purchases`, `customers.cards`, and of `customers.contacts` the phones that purchases may name.
Says every ledger operation once on `loyalty.events`, and each customer's newest balance on `loyalty.balances`.
"""
