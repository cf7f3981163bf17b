"""What a change of a record's JSON Schema breaks for those who read and write the same version.

Within a version both directions must work: services are not deployed at the same moment, and a topic keeps what was
written months ago. So a reader of either age must accept what a writer of either age writes. What is left to change
is: a new optional field (readers ignore what they do not know), and words (titles, descriptions, examples).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

WORDS: Final = frozenset({"$schema", "$id", "$defs", "$comment", "title", "description", "examples", "deprecated"})
"""Keywords that decide nothing about what is accepted."""
AT_MOST: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
AT_LEAST: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
OLD_READERS: Final = "readers of before would refuse what is written now"
NEW_READERS: Final = "readers of now would refuse what was written before"


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Why `new` may not replace `old` within the version, each with the field; empty where it may."""
    return list(_Comparison(old, new).differences(old, new, ""))


class _Comparison:
    """Compares node by node; `$ref`s are looked up in the document that each node came from."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old = old
        self.new = new
        self._under_way: set[tuple[str, str]] = set()

    def differences(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        refs = (old.get("$ref", ""), new.get("$ref", ""))
        if any(refs):
            if refs in self._under_way:  # a record that contains itself
                return
            self._under_way.add(refs)
        old, new = _resolved(old, self.old), _resolved(new, self.new)
        yield from self._fields(old, new, path)
        yield from self._values(old, new, path)
        yield from self._alternatives(old, new, path)
        for keyword, name in (("items", "[]"), ("additionalProperties", ".*")):
            before, now = old.get(keyword), new.get(keyword)
            if isinstance(before, Mapping) and isinstance(now, Mapping):
                yield from self.differences(before, now, path + name)
            elif before != now:
                yield f"{_named(path)}: {keyword} was {_told(before)}, is {_told(now)}"
        for keyword in sorted((old.keys() | new.keys()) - WORDS - COMPARED):
            yield from _keyword(keyword, old.get(keyword), new.get(keyword), _named(path))
        self._under_way.discard(refs)

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, now = old.get("properties", {}), new.get("properties", {})
        were_needed, are_needed = set(old.get("required", ())), set(new.get("required", ()))
        for name in before.keys() | were_needed | now.keys() | are_needed:
            field = f"{path}.{name}".lstrip(".")
            if name in are_needed - were_needed:
                yield f"{field}: is needed now; {NEW_READERS}"
            if name in were_needed - are_needed:
                yield f"{field}: may be left out now; {OLD_READERS}"
            if name in before and name not in now:
                yield f"{field}: is gone; whoever reads it would no longer find it"
            if name in before and name in now:
                yield from self.differences(before[name], now[name], field)

    def _values(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """`enum` and `const`, which is an enum of one."""
        before, now = _choices(old), _choices(new)
        if before is None and now is None:
            return
        if before is None or now is None:
            yield f"{_named(path)}: the values were {_told(before)}, are {_told(now)}"
            return
        if gone := [value for value in before if value not in now]:
            yield f"{_named(path)}: {', '.join(gone)} may no longer be said; {NEW_READERS}"
        if come := [value for value in now if value not in before]:
            yield f"{_named(path)}: {', '.join(come)} may be said now; {OLD_READERS}"

    def _alternatives(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """`anyOf` in any order: each branch needs its equal on the other side."""
        left = list(new.get("anyOf", ()))
        for branch in old.get("anyOf", ()):
            equal = next((each for each in left if not list(self.differences(branch, each, path))), None)
            if equal is None:
                yield f"{_named(path)}: the alternative {_told(_kind(branch))} is gone or changed"
            else:
                left.remove(equal)
        for branch in left:
            yield f"{_named(path)}: the alternative {_told(_kind(branch))} is new or changed"


COMPARED: Final = frozenset(
    {"$ref", "properties", "required", "enum", "const", "anyOf", "items", "additionalProperties"}
)


def _resolved(node: Schema, document: Schema) -> Schema:
    """The node, with the definition that it refers to; keywords beside a `$ref` count as well."""
    reference = node.get("$ref")
    if reference is None:
        return node
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    beside = {keyword: value for keyword, value in node.items() if keyword != "$ref"}
    return {**_resolved(found, document), **beside}


def _choices(node: Schema) -> list[str] | None:
    """The allowed values as JSON, in which 1, true and "1" differ."""
    values = [node["const"]] if "const" in node else node.get("enum")
    return None if values is None else [json.dumps(value, ensure_ascii=False, sort_keys=True) for value in values]


def _keyword(keyword: str, before: Any, now: Any, where: str) -> Iterator[str]:
    if before == now and type(before) is type(now):
        return
    if keyword in AT_MOST | AT_LEAST:
        why = OLD_READERS if _is_wider(keyword, before, now) else NEW_READERS
        yield f"{where}: {keyword} was {_told(before)}, is {_told(now)}; {why}"
    elif keyword == "default":
        yield f"{where}: the default was {_told(before)}, is {_told(now)}; records without the field change meaning"
    else:
        yield f"{where}: {keyword} was {_told(before)}, is {_told(now)}"


def _is_wider(limit: str, before: Any, now: Any) -> bool:
    if before is None or now is None:
        return now is None
    return bool(now > before if limit in AT_MOST else now < before)


def _kind(branch: Schema) -> Any:
    return branch.get("$ref") or branch.get("type") or dict(branch)


def _named(path: str) -> str:
    return path or "value"


def _told(value: Any) -> str:
    return "nothing" if value is None else repr(value)
