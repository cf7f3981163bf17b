"""The ledger told once more in plain Python, by what the documentation promises: the real one is held against it.

It shares no line with services/loyalty. Lots are numbered as they are made; people and receipts are named by words.
"""
