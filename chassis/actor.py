"""Who acts: what a request says of whoever sends it, for the trails that services keep."""

from typing import Annotated, Final, Literal, NamedTuple, get_args

from fastapi import Depends, Header

Source = Literal["till", "bot", "operator", "import"]
"""Where a change comes from."""
PATTERN: Final = rf"^({'|'.join(get_args(Source))})(:[A-Za-z0-9._@-]{{1,64}})?$"


class Actor(NamedTuple):
    """Who acts: the kind, and the name that they gave (`367-04`, `anna`), if any."""

    source: Source
    name: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.name}" if self.name else self.source


async def _actor(
    kopilka_actor: Annotated[
        str,
        Header(
            pattern=PATTERN,
            description="Who acts, for the trail: `till`, `operator`, `bot` or `import`, "
            "then their own name behind a colon.",
            examples=["till:367-04"],
        ),
    ] = "till",
) -> Actor:
    source, _, name = kopilka_actor.partition(":")
    return Actor(source, name)  # type: ignore[arg-type]  # the pattern lets nothing else through


Who = Annotated[Actor, Depends(_actor)]
"""Who sends the request, as an endpoint's argument."""
