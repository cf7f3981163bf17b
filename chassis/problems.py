"""Errors of the HTTP API: RFC 9457 problem documents in the caller's language, naming the field and the mend."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from chassis.database import is_infrastructure_trouble
from chassis.field_faults import Fault, faults_of
from chassis.languages import CHASSIS, preferred_language, translator
from chassis.tracing import current_traceparent, trace_id
from contracts.fields import Language

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2


class FieldFault(BaseModel):
    """One field at fault."""

    field: str = Field(examples=["lines[0].total_minor"])
    detail: str = Field(description="What is wrong and how to mend it.", examples=["must be 0 or more"])


class ProblemDocument(BaseModel):
    """A problem (RFC 9457), as application/problem+json."""

    type: str = Field(
        description="What kind of problem it is; stable, for programs.",
        examples=["urn:kopilka:problem:customer_not_found"],
    )
    title: str = Field(description="The kind, in the caller's language.", examples=["Customer not found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What happened and how to mend it, in the caller's language.")
    instance: str = Field(
        description="This very occurrence: the trace that the logs name it by.",
        examples=["urn:kopilka:trace:4bf92f3577b34da6a3ce929d0e0e4736"],
    )
    errors: list[FieldFault] = Field([], description="The fields at fault, where there are any.")


class Problem(Exception):
    """What an endpoint raises: the transaction rolls back and the caller gets a problem document.

    `code` becomes the stable type `urn:kopilka:problem:<code>`, and the title in words. `detail` is an English
    text of the service's catalogue; `values` fill its {names}. Neither carries personal data. `field` names the
    one field that is at fault, `faults` several.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.detail = detail
        self.values = values
        self.faults = [*faults, *([Fault(field, detail, values)] if field is not None else [])]
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        """`customer_not_found` -> `Customer not found`: the English text that the catalogue translates."""
        return self.code.replace("_", " ").capitalize()


def problem_response(problem: Problem, request: Request) -> Response:
    """The problem document, in the language that the caller prefers."""
    language = preferred_language(request.headers.get("accept-language"))
    package: Path = getattr(request.app.state, "texts", CHASSIS)
    document = problem_document(problem, package, language)
    return Response(
        document.model_dump_json(exclude_defaults=True),
        status_code=problem.status,
        headers={"Content-Language": language, "Vary": "Accept-Language", **problem.headers},
        media_type=MEDIA_TYPE,
    )


def problem_document(problem: Problem, package: Path, language: Language) -> ProblemDocument:
    """The document, with the texts of the service whose folder is `package`."""
    translate = translator(package, language).gettext

    def say(text: str, values: Mapping[str, object]) -> str:
        return translate(text).format(**values) if values else translate(text)

    return ProblemDocument(
        type=f"urn:kopilka:problem:{problem.code}",
        title=translate(problem.title),
        status=problem.status,
        detail=say(problem.detail, problem.values),
        instance=f"urn:kopilka:trace:{trace_id(current_traceparent()) or 'unknown'}",
        errors=[FieldFault(field=each.field, detail=say(each.detail, each.values)) for each in problem.faults],
    )


def answer_with_problems(app: FastAPI) -> None:
    """Make the app answer our errors and FastAPI's as problem documents. The unforeseen is `problem_of`'s."""

    async def of_ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error, request)

    async def of_the_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem_response(_of_status(error), request)

    async def of_the_fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(_of_fields(error), request)

    app.add_exception_handler(Problem, of_ours)
    app.add_exception_handler(HTTPException, of_the_framework)
    app.add_exception_handler(RequestValidationError, of_the_fields)


def problem_of(error: Exception) -> Problem:
    """What the caller is told of an exception that no endpoint foresaw: nothing of its insides."""
    if isinstance(error, Problem):
        return error
    if is_infrastructure_trouble(error):
        return Problem(
            503,
            "temporarily_unavailable",
            "The service cannot work just now. Send the same request again after {seconds} s, with the same "
            "Idempotency-Key: it will be done once.",
            seconds=RETRY_AFTER_S,
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    return Problem(
        500,
        "internal_error",
        "The service failed on this request, and the failure is logged. Name `instance` when you report it.",
    )


def problem_of_status(status: int) -> Problem:
    """The problem of a bare HTTP status."""
    known = [
        Problem(400, "unreadable_request", "The body could not be read; send valid JSON in UTF-8."),
        Problem(404, "not_found", "Nothing is at this path; GET /openapi.json lists the paths."),
        Problem(405, "method_not_allowed", "This path takes only the methods that the header Allow names."),
        Problem(413, "too_large", "The body is too large; send it in several smaller requests."),
        Problem(414, "path_too_long", "The path or the query is too long; put long values into the body."),
        Problem(415, "unsupported_media_type", "Send the body as JSON, with Content-Type: application/json."),
    ]
    other = Problem(status, "http_error", "The request cannot be answered.")
    return next((problem for problem in known if problem.status == status), other)


def _of_status(error: HTTPException) -> Problem:
    problem = problem_of_status(error.status_code)
    problem.headers.update(error.headers or {})
    return problem


def _of_fields(error: RequestValidationError) -> Problem:
    faults = faults_of(error.errors())
    if isinstance(error.body, bytes) and any(fault.field == "body" for fault in faults):
        return problem_of_status(415)
    return Problem(
        422,
        "invalid_request",
        "The request has values that cannot be taken; `errors` names each field and how to mend it.",
        faults=faults,
    )
