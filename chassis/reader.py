"""In which language the caller of an HTTP API reads, as an endpoint's argument."""

from typing import Annotated

from fastapi import Depends, Header

from chassis.languages import preferred_language
from contracts.fields import Language


async def _language(accept_language: Annotated[str | None, Header(include_in_schema=False)] = None) -> Language:
    return preferred_language(accept_language)


ReadersLanguage = Annotated[Language, Depends(_language)]
"""The language that `Accept-Language` likes best."""
