"""What a service hears: its handlers, by the record type that each takes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chassis.transaction import Transaction
from contracts.records import Record

R = TypeVar("R", bound=Record)
One = Callable[[R, Transaction], Awaitable[None]]
Many = Callable[[Sequence[R], Transaction], Awaitable[None]]


@dataclass(frozen=True)
class Handler:
    """`handle` takes a whole list where `takes_many`, else one record at a time."""

    record: type[Record]
    handle: Callable[[Any, Transaction], Awaitable[None]]
    takes_many: bool


class Hears:
    """A service's handlers. `@hears(Event)` takes one record, `@hears.many(Event)` a list for set-based SQL."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def __call__(self, record: type[R]) -> Callable[[One[R]], One[R]]:
        """Register the function below as the handler of one record at a time."""

        def register(handle: One[R]) -> One[R]:
            self._add(Handler(record, handle, takes_many=False))
            return handle

        return register

    def many(self, record: type[R]) -> Callable[[Many[R]], Many[R]]:
        """Register the function below as the handler of as many records at once as their order allows."""

        def register(handle: Many[R]) -> Many[R]:
            self._add(Handler(record, handle, takes_many=True))
            return handle

        return register

    @property
    def topics(self) -> list[str]:
        """The topics that the service subscribes to."""
        return sorted({handler.record.topic for handler in self.handlers.values()})

    @property
    def known(self) -> Mapping[str, type[Record]]:
        """The models of the types that are heard."""
        return {name: handler.record for name, handler in self.handlers.items()}

    def _add(self, handler: Handler) -> None:
        if handler.record.type in self.handlers:
            raise ValueError(f"{handler.record.type} has a handler already")
        self.handlers[handler.record.type] = handler
