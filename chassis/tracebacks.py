"""Where something failed, for the logs: names and places without messages, which quote values and so people."""

import traceback
from typing import Final

FRAMES_MAX: Final = 12


def without_messages(error: BaseException) -> list[str]:
    """Each error of the chain, the first cause first, by its class and SQLSTATE, and the frames it came through."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [*(without_messages(cause) if cause is not None else []), _name(error), *_frames(error)]


def _name(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return type(error).__qualname__ + (f" (SQLSTATE {state})" if state else "")


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    return [f"  {'/'.join(each.filename.split('/')[-3:])}:{each.lineno} in {each.name}" for each in frames]
