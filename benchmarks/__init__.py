"""How fast the ledger is: `make bench`. Figures are ratios within one run, void unless the ledger is right."""
