"""The programme's terms: everything that it promises. Data with history, one document a change, and no setting.

A purchase goes by the terms of its own time. A term that is added later has a default, so that older documents stay
true.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from chassis.transaction import Transaction
from contracts.fields import MAX_MINOR, Code, Currency, PointsCurrency, StoreId

MAIN: Final = "main"
"""The kind of account that everybody has, and that purchases earn on where no other kind is named for the store."""
BASIS_POINTS: Final = 10_000
HOUR_S: Final = 3600

Title = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Share = Annotated[int, Field(ge=0, le=BASIS_POINTS, examples=[5000])]


class _Term(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, ignored_types=(cached_property,)
    )


class PointsCurrencyTerms(_Term):
    """A currency of points."""

    code: PointsCurrency
    name_ru: Title
    name_en: Title
    scale: Annotated[int, Field(ge=0, le=6)] = 0
    """Digits behind the point: points are counted in the smallest unit, of which 10^scale make one whole point."""
    worth_minor: Annotated[int, Field(ge=1, le=10**9, examples=[100])]
    """Money that one whole point stands for, in the money's smallest unit."""

    @property
    def unit(self) -> int:
        """Smallest units in one whole point."""
        return int(10**self.scale)


class Establishment(_Term):
    """A group of stores, such as a brand, a town, a filling station network."""

    code: Code
    name_ru: Title
    name_en: Title
    stores: Annotated[tuple[StoreId, ...], Field(max_length=10_000)] = ()


class AccountKind(_Term):
    """A kind of account: `main`, or an additional one."""

    code: Code
    name_ru: Title
    name_en: Title
    points_currency: PointsCurrency
    establishment: Code | None = None
    """Where its points are earned and spent; null: everywhere."""
    earns: bool = False
    """Whether purchases in its establishment earn on it instead of on the main account."""


class Level(_Term):
    """A level of the programme: reached by what was spent so far, it decides the rate of accrual."""

    code: Code
    spent_minor_from: int = Field(ge=0, le=MAX_MINOR)
    rate_basis_points: int = Field(ge=0, le=BASIS_POINTS)


class Excluded(_Term):
    """Products and categories that a rule leaves out."""

    products: Annotated[frozenset[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=10_000)] = (
        frozenset()
    )
    categories: Annotated[frozenset[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=1000)] = (
        frozenset()
    )

    def __bool__(self) -> bool:
        return bool(self.products or self.categories)

    def has(self, product_id: str, category: str | None) -> bool:
        return product_id in self.products or category in self.categories


LimitCode = Annotated[Code, Field(max_length=40, examples=["till_day"])]
Per = Literal["card", "customer", "terminal", "card_at_terminal"]
Measure = Literal["purchases", "points_earned", "points_spent", "returns", "receipt_total_minor", "unmatched_returns"]


class Limit(_Term):
    """More than so much is suspicious. See limits.py for what is counted, and when."""

    code: LimitCode
    per: Per
    """Whose deeds are counted together; `customer` is who bought."""
    measure: Measure
    """`receipt_total_minor` looks at each receipt by itself; `unmatched_returns` are returns without their purchase."""
    window: Literal["hour", "day"] | None = None
    """Rolling: any 60 minutes, or 24 hours, by the purchases' own time."""
    most: Annotated[int, Field(ge=0, le=MAX_MINOR)]
    """So much is still allowed."""
    hard: bool = False
    """What goes beyond it is refused at the till and earns nothing; else it is credited and flagged."""


class Rules(_Term):
    """What the programme promises."""

    points_currencies: Annotated[tuple[PointsCurrencyTerms, ...], Field(min_length=1, max_length=20)] = (
        PointsCurrencyTerms(code="points", name_ru="баллы", name_en="points", worth_minor=100),
    )
    """Currencies of points; one that was used stays."""
    establishments: Annotated[tuple[Establishment, ...], Field(max_length=200)] = ()
    """Groups of stores; a store is in one group at most."""
    account_kinds: Annotated[tuple[AccountKind, ...], Field(min_length=1, max_length=20)] = (
        AccountKind(code=MAIN, name_ru="Основной", name_en="Main", points_currency="points"),
    )
    """Kinds of account; one that was used stays, and keeps its currency."""
    currencies: Annotated[tuple[Currency, ...], Field(min_length=1, max_length=50)] = (
        "RUB",
        "USD",
        "EUR",
        "BYN",
        "KZT",
    )
    """Money of receipts that the programme takes."""
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=50)] = (
        Level(code="base", spent_minor_from=0, rate_basis_points=500),
        Level(code="silver", spent_minor_from=5_000_000, rate_basis_points=600),
        Level(code="gold", spent_minor_from=15_000_000, rate_basis_points=700),
    )
    """By what was spent so far; 500 basis points are 5 %."""
    rounding: Literal["down", "up", "half_even"] = "down"
    """What becomes of a part of a point."""
    rounded_per: Literal["receipt", "line"] = "receipt"
    """Whether a receipt's points are rounded once and split over its lines, or each line's by themselves."""
    earns_on_part_paid_with_points: bool = False
    """Whether that part of a receipt earns points again."""
    not_earning: Excluded = Excluded()
    """Lines that earn nothing."""
    not_payable: Excluded = Excluded()
    """Lines that cannot be paid with points."""
    payable_share: Share = BASIS_POINTS
    """Largest share of a receipt that can be paid with points, in basis points."""
    payable_line_share: Share = BASIS_POINTS
    """The same of each line."""
    payable_min_points: Annotated[int, Field(ge=1, le=MAX_MINOR)] = 1
    """Fewer points cannot be paid with."""
    payable_step_points: Annotated[int, Field(ge=1, le=MAX_MINOR)] = 1
    """Points are paid with in multiples of so many."""
    quote_life_s: Annotated[int, Field(ge=60, le=7 * 24 * HOUR_S)] = 24 * HOUR_S
    """After so long a quote that came to nothing is abandoned."""
    hold_life_s: Annotated[int, Field(ge=5, le=7 * 24 * HOUR_S)] = 15 * 60
    """After so long held points are given back by themselves."""
    activates_after_h: Annotated[int, Field(ge=0, le=24 * 3660)] = 0
    """Hours until earned points can be spent."""
    activates_after_return_period: bool = False
    """Whether earned points wait for the end of the return period as well."""
    return_period_days: Annotated[int, Field(ge=0, le=3660)] = 14
    """Days in which goods may be returned."""
    lot_life_days: Annotated[int, Field(ge=0, le=36_500)] | None = 365
    """Days until points burn; null together with no months and no period: never."""
    lot_life_months: Annotated[int, Field(ge=0, le=1200)] = 0
    """Calendar months on top of the days."""
    lots_end_with: Literal["month", "quarter", "year"] | None = None
    """Points that would burn within one burn at its end, by the programme's time zone."""
    lots_live_on_with_activity: bool = False
    """Whether each purchase gives all of an account's points a new life of that length."""
    time_zone: Annotated[str, StringConstraints(max_length=64), Field(examples=["Europe/Moscow"])] = "Europe/Moscow"
    """IANA name: in which time zone months, quarters and years end."""
    notice_days_before: Annotated[int, Field(ge=1, le=365)] | None = 7
    """So many days before points burn the customer's services are told; null: never."""
    lots_age_while_frozen: bool = True
    """Whether points burn at their time though nobody can spend them; else they live as much longer."""
    returned_but_spent: Literal["other_lots", "write_off", "debt"] = "other_lots"
    """Where the points that a returned line earned are spent already: taken from other lots, given up, or owed."""
    refund_revives_days: Annotated[int, Field(ge=1, le=3660)] | None = 30
    """Where points that come back to the customer have burned meanwhile: they live so long; null: they stay burned."""
    limits: Annotated[tuple[Limit, ...], Field(max_length=50)] = ()
    """Against fraud: more than this is refused or looked at by the staff."""
    guesses_per_hour: Annotated[int, Field(ge=1, le=1000)] = 30
    """So many cards and phones that nobody has may a till ask for within 60 minutes."""


class Terms(Rules):
    """What the programme promises from `in_force_from` on."""

    id: UUID
    in_force_from: AwareDatetime
    set_by: str
    set_at: AwareDatetime

    def level_at(self, spent_minor: int) -> Level:
        """The highest level reached by so much spent."""
        reached = self.levels[0]
        for level in self.levels[1:]:
            if level.spent_minor_from > spent_minor:
                break
            reached = level
        return reached

    def kind(self, code: str) -> AccountKind | None:
        """The kind of account with this code."""
        return self._kinds.get(code)

    def currency_of(self, kind: str) -> PointsCurrencyTerms:
        """The currency of points on accounts of this kind."""
        return self._currencies[self._kinds[kind].points_currency]

    def earning_kind(self, store_id: str) -> str:
        """On which kind of account a purchase in this store earns."""
        return self._earning.get(store_id, MAIN)

    def opens_in(self, kind: AccountKind, store_id: str) -> bool:
        """Whether points of this kind can be spent in this store."""
        return kind.establishment is None or store_id in self._stores.get(kind.establishment, frozenset())

    def establishment_of(self, kind: str, store_id: str | None) -> str | None:
        """That of the store; where there was none, that of the kind of account."""
        if store_id is not None:
            return self._establishment.get(store_id)
        own = self.kind(kind)
        return own.establishment if own else None

    def why(self, product_id: str, category: str | None, level: str, withheld: str | None) -> str:
        """The rule by which a line earned what it did, as a stable word."""
        if withheld:
            return withheld
        return "excluded" if self.not_earning.has(product_id, category) else f"level:{level}"

    @cached_property
    def _kinds(self) -> dict[str, AccountKind]:
        return {kind.code: kind for kind in self.account_kinds}

    @cached_property
    def _currencies(self) -> dict[str, PointsCurrencyTerms]:
        return {currency.code: currency for currency in self.points_currencies}

    @cached_property
    def _stores(self) -> dict[str, frozenset[str]]:
        return {each.code: frozenset(each.stores) for each in self.establishments}

    @cached_property
    def _establishment(self) -> dict[str, str]:
        return {store: each.code for each in self.establishments for store in each.stores}

    @cached_property
    def _earning(self) -> dict[str, str]:
        return {
            store: kind.code
            for kind in self.account_kinds
            if kind.earns and kind.establishment is not None
            for store in self._stores[kind.establishment]
        }


KEYS: Final = "ARRAY(SELECT id FROM terms ORDER BY in_force_from DESC, id DESC)"
"""The terms of all times, newest first: a column of any statement, whose answer `terms_of` reads."""
READ: Final = "SELECT id, in_force_from, set_by, set_at, rules FROM terms WHERE id = ANY ($1::uuid[])"
_read: dict[UUID, Terms] = {}
"""Terms never change once they are set, and reading a long document for each batch would cost more than the batch."""


async def all_terms(tx: Transaction) -> Sequence[Terms]:
    """The terms of all times, newest first; there are a handful."""
    ((keys,),) = await tx.sql(f"SELECT {KEYS}")
    return await terms_of(tx, keys)


async def terms_of(tx: Transaction, keys: Sequence[UUID]) -> Sequence[Terms]:
    """The terms with these keys, in their order."""
    unread = [each for each in keys if each not in _read]
    if unread:
        for row in await tx.sql(READ, unread):
            _read[row.id] = Terms(
                id=row.id, in_force_from=row.in_force_from, set_by=row.set_by, set_at=row.set_at, **row.rules
            )
    return [_read[each] for each in keys]


async def terms_now(tx: Transaction) -> Terms:
    """Those in force; later ones may be planned already."""
    return terms_at(await all_terms(tx), tx.now)


def terms_at(terms: Sequence[Terms], moment: datetime) -> Terms:
    """Those in force at that moment; what is older than all terms goes by the oldest. `terms`: newest first."""
    for each in terms:
        if each.in_force_from <= moment:
            return each
    return terms[-1]
