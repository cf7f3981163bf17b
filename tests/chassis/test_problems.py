import contextlib
import json
from typing import Annotated, Any, Literal

import httpx
import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import PydanticKnownError
from starlette.exceptions import HTTPException

from chassis.database import Database
from chassis.field_faults import TEXTS, faults_of, field_name
from chassis.languages import CHASSIS
from chassis.problems import Problem, ProblemDocument, problem_document, problem_of, problem_of_status
from chassis.settings import Settings
from tests.chassis.conftest import OpenDatabase
from tests.chassis.http_world import calling, metadata, notes_app

KEY = {"Idempotency-Key": "1"}


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return await open_database(metadata)


def document_of(answer: httpx.Response) -> ProblemDocument:
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Accept-Language" in answer.headers["vary"]
    document = ProblemDocument.model_validate_json(answer.content)
    assert document.status == answer.status_code
    return document


async def test_what_an_endpoint_raises_becomes_a_problem_document(database: Database) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with calling(notes_app(database)) as client:
        answer = await client.get("/notes/milk", headers={"traceparent": traceparent})

    assert answer.json() == {
        "type": "urn:kopilka:problem:note_not_found",
        "title": "Note not found",
        "status": 404,
        "detail": "No note of store 367 says so.",
        "instance": "urn:kopilka:trace:4bf92f3577b34da6a3ce929d0e0e4736",
        "errors": [{"field": "text", "detail": "No note of store 367 says so."}],
    }
    document_of(answer)


async def test_the_problem_speaks_the_callers_language(database: Database) -> None:
    async with calling(notes_app(database), **{"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.8"}) as client:
        answer = await client.post("/notes", json={"lines": [{"total_minor": -1}]}, headers=KEY)

    document = document_of(answer)
    assert answer.headers["content-language"] == "ru"
    assert document.type == "urn:kopilka:problem:invalid_request"
    assert document.title == "Неверный запрос"
    assert {error.field: error.detail for error in document.errors} == {
        "text": "обязательно для заполнения",
        "lines[0].total_minor": "должно быть не меньше 0",
    }


async def test_every_field_at_fault_is_named_with_its_mend(database: Database) -> None:
    note = {"lines": [{"total_minor": 5}, {"total_minor": "five"}, {}], "card_number": "2900000000017"}
    async with calling(notes_app(database)) as client:
        answer = await client.post("/notes", json=note, headers=KEY)
        query = await client.get("/notes?word=" + "a" * 21)

    assert answer.status_code == 422
    assert {error.field: error.detail for error in document_of(answer).errors} == {
        "text": "is needed",
        "card_number": "the check digit of this EAN-13 card number is wrong: read the card again",
        "lines[1].total_minor": "must be a whole number",
        "lines[2].total_minor": "is needed",
    }
    assert [error.model_dump() for error in document_of(query).errors] == [
        {"field": "word", "detail": "is too long; characters at most: 20"}
    ]


async def test_a_problem_never_repeats_what_was_sent(database: Database) -> None:
    phone = "+79161234567"
    note = {"text": [phone], "card_number": phone, "lines": [{"total_minor": phone}, phone]}
    async with calling(notes_app(database)) as client:
        answers = [
            await client.post("/notes", json=note, headers=KEY),
            await client.post("/notes", json=phone, headers=KEY),
            await client.post(
                "/notes", content=f'{{"text": {phone}}}', headers={**KEY, "Content-Type": "application/json"}
            ),
            await client.post("/failing", json={"text": phone}, headers=KEY),
            await client.get(f"/nowhere/{phone}"),
            await client.get("/notes", params={"word": phone * 2}),
        ]

    assert [answer.status_code for answer in answers] == [422, 422, 422, 500, 404, 422]
    assert [answer.text for answer in answers if "9161234567" in answer.text] == []


class Quoting(BaseModel):
    phone: str

    @field_validator("phone")
    @classmethod
    def refuse(cls, phone: str) -> str:
        raise ValueError(f"{phone} is no phone")


def test_a_validator_that_quotes_what_was_sent_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as error:
        Quoting(phone="+79161234567")
    (fault,) = faults_of(error.value.errors())
    assert fault.detail == "this value cannot be taken here"


class Cash(BaseModel):
    kind: Literal["cash"]


class Card(BaseModel):
    kind: Literal["card"]


Paid = Annotated[Cash | Card, Field(discriminator="kind")]


@pytest.mark.parametrize(
    ("kind", "sent", "detail"),
    [
        (Literal["a", "b", "c"], "secret", "must be one of: 'a', 'b', 'c'"),
        (Paid, {"kind": "secret"}, "'kind' must be one of: 'cash', 'card'"),
        (Paid, {}, "'kind' is needed"),
        (Annotated[list[int], Field(max_length=2)], [1, 2, 3], "has too many items; at most: 2"),
        (Annotated[str, Field(pattern=r"^\d{4}$")], "secret", r"must match the pattern ^\d{4}$"),
    ],
)
def test_pydantics_errors_are_said_in_our_own_words(kind: Any, sent: object, detail: str) -> None:
    with pytest.raises(ValidationError) as error:
        TypeAdapter(kind).validate_python(sent)
    faults = faults_of(error.value.errors())
    document = problem_document(Problem(422, "invalid_request", "", faults=faults), CHASSIS, "en")
    assert [error.detail for error in document.errors] == [detail]


def test_every_error_type_that_we_have_words_for_is_one_of_pydantics() -> None:
    for kind in TEXTS:
        with contextlib.suppress(TypeError):  # the type is known, and wants values
            PydanticKnownError(kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("location", "name"),
    [
        (("body", "lines", 0, "total_minor"), "lines[0].total_minor"),
        (("body",), "body"),
        ((), "body"),
        (("query", "limit"), "limit"),
        (("body", 3), "[3]"),
        (("query", "a" * 1000), "a" * 200),
    ],
)
def test_a_field_is_named_as_people_write_it(location: tuple[str | int, ...], name: str) -> None:
    assert field_name(location) == name


async def test_json_that_cannot_be_read_is_a_problem_that_says_where(database: Database) -> None:
    async with calling(notes_app(database), **{"Content-Type": "application/json"}) as client:
        answer = await client.post("/notes", content=b'{"text": }', headers=KEY)
        not_utf8 = await client.post("/notes", content=b'{"text": "\xff"}', headers=KEY)
        too_deep = await client.post("/notes", content=b"[" * 100_000, headers=KEY)

    assert [error.model_dump() for error in document_of(answer).errors] == [
        {"field": "body", "detail": "is not valid JSON (at character 9)"}
    ]
    assert document_of(not_utf8).type == document_of(too_deep).type == "urn:kopilka:problem:unreadable_request"


async def test_a_body_that_is_not_sent_as_json_is_told_so(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.post(
            "/notes", content=json.dumps({"text": "a"}), headers={**KEY, "Content-Type": "text/plain"}
        )

    assert document_of(answer).type == "urn:kopilka:problem:unsupported_media_type"


async def test_unknown_paths_and_methods_are_problems(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        nowhere = await client.get("/nowhere")
        method = await client.patch("/notes", headers=KEY)

    assert document_of(nowhere).type == "urn:kopilka:problem:not_found"
    assert document_of(method).type == "urn:kopilka:problem:method_not_allowed"
    assert set(method.headers["allow"].split(", ")) >= {"GET"}


async def test_an_unforeseen_failure_tells_nothing_of_the_insides(database: Database) -> None:
    async with calling(notes_app(database)) as client:
        answer = await client.post("/failing", json={"text": "milk"}, headers=KEY)

    assert answer.status_code == 500
    assert document_of(answer).type == "urn:kopilka:problem:internal_error"
    assert "KeyError" not in answer.text


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OSError()])
def test_infrastructure_trouble_asks_to_come_again(error: Exception) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (503, "temporarily_unavailable")
    assert int(problem.headers["Retry-After"]) >= 1


async def test_a_database_that_is_away_is_a_503_that_asks_to_come_again(database: Database) -> None:
    away = Database("nowhere", Settings(database="postgresql://nobody@127.0.0.1:1/postgres"))
    async with calling(notes_app(away)) as client:
        answer = await client.get("/notes")
    await away.close()

    assert document_of(answer).type == "urn:kopilka:problem:temporarily_unavailable"
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("status", [400, 404, 405, 413, 414, 415, 418, 499])
def test_every_status_has_a_problem(status: int) -> None:
    problem = problem_of_status(HTTPException(status).status_code)
    assert problem.status == status
    assert problem_document(problem, CHASSIS, "ru").title != problem_document(problem, CHASSIS, "en").title
