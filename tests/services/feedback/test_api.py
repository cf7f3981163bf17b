"""What people read of feedback over HTTP."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from chassis.ids import new_id
from tests.services.feedback.world import Feedback

LEAVE = """
INSERT INTO reviews (id, question_id, customer_id, receipt_id, store_id, score, left_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
APPEAL = "INSERT INTO appeals (id, customer_id, chat_id, text, opened_at) VALUES ($1, $2, 100500, $3, $4)"


def day(number: int) -> datetime:
    return datetime(2025, 11, number, 12, tzinfo=UTC)


async def left(feedback: Feedback, *reviews: tuple[str, int, datetime], customer_id: UUID | None = None) -> None:
    async with feedback.database.transaction() as tx:
        for store_id, score, left_at in reviews:
            await tx.sql(LEAVE, new_id(), new_id(), customer_id or new_id(), str(new_id()), store_id, score, left_at)


async def get(http: httpx.AsyncClient, path: str, **parameters: object) -> Any:
    answer = await http.get(path, params={name: str(value) for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_reviews_are_listed_newest_first_by_pages_and_filtered(feedback: Feedback) -> None:
    await left(feedback, ("1", 0, day(1)), ("1", 7, day(2)), ("2", 9, day(3)), ("2", 10, day(4)), ("1", 10, day(5)))
    async with feedback.http() as http:
        first = await get(http, "/reviews", limit=2)
        second = await get(http, "/reviews", limit=3, cursor=first["next"])
        assert [review["score"] for review in first["items"] + second["items"]] == [10, 10, 9, 7, 0]
        assert second["next"] is None

        async def scores(**wanted: object) -> list[int]:
            return [review["score"] for review in (await get(http, "/reviews", **wanted))["items"]]

        assert await scores(store_id="1") == [10, 7, 0]
        assert await scores(score_from=7, score_to=9) == [9, 7]
        assert await scores(**{"from": "2025-11-02T12:00:00Z", "to": "2025-11-04T15:00:00+03:00"}) == [9, 7]
        assert await scores(store_id="3") == []
        for bad in (
            {"from": "2025-11-02"},
            {"from": "2025-11-02T12:00:00"},
            {"to": "9999-12-31T23:59:59-14:00"},
            {"score_from": 11},
        ):
            assert (await http.get("/reviews", params=bad)).status_code == 422


async def test_the_figure_is_told_by_period_and_by_store(feedback: Feedback) -> None:
    await left(feedback, *(("1", score, day(2)) for score in (10, 9, 9, 8, 6)), ("2", 0, day(2)), ("2", 10, day(9)))
    async with feedback.http() as http:
        report = await get(http, "/reviews/nps", to="2025-11-05T00:00:00Z")
        assert report["total"] == {"reviews": 6, "promoters": 3, "passives": 1, "detractors": 2, "nps": 16.7}
        assert [(store["store_id"], store["reviews"], store["nps"]) for store in report["stores"]] == [
            ("1", 5, 40.0),
            ("2", 1, -100.0),
        ]
        alone = await get(http, "/reviews/nps", store_id="2")
        assert (alone["total"]["reviews"], alone["total"]["nps"]) == (2, 0.0)
        nothing = await get(http, "/reviews/nps", store_id="3")
        assert nothing == {
            "total": {"reviews": 0, "promoters": 0, "passives": 0, "detractors": 0, "nps": None},
            "stores": [],
        }


async def test_open_appeals_are_listed_with_the_longest_wait_first(feedback: Feedback) -> None:
    customer_id = new_id()
    async with feedback.database.transaction() as tx:
        for number in range(5):
            await tx.sql(APPEAL, new_id(), customer_id if number < 3 else None, f"text {number}", day(1))
        await tx.sql("UPDATE appeals SET answer = 'a', answered_at = now(), delivery = 'waiting' WHERE text = 'text 1'")
    async with feedback.http() as http:

        async def texts(**wanted: object) -> list[str]:
            return [appeal["text"] for appeal in (await get(http, "/appeals", **wanted))["items"]]

        assert await texts(state="open") == ["text 0", "text 2", "text 3", "text 4"]
        assert await texts(state="answered") == ["text 1"]
        assert await texts() == [f"text {number}" for number in (4, 3, 2, 1, 0)]
        assert await texts(customer_id=customer_id, state="open", limit=1) == ["text 0"]
        unknown = await http.get(f"/appeals/{new_id()}", headers={"Accept-Language": "ru"})
        assert (unknown.status_code, unknown.json()["title"]) == (404, "Обращение не найдено")


async def test_a_customers_page_sums_up_what_they_told_us(feedback: Feedback) -> None:
    customer_id = new_id()
    async with feedback.database.transaction() as tx:
        await tx.sql(
            "INSERT INTO customers (customer_id, chat_id, linked_at) VALUES ($1, 100500, $2)", customer_id, day(1)
        )
        await tx.sql(APPEAL, new_id(), customer_id, "Where is it?", day(3))
    await left(feedback, ("1", 3, day(2)), ("1", 8, day(4)), customer_id=customer_id)
    async with feedback.http() as http:
        summary = await get(http, f"/customers/{customer_id}")
        assert summary["telegram"] == {"is_linked": True, "linked_at": "2025-11-01T12:00:00Z"}
        assert (summary["reviews"]["total"], [each["score"] for each in summary["reviews"]["newest"]]) == (2, [8, 3])
        assert (summary["appeals"]["total"], summary["appeals"]["open"]) == (1, 1)
        assert summary["appeals"]["newest"][0]["text"] == "Where is it?"
        assert "100500" not in str(summary)
        assert (await http.get(f"/customers/{new_id()}")).status_code == 404
