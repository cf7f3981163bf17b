"""The sandbox's Telegram: Telegram's own Bot API for one bot, and a chat page where anyone can be a customer.

`python -m deploy.sandbox.telegram` serves three things on one port: `/bot<token>/<method>` as Telegram does,
the page at `/`, and `/sandbox/…` for scripts that play persons. See docs/sandbox.md.
"""
