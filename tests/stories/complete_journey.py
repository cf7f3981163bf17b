"""The Complete Journey's year goes from the tills through Kafka to loyalty; what came of it, beside what SQL says.

The SQL beside this file computes from the data set's own parquet. It shares no code with the tills or with loyalty.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import duckdb
import orjson
import pyarrow as pa

from chassis.envelope import Raw
from chassis.ids import new_id
from chassis.publishing import Publication, Publisher
from contracts.customers import Card
from deploy.sandbox.tills.afterwards import Shares
from deploy.sandbox.tills.baskets import data_folder
from deploy.sandbox.tills.happenings import Happening, happenings
from deploy.sandbox.tills.households import card_number
from deploy.sandbox.tills.publications import publication
from services.loyalty import reconciliation
from services.loyalty.ledger import PROGRAMME
from services.loyalty.reconciliation import Difference
from services.loyalty.tables import terms
from tests.harness import House, Instance

RUN: Final = "2017"
"""Names the run in the receipts' ids, as in the SQL."""
PUBLISHED_AT_ONCE: Final = 500
REPEATED_EVERY: Final = 50
"""Of the records each so-manieth one comes a second time, as from a bus that delivers at least once."""
DRAINED_WITHIN_S: Final = 1000

RECEIPTS: Final = """
SELECT receipt_id, customer_id, store_id, completed_at AT TIME ZONE 'UTC', total_minor, points, level, state
FROM purchases
"""
RETURNS: Final = "SELECT return_id, receipt_id, total_minor, points, written_off FROM returns"
SUMS: Final = """
SELECT count(*), sum(total_minor)::bigint, sum(points)::bigint,
       (SELECT count(*) FROM returns), (SELECT sum(total_minor)::bigint FROM returns),
       (SELECT sum(points)::bigint FROM returns), (SELECT sum(spent_minor)::bigint FROM accounts),
       (SELECT sum(balance)::bigint FROM accounts), (SELECT -sum(amount)::bigint FROM entries WHERE account_id = $1)
FROM purchases
"""
LEFT_OVER: Final = """
SELECT 'dead letter: ' || reason, count(*) FROM dead_letters GROUP BY reason
UNION ALL SELECT 'waits for ' || awaits, count(*) FROM waiting GROUP BY awaits
"""


class Promise(NamedTuple):
    """Terms of the programme that hold from a moment on, with its levels: code, `spent_minor_from`, rate."""

    in_force_from: datetime
    point_worth_minor: int
    lot_life_days: int
    levels: tuple[tuple[str, int, int], ...]


SPRING: Final = tuple((f"spring_{n}", 20_000 * n, 333 + 29 * n) for n in range(12))
AUTUMN: Final = tuple((f"autumn_{n}", 45_000 * n, 350 + 53 * n) for n in range(10))
PROMISES: Final = (
    Promise(datetime(2016, 1, 1, tzinfo=UTC), point_worth_minor=1, lot_life_days=36_500, levels=SPRING),
    Promise(datetime(2017, 7, 1, tzinfo=UTC), point_worth_minor=7, lot_life_days=20_000, levels=AUTUMN),
)
"""Levels that households reach and fall from, rates and a worth that seldom divide, lots that outlive the test."""


class Receipt(NamedTuple):
    household: int
    store_id: str
    completed_at: datetime
    total_minor: int
    points: int
    level: str
    state: str


class Return(NamedTuple):
    receipt_id: str
    total_minor: int
    points: int
    written_off: int


class Operation(NamedTuple):
    """A purchase, or (with its points negative) a return, as it was told on `loyalty.events`."""

    household: int
    total_minor: int
    points: int
    balance_after: int
    expires_at: datetime | None


class Customer(NamedTuple):
    available: int
    spent_minor: int
    level: str


class Day(NamedTuple):
    receipts: int
    total_minor: int
    points: int


class Sums(NamedTuple):
    receipts: int
    total_minor: int
    points: int
    returns: int
    returned_minor: int
    points_taken_back: int
    spent_minor: int
    balances: int
    given_by_the_programme: int


@dataclass
class Year:
    """What was found after the year, each by its name; `data` answers what is expected."""

    data: Any
    receipts: list[tuple[str, Receipt]]
    returns: list[tuple[str, Return]]
    operations: list[tuple[str, Operation]]
    days: list[tuple[tuple[str, str], Day]]
    customers: list[tuple[int, Customer]]
    last_balances: list[tuple[int, int]]
    sums: Sums
    differences: list[Difference]
    left_over: list[Any]

    def asked(self, query: str) -> list[tuple[Any, ...]]:
        """The answer of the data set."""
        rows: list[tuple[Any, ...]] = self.data.execute(query).fetchall()
        return rows


async def sold(house: House, *, every: int) -> Year:
    """Sell the year of each so-manieth household to one process of loyalty, and gather what came of it."""
    async with house.database.transaction() as tx:
        for promise in PROMISES:
            await tx.execute(terms.insert().values(_row_of(promise)))
    data = data_set(every)
    customers = {household: new_id() for (household,) in data.execute(HOUSEHOLDS).fetchall()}
    instance = await house.start().until_ready()
    async with Publisher(house.kafka.bootstrap) as publisher:
        await publisher.publish_many(_introduced(customers))
        await house.until_drained()
        came_back = []
        year = takewhile(lambda each: each.place.year == 0, happenings(1, Shares()))
        chosen = (each for each in year if each.basket.household in customers)
        while happened := list(islice(chosen, PUBLISHED_AT_ONCE)):
            words = [publication(each, each.place.at, RUN).word() for each in happened]
            await publisher.publish_words([*words, *words[::REPEATED_EVERY]])
            came_back += [row for each in happened for row in _came_back(each)]
    expect(data, came_back)
    await house.until_drained(within_s=DRAINED_WITHIN_S)
    return await _gathered(house, instance, data, customers)


HOUSEHOLDS: Final = """
SELECT DISTINCT household_id FROM read_parquet(getvariable('transactions'))
WHERE household_id % getvariable('every') = 0
"""


def data_set(every: int) -> Any:
    """A connection of DuckDB that knows where the data set is and what the programme promises."""
    data = duckdb.connect()
    data.execute(f"SET VARIABLE transactions = '{data_folder() / 'transactions.parquet'}'")
    data.execute(f"SET VARIABLE every = {every}")
    promised = [(_naive(begins), *rest) for begins, *rest, _ in PROMISES]
    _table(data, "terms", ("in_force_from", "point_worth_minor", "lot_life_days"), promised)
    levels = [(_naive(promise.in_force_from), *level) for promise in PROMISES for level in promise.levels]
    _table(data, "levels", ("in_force_from", "code", "spent_minor_from", "rate_basis_points"), levels)
    return data


def expect(data: Any, came_back: Sequence[tuple[Any, ...]]) -> None:
    """Compute what must come of the year, given which goods came back."""
    _table(data, "came_back", ("basket_id", "step", "back_at", "line_no", "pieces"), came_back)
    data.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def assert_same(what: str, expected: Mapping[Any, Any], found: Iterable[tuple[Hashable, Any]]) -> None:
    """Each name is found once, as expected, and no other.

    Fails naming five that are not: what is missing, too much or twice before what differs, each in the expected order.
    """
    came: dict[Hashable, list[Any]] = defaultdict(list)
    for name, value in found:
        came[name].append(value)
    wrong = [name for name, value in expected.items() if came.get(name) != [value]]
    wrong += [name for name in came if name not in expected]
    wrong.sort(key=lambda name: name in expected and len(came.get(name, ())) == 1)
    told = "".join(
        f"\n{what} {name}:\n  expected {expected.get(name, 'nothing')}\n  found    "
        + (" and ".join(map(str, came[name])) if name in came else "nothing")
        for name in wrong[:5]
    )
    assert not wrong, f"of {len(expected)} expected, {len(wrong)} are not so, first of all:{told}"


def _row_of(promise: Promise) -> dict[str, Any]:
    return {
        "id": new_id(),
        "in_force_from": promise.in_force_from,
        "set_by": "test",
        "set_at": promise.in_force_from,
        "rules": {
            "points_currencies": [
                {"code": "points", "name_ru": "баллы", "name_en": "points", "worth_minor": promise.point_worth_minor}
            ],
            "currencies": ["USD"],
            "levels": [
                {"code": code, "spent_minor_from": least, "rate_basis_points": rate}
                for code, least, rate in promise.levels
            ],
            "lot_life_days": promise.lot_life_days,
        },
    }


def _table(data: Any, name: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    data.register(name, pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))))


def _introduced(customers: Mapping[int, UUID]) -> list[Publication]:
    now = datetime.now(UTC)
    return [
        Publication(Card(card_number=card_number(household), customer_id=customer), new_id(), "/customers", now)
        for household, customer in customers.items()
    ]


def _came_back(happening: Happening) -> Iterator[tuple[Any, ...]]:
    """(basket, step, moment, line, pieces) of each line; a cancellation names no line."""
    later, place = happening.afterwards, happening.place
    if later is None:
        return
    back_at = _naive(place.at)
    for line in later.lines:
        yield place.basket_id, place.step, back_at, line.line_no, int(line.quantity)
    if not later.lines:
        yield place.basket_id, place.step, back_at, None, None


async def _gathered(house: House, instance: Instance, data: Any, customers: Mapping[int, UUID]) -> Year:
    household_of = {customer: household for household, customer in customers.items()}
    async with house.database.reading() as tx:
        differences = await reconciliation.differences(tx)
    events = await house.records("loyalty.events")
    (sums,) = await house.rows(SUMS, PROGRAMME)
    return Year(
        data=data,
        receipts=[
            (receipt_id, Receipt(household_of[customer], *row))
            for receipt_id, customer, *row in await house.rows(RECEIPTS)
        ],
        returns=[(return_id, Return(*row)) for return_id, *row in await house.rows(RETURNS)],
        operations=[_operation(event, household_of) for event in events],
        days=_days(events),
        customers=await _over_http(instance, customers),
        last_balances=_last_balances(await house.records("loyalty.balances"), household_of),
        sums=Sums(*sums),
        differences=differences,
        left_over=await house.rows(LEFT_OVER),
    )


async def _over_http(instance: Instance, customers: Mapping[int, UUID]) -> list[tuple[int, Customer]]:
    found = []
    async with await instance.http() as http:
        for household, customer_id in customers.items():
            answer = (await http.get(f"/customers/{customer_id}/balance")).raise_for_status()
            (account,) = answer.json()["accounts"]
            found.append((household, Customer(account["available"], account["spent_minor"], account["level"])))
    return found


def _operation(event: Raw, household_of: Mapping[UUID, int]) -> tuple[str, Operation]:
    said = orjson.loads(event.value or b"")
    is_purchase = _is_purchase(event)
    name = said["receipt_id"] if is_purchase else said["return_id"]
    if not is_purchase and said["cause"] == "cancellation":
        name = f"cancelled:{name}"
    return name, Operation(
        household_of[UUID(said["customer_id"])],
        said["total_minor"],
        said["points"] if is_purchase else -said["points"],
        said["balance_after"],
        _told(said["expires_at"]) if "expires_at" in said else None,
    )


def _days(events: Iterable[Raw]) -> list[tuple[tuple[str, str], Day]]:
    """What an analyst counts by store and day (UTC) who reads the topic."""
    sums: Counter[tuple[str, str, str]] = Counter()
    for event in filter(_is_purchase, events):
        said = orjson.loads(event.value or b"")
        of = said["store_id"], f"{_told(said['completed_at']):%Y-%m-%d}"
        sums.update({(*of, "receipts"): 1, (*of, "total_minor"): said["total_minor"], (*of, "points"): said["points"]})
    return [
        ((store, day), Day(*(sums[store, day, each] for each in Day._fields)))
        for store, day in {(store, day) for store, day, _ in sums}
    ]


def _is_purchase(event: Raw) -> bool:
    return dict(event.headers)["ce_type"] == b"loyalty.points_accrued.v1"


def _last_balances(states: Iterable[Raw], household_of: Mapping[UUID, int]) -> list[tuple[int, int]]:
    """What the compacted topic keeps of each customer."""
    last = {state.key: orjson.loads(state.value or b"") for state in states}
    return [(household_of[UUID((key or b"").decode())], said["balances"][0]["available"]) for key, said in last.items()]


def _told(moment: str) -> datetime:
    return _naive(datetime.fromisoformat(moment))


def _naive(moment: datetime) -> datetime:
    """As the data set has its moments: in UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)
