"""Importing a library of hundreds of pydantic models without building all of them at once.

aiogram completes each of its models when it is imported: four seconds of a processor and 100 MB in every process, for
models of which a bot uses a dozen. Under `models_on_demand()` each one is completed when it is first used; pydantic
itself sees to that (`defer_build`), if only it is given the names that the library's annotations speak of.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


@contextlib.contextmanager
def models_on_demand() -> Iterator[None]:
    """Import the library in this block. Where it is imported already, nothing happens."""
    rebuild = BaseModel.__dict__["model_rebuild"]
    names: dict[str, Any] = {}
    packages: set[str] = set()

    def note(model: type[BaseModel], /, *, _types_namespace: dict[str, Any] | None = None, **_: Any) -> None:
        names.update(_types_namespace or {})
        packages.add(_package(model))

    def rebuild_with_names(model: type[BaseModel], /, **options: Any) -> bool | None:
        return rebuild.__func__(model, **options | {"_types_namespace": names})  # type: ignore[no-any-return]

    BaseModel.model_rebuild = classmethod(note)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        BaseModel.model_rebuild = rebuild  # type: ignore[method-assign]
    for model in BaseModel.__subclasses__():
        if _package(model) in packages:
            model.model_rebuild = classmethod(rebuild_with_names)  # type: ignore[assignment, method-assign]


def _package(model: type[BaseModel]) -> str:
    return model.__module__.partition(".")[0]
