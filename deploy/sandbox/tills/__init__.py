"""The sandbox's tills: real receipts of a grocery chain, published to `pos.purchases` at a set pace.

The receipts are those of the Complete Journey data set (a year, 2,469 households with cards). `python -m
deploy.sandbox.tills --help` tells the options; docs/sandbox-tills.md what they are for. Each household is registered at
first sight over the customers' API, as a till would do it, and some of them use the sandbox's Telegram.
"""
