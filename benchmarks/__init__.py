"""How fast the ledger is: `make bench`. Every figure is a ratio within one run, and void unless the ledger is right after it."""
