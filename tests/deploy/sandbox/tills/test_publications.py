"""The records that tills make of real receipts, and the dates that they get."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import phonenumbers
import pytest
from pydantic import TypeAdapter

from chassis.envelope import Raw, decode
from contracts.fields import CardNumber
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from deploy.sandbox.tills.afterwards import Shares
from deploy.sandbox.tills.baskets import FIRST_DAY
from deploy.sandbox.tills.dates import Pace, is_live
from deploy.sandbox.tills.happenings import Happening, Place, happenings
from deploy.sandbox.tills.households import card_number, is_chosen, person
from deploy.sandbox.tills.journal import Journal
from deploy.sandbox.tills.publications import publication
from deploy.trouble import Trouble

DATE = datetime(2026, 3, 1, 10, 20, 30, 123_000, tzinfo=UTC)
BEGAN = datetime(2026, 3, 29, tzinfo=UTC)
KNOWN = {record.type: record for record in (PurchaseCompleted, PurchaseReturned, PurchaseCancelled)}
HOUSEHOLDS = range(1, 2501)


@pytest.fixture(scope="module")
def first() -> list[Happening]:
    return list(islice(happenings(1, Shares(returned=0.2, cancelled=0.05)), 3000))


def test_a_service_understands_every_record(first: list[Happening]) -> None:
    kinds = set()
    for happening in first:
        said = publication(happening, DATE, "260301")
        word = said.word()
        heard = decode(Raw(word.topic, 0, 0, 0, word.key, word.value, word.headers), KNOWN, value_max_bytes=200_000)
        assert heard is not None
        assert heard.record == said.record
        assert (heard.event_id, heard.time, heard.traceparent) == (said.event_id, DATE, said.traceparent)
        assert word.key == card_number(happening.basket.household).encode()
        kinds.add(type(heard.record))
    assert kinds == set(KNOWN.values())


def test_a_receipt_has_the_money_of_its_basket(first: list[Happening]) -> None:
    for happening in first:
        record = publication(happening, DATE, "260301").record
        if isinstance(record, PurchaseCompleted):
            assert record.total_minor == sum(line.total_minor for line in happening.basket.lines)
            assert record.discount_minor == sum(line.discount_minor for line in happening.basket.lines)
            assert record.currency == "USD"
            assert record.terminal_id.startswith(f"{happening.basket.store}-")


def test_a_return_names_a_receipt_that_was_published_and_gives_back_no_more_than_was_paid(
    first: list[Happening],
) -> None:
    receipts: dict[str, PurchaseCompleted] = {}
    given_back: dict[tuple[str, int], int] = {}
    for happening in first:
        record = publication(happening, DATE, "260301").record
        if isinstance(record, PurchaseCompleted):
            receipts[record.receipt_id] = record
            continue
        assert isinstance(record, PurchaseReturned | PurchaseCancelled)
        bought = receipts[record.receipt_id]
        assert record.key == bought.key
        for line in record.lines if isinstance(record, PurchaseReturned) else ():
            paid = {each.line_no: each for each in bought.lines}[line.line_no]
            given = given_back.get((bought.receipt_id, line.line_no), 0) + line.total_minor
            assert given <= paid.total_minor
            assert line.quantity <= paid.quantity
            given_back[bought.receipt_id, line.line_no] = given
    assert given_back


def test_a_record_published_again_is_the_same_to_the_byte(first: list[Happening]) -> None:
    once = [publication(happening, DATE, "260301").word() for happening in first]
    assert [publication(happening, DATE, "260301").word() for happening in first] == once


def test_ids_are_unique_version_7_of_their_date_and_another_runs_are_others(first: list[Happening]) -> None:
    ids = [publication(happening, DATE, "260301").event_id for happening in first]
    assert len(set(ids)) == len(ids)
    for event_id in ids:
        assert (event_id.version, event_id.variant) == (7, "specified in RFC 4122")
        assert event_id.int >> 80 == int(DATE.timestamp() * 1000)
    assert not set(ids) & {publication(happening, DATE, "260302").event_id for happening in first}
    again = first[0].place._replace(year=1)
    next_year = publication(Happening(again, first[0].basket), DATE, "260301")
    assert next_year.event_id != ids[0]
    assert next_year.record != publication(first[0], DATE, "260301").record


def test_every_household_has_a_valid_phone_and_card_of_its_own() -> None:
    phones = [person(household).phone for household in HOUSEHOLDS]
    assert len(set(phones)) == len(phones)
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(phone)) for phone in phones)
    cards = [card_number(household) for household in HOUSEHOLDS]
    assert len(set(cards)) == len(cards)
    for card in cards:
        assert TypeAdapter(CardNumber).validate_python(card) == card
        assert len(card) == 13
    assert {person(household).language for household in HOUSEHOLDS} == {"ru", "en"}
    assert [person(household) for household in HOUSEHOLDS] == [person(household) for household in HOUSEHOLDS]


def test_the_chosen_share_is_about_that_share_and_grows_without_leaving_anybody_out() -> None:
    tenth = {household for household in HOUSEHOLDS if is_chosen(household, 0.1)}
    assert 0.08 < len(tenth) / len(HOUSEHOLDS) < 0.12
    assert tenth < {household for household in HOUSEHOLDS if is_chosen(household, 0.3)}


def begun(days: int = 28) -> Journal:
    return Journal.begun(1, BEGAN, BEGAN - timedelta(days=days))


def test_what_lies_before_the_run_is_dated_as_it_was_moved(first: list[Happening]) -> None:
    journal = begun()
    history = [happening for happening in first if Pace().is_history(happening.place, journal)]
    dates = Pace().dates(history, journal, BEGAN)
    assert dates == [journal.starts_on + (happening.place.at - FIRST_DAY) for happening in history]
    assert max(dates) < BEGAN
    assert Pace().is_history(Place(0, FIRST_DAY + timedelta(days=27, hours=23), 1, 0), journal)
    assert not Pace().is_history(Place(0, FIRST_DAY + timedelta(days=28), 1, 0), journal)
    assert not Pace().is_history(Place(1, FIRST_DAY, 1, 0), journal)


def test_at_real_time_what_comes_then_is_dated_now(first: list[Happening]) -> None:
    journal = begun(days=0)
    now = BEGAN + timedelta(minutes=5)
    assert Pace().dates(first[:3], journal, now) == [now] * 3


def test_faster_dates_run_up_to_the_clock_and_no_further(first: list[Happening]) -> None:
    journal = begun(days=1)
    pace = Pace(per_s=2, speed=3600 * 4)
    assert not pace.is_history(first[0].place, journal)
    dates = pace.dates(first[:20], journal, BEGAN)
    assert dates[:3] == [journal.starts_on + timedelta(hours=2 * step) for step in (1, 2, 3)]
    assert dates[11:] == [BEGAN] * 9
    assert not is_live(journal, BEGAN)


def test_dates_never_go_back_when_the_clock_does(first: list[Happening]) -> None:
    journal = begun(days=0)
    journal.under_way = [BEGAN + timedelta(hours=1)]
    journal.finish(first[0].place)
    assert Pace().dates(first[1:3], journal, BEGAN) == [BEGAN + timedelta(hours=1)] * 2


def test_the_journal_remembers_what_was_done_and_what_was_under_way(tmp_path: Path, first: list[Happening]) -> None:
    assert Journal.found(tmp_path) is None
    journal = begun()
    journal.begin([DATE, DATE], tmp_path)
    journal.finish(first[1].place)
    journal.begin([DATE + timedelta(seconds=1)], tmp_path)
    found = Journal.found(tmp_path)
    assert found is not None
    assert (found.place, found.under_way) == (first[1].place, [DATE + timedelta(seconds=1)])
    assert (found.published, found.last_date, found.run) == (2, DATE, journal.run)
    found.finish(first[2].place)
    found.close(tmp_path)
    assert Journal.found(tmp_path) == found


def test_a_broken_journal_is_told_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "tills.json").write_text("{")
    with pytest.raises(Trouble, match=r"tills\.json cannot be read; remove it"):
        Journal.found(tmp_path)
