"""The sandbox's Telegram."""
