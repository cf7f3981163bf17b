"""How fast a bot may write: https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this."""

import math
import time
from collections import defaultdict
from collections.abc import Callable

from pydantic import BaseModel, Field


class Limits(BaseModel):
    """Telegram's own figures by default; 0 switches a limit off."""

    per_second: float = Field(30, ge=0, le=10_000, description="Messages a second to everybody together.")
    per_chat_per_second: float = Field(1, ge=0, le=10_000, description="Messages a second to one chat.")
    chat_burst: int = Field(5, ge=1, le=10_000, description="Messages to one chat that may come at once.")


class Bucket:
    """A token bucket: `burst` at once, then `rate` a second."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def wait_s(self, now: float) -> float:
        """How long until the next one may pass; 0 where it may pass now."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return max(0.0, (1 - self._tokens) / self.rate)

    def take(self) -> None:
        self._tokens -= 1


class Flood:
    """Counts what the bot writes against the limits."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """Other limits from now on, with nothing used up."""
        self.limits = limits
        now = self.clock()
        self._overall = Bucket(limits.per_second, max(1.0, limits.per_second), now) if limits.per_second else None
        self._chats: dict[int, Bucket] = defaultdict(
            lambda: Bucket(limits.per_chat_per_second, limits.chat_burst, self.clock())
        )

    def retry_after_s(self, chat_id: int) -> int | None:
        """None where a message to the chat may pass, and counts it; else how many whole seconds to wait."""
        buckets = [self._overall] if self._overall is not None else []
        if self.limits.per_chat_per_second:
            buckets.append(self._chats[chat_id])
        now = self.clock()
        wait_s = max((bucket.wait_s(now) for bucket in buckets), default=0.0)
        if wait_s > 0:
            return math.ceil(wait_s)
        for bucket in buckets:
            bucket.take()
        return None
