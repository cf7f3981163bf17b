"""Feedback: what the customer tells us.

Owns the conversation in Telegram: which chat is whose, the NPS question and the reviews, the appeals and their
answers. Texts that people write stay in its database; records carry ids and scores.
Hears `Contact` and `ContactErased` (whose chat it is), `Balance` (what /balance shows), `PointsAccrued` (a purchase
to ask about).
Says `ReviewLeft`, `ReviewCommented`, `AppealOpened`, `AppealAnswered`, `TelegramLinked`, `TelegramUnlinked`; asks
customers to `LinkTelegram` and `UnlinkTelegram`, and messaging to send the question (`SendMessage`).

Locks are taken in one order: the chat, then the customer, then what belongs to them.
"""
