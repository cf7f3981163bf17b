"""The world outside, played on one machine: tills, Telegram, SMS and mail. Nothing of it is needed in production."""
