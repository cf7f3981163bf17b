"""Asking the services over their HTTP APIs, as an operator does."""

import getpass
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from deploy.settings import RunSettings
from deploy.trouble import Trouble
from deploy.words import _, operator_language

TIMEOUT_S = 10.0
FIRST_BYTE_S = 300.0
"""A large file may have to be sorted before its first row."""
NOT_FOUND = 404
Asked = str | int | Sequence[str] | None


class ServiceApi:
    """`with ServiceApi(settings) as api`. Every call raises Trouble with the service's own words when it refuses."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        token = settings.of_services.api_token
        headers: dict[str, str] = {"Accept-Language": operator_language()}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(timeout=TIMEOUT_S, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, service: str, path: str, *, timeout_s: float = TIMEOUT_S, **query: Asked) -> Any:
        """The answer's JSON."""
        return self._said(service, self._send(service, "GET", path, query, timeout_s=timeout_s))

    def find(self, service: str, path: str, **query: str | int | None) -> Any | None:
        """The answer's JSON, or None where there is no such thing."""
        answer = self._send(service, "GET", path, query)
        return None if answer.status_code == NOT_FOUND else self._said(service, answer)

    def post(self, service: str, path: str, *, form: Mapping[str, Any] | None = None, **query: str | int | None) -> Any:
        """Do it once, as the operator of this terminal; the answer's JSON, or None where it has none.

        What is None in the form or the query is left out.
        """
        sent = None if form is None else {name: value for name, value in form.items() if value is not None}
        return self._said(service, self._send(service, "POST", path, query, form=sent))

    def put(self, service: str, path: str, *, form: Mapping[str, Any]) -> Any:
        """Make it so, as the operator of this terminal; the answer's JSON."""
        return self._said(service, self._send(service, "PUT", path, {}, form=form))

    def download(self, service: str, path: str, file: Path, **query: str | Sequence[str] | None) -> int:
        """Put the answer into the file, which is there only when it is whole; gives its size in bytes."""
        given = {name: value for name, value in query.items() if value is not None}
        url = self._settings.url(service) + path
        unfinished = file.with_name(f"{file.name}.part")
        try:
            with self._client.stream("GET", url, params=given, timeout=FIRST_BYTE_S) as answer:
                if not answer.is_success:
                    answer.read()
                    self._said(service, answer)
                with unfinished.open("wb") as written:
                    for piece in answer.iter_bytes():
                        written.write(piece)
            return unfinished.replace(file).stat().st_size
        except httpx.HTTPError as error:
            raise self._silent(service, error) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _send(
        self,
        service: str,
        method: str,
        path: str,
        query: Mapping[str, Asked],
        *,
        form: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> httpx.Response:
        given = {name: value for name, value in query.items() if value is not None}
        headers = {} if method == "GET" else {"Idempotency-Key": str(uuid.uuid4()), "Kopilka-Actor": _actor()}
        url = self._settings.url(service) + path
        try:
            return self._client.request(method, url, params=given, headers=headers, json=form, timeout=timeout_s)
        except httpx.HTTPError as error:
            raise self._silent(service, error) from error

    def _silent(self, service: str, error: httpx.HTTPError) -> Trouble:
        return Trouble(
            _("{service} does not answer at {url} ({reason}); is it running? See `kopilka status`").format(
                service=service, url=self._settings.url(service), reason=str(error) or type(error).__name__
            )
        )

    def _said(self, service: str, answer: httpx.Response) -> Any:
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            reason = answer.json()["detail"]
        except (ValueError, KeyError, TypeError):
            reason = f"HTTP {answer.status_code}"
        raise Trouble(f"{service}: {reason}")


def _actor() -> str:
    """Who sits at the terminal, as far as the machine knows."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return "operator"
    return f"operator:{re.sub('[^A-Za-z0-9._@-]', '_', name)[:64]}"
