"""Poison on pos.purchases: each dies once, with its reason and bytes; its neighbours live; a fix brings it back."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from chassis.envelope import Headers
from chassis.ids import new_id
from chassis.outbox import Word
from chassis.publishing import Publication, Publisher
from services.loyalty.__main__ import service
from tests.faults.chain import Chain
from tests.faults.invariants import assert_all_is_well
from tests.harness import House, Instance, until
from tests.infra import Kafka, Postgres

pytestmark = pytest.mark.timeout(180)
Poison = Callable[[Chain], Word]
ADD_CURRENCY = """
INSERT INTO terms (id, in_force_from, set_by, set_at, rules)
SELECT gen_random_uuid(), in_force_from, 'operator:anna', now(),
       jsonb_set(rules::jsonb, '{currencies}', rules::jsonb -> 'currencies' || to_jsonb($1::text))
FROM terms ORDER BY in_force_from DESC, id DESC LIMIT 1
"""


def good(chain: Chain, **fields: Any) -> Publication:
    """A purchase of a known card, that nobody is told of."""
    return chain.said(chain.purchase(card=chain.customers[0].cards[0]).model_copy(update=fields))


def changed(**fields: Any) -> Poison:
    """The purchase with other values, as no contract would let them through."""

    def make(chain: Chain) -> Word:
        word = good(chain).word()
        return word._replace(value=orjson.dumps(orjson.loads(word.value or b"") | fields))

    return make


def header(name: str, value: bytes | None) -> Poison:
    """The purchase with that header changed, or left out."""

    def make(chain: Chain) -> Word:
        word = good(chain).word()
        headers: Headers = tuple((each, value if each == name else old) for each, old in word.headers)
        return word._replace(headers=tuple(each for each in headers if each[1] is not None))

    return make


def value(content: bytes) -> Poison:
    return lambda chain: good(chain).word()._replace(value=content)


def null_header(chain: Chain) -> Word:
    word = good(chain).word()
    return word._replace(headers=tuple((each, None if each == "content-type" else old) for each, old in word.headers))


POISON: dict[str, tuple[str, Poison]] = {
    "not JSON": ("not_json", value(b"{")),
    "no bytes of any text": ("not_json", value(b"\xff\0\xfe")),
    "nested without end": ("not_json", value(b"[" * 100_000 + b'"\\u0000"' + b"]" * 100_000)),
    "wrong types": ("invalid", changed(total_minor="much", lines="some")),
    "900 KB": ("too_large", changed(comment="x" * 900_000)),
    "a missing header": ("missing_header", header("ce_id", None)),
    "a null header": ("missing_header", null_header),
    "an unknown version": ("unknown_version", header("ce_type", b"pos.purchase_completed.v9")),
    "a negative amount": ("invalid", changed(total_minor=-1)),
    "lines that do not add up": ("invalid", changed(total_minor=1)),
    "a date in 2099": ("date_in_future", changed(completed_at="2099-01-01T00:00:00Z")),
    "an unknown currency": ("unknown_currency", changed(currency="XTS")),
    "NUL in a text": ("invalid", changed(store_id="3\0" + "67")),
}


async def publish(house: House, words: list[Word]) -> None:
    async with Publisher(house.kafka.bootstrap) as publisher:
        await publisher.publish_words(words)


async def until_dead(house: House, count: int) -> None:
    async def all_dead() -> bool:
        return bool(await house.value("SELECT count(*) FROM dead_letters") == count)

    await until(all_dead, what=f"{count} dead letters", within_s=60)


async def replay_all(instance: Instance, reason: str) -> int:
    async with await instance.http() as client:
        answer = await client.post(
            "/dead-letters/replay-all", params={"reason": reason}, headers={"Idempotency-Key": str(new_id())}
        )
        answer.raise_for_status()
        return int(answer.json()["replayed"])


async def test_each_poison_dies_once_with_its_reason_and_bytes_and_its_neighbours_live(
    kafka: Kafka, postgres: Postgres
) -> None:
    async with House.built(service, kafka, postgres, batch_records=10, session_timeout_s=1.5) as house:
        chain = Chain(kafka, seed=21)
        await chain.publish(chain.cards())
        known = good(chain)
        chain.receipts.add(known.record.receipt_id)  # type: ignore[attr-defined]
        words = {name: (reason, make(chain)) for name, (reason, make) in POISON.items()}
        other = known.record.model_copy(update={"store_id": "other"})
        words["a receipt seen before with other content"] = ("receipt_conflict", chain.said(other).word())
        words["an event id reused"] = ("event_id_reused", replace_record(known, good(chain)).word())
        mixed = [known.word()]
        for _, word in words.values():
            neighbours = chain.sales(3)
            mixed += [*(each.word() for each in neighbours), word]
        await publish(house, mixed)

        for failpoint in ("after_database_commit:6", "between_send_and_delete"):
            assert await house.start(failpoint=failpoint).until_dead() == -9
        await house.start().until_ready()
        await assert_all_is_well(house, chain.receipts, chain.returns, dead=len(words))
        await asyncio.gather(*(instance.stop() for instance in house.instances if instance.runs))
        await house.rewind()
        await house.start().until_ready()
        await assert_all_is_well(house, chain.receipts, chain.returns, dead=len(words))

        letters = {letter.value: letter for letter in await house.dead_letters()}
        assert len(await house.dead_letters()) == len(words)
        for name, (reason, word) in words.items():
            letter = letters[word.value]
            assert dict(letter.headers)["dlq_reason"] == reason.encode(), name
            assert (letter.key, letter.headers[: len(word.headers)]) == (word.key, word.headers), name


def replace_record(first: Publication, other: Publication) -> Publication:
    """Another record under the first one's event id."""
    return other._replace(event_id=first.event_id)


async def test_after_a_fix_a_dead_letter_is_replayed_and_accrued_once(kafka: Kafka, postgres: Postgres) -> None:
    async with House.built(service, kafka, postgres) as house:
        chain = Chain(kafka, seed=22)
        purchases = [good(chain, currency="XTS") for _ in range(3)]
        await chain.publish([*chain.cards(), *purchases, *chain.sales(5)])
        instance = await house.start().until_ready()
        await until_dead(house, 3)
        async with house.database.transaction() as tx:
            await tx.sql(ADD_CURRENCY, "XTS")
        assert await replay_all(instance, "unknown_currency") == 3
        assert await replay_all(instance, "unknown_currency") == 0
        chain.receipts |= {each.record.receipt_id for each in purchases}  # type: ignore[attr-defined]
        await assert_all_is_well(house, chain.receipts, chain.returns, dead=3)


async def test_over_the_cap_the_service_stops_and_goes_on_when_the_cause_is_mended(
    kafka: Kafka, postgres: Postgres
) -> None:
    async with House.built(service, kafka, postgres, dead_letters_cap=3) as house:
        chain = Chain(kafka, seed=23)
        purchases = [good(chain, currency="XTS") for _ in range(10)]
        await chain.publish([*chain.cards(), *purchases])
        instance = house.start()
        await instance.until_it_said("worker_halted")

        async def is_not_ready() -> bool:
            return not await instance.is_ready()

        await until(is_not_ready, what="/readyz fails")
        assert len(await house.dead_letters()) <= 3
        await chain.publish(chain.sales(20))
        await instance.stop()

        async with house.database.transaction() as tx:
            await tx.sql(ADD_CURRENCY, "XTS")
        dead = await house.value("SELECT count(*) FROM dead_letters")
        again = await house.start().until_ready()
        if dead:
            await replay_all(again, "unknown_currency")
        chain.receipts |= {each.record.receipt_id for each in purchases}  # type: ignore[attr-defined]
        await assert_all_is_well(house, chain.receipts, chain.returns, dead=dead)
        assert len(await house.dead_letters()) == dead
