"""Numbers that came, numbers that are missing, in bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.site.live_model.sequence_tracker import Seen, SequenceTracker, Span


def book_of(*seqs, **options) -> SequenceTracker:
    """A book into which these came."""
    book = SequenceTracker(**options)
    for seq in seqs:
        book.enter(seq)
    return book


def knows(book, numbers) -> bool:
    """Whether each of them, once more, would be one that came before."""
    return all(book.enter(number) is Seen.AGAIN for number in numbers)


def test_numbers_in_order_leave_no_gap():
    """The first one that comes is where the book begins."""
    book = book_of(4711, 4712, 4713)
    assert (book.first, book.highest, book.gaps(), book.missing) == (4711, 4713, (), 0)


def test_a_jump_is_a_gap_and_closes_as_its_numbers_come():
    """Spans name what is missing; a number in between is told from a new one and from a double."""
    book = book_of(1, 2, 7)
    assert book.gaps() == (Span(first=3, last=6),)
    assert book.enter(5) is Seen.FILLED
    assert book.gaps() == (Span(first=3, last=4), Span(first=6, last=6))
    assert book.enter(5) is Seen.AGAIN
    assert [book.enter(seq) for seq in (3, 4, 6)] == [Seen.FILLED] * 3
    assert book.gaps() == ()
    assert knows(book, range(1, 8))
    assert book.enter(8) is Seen.NEXT


def test_numbers_from_before_the_beginning_open_no_gap():
    """A replay that somebody else asked for reaches further back than we are owed."""
    book = book_of(100, 101, 3, 4)
    assert (book.gaps(), book.first) == ((), 100)
    assert knows(book, (100, 101, 3, 4))


def test_a_claim_says_from_where_on_numbers_are_owed():
    """What never came at all is missing, too: at the beginning, and at the end."""
    book = SequenceTracker()
    book.claim(1)
    book.enter(3)
    assert book.gaps() == (Span(first=1, last=2),)
    book.said_last(10)
    assert (book.behind, book.last_known) == (7, 10)


def test_what_the_broker_had_kept_claims_nothing():
    """Retained flags have numbers far apart: no gaps before the first live number."""
    book = SequenceTracker()
    for seq in (10, 40, 90):
        book.enter(seq, live=False)
    assert (book.gaps(), book.first) == ((), None)
    book.enter(100)
    assert book.gaps() == ()


def test_a_forged_number_opens_no_gap_of_millions():
    """It is refused, whether it comes first, later, or as the last number of all."""
    book = SequenceTracker(longest_jump=1000, highest_start=10**9)
    assert book.enter(10**18) is Seen.IMPLAUSIBLE
    book.enter(5)
    assert book.enter(10**18) is Seen.IMPLAUSIBLE
    assert not book.said_last(10**18)
    assert (book.missing, book.behind, book.highest) == (0, 0, 5)
    assert book.enter(1005) is Seen.NEXT


def test_memory_is_bounded_and_what_is_forgotten_is_counted():
    """Every second number for ever: the oldest spans go, their gaps stay as a count."""
    book = book_of(*range(1, 2000, 2), spans=16)
    assert len(book.gaps()) == 15
    assert book.missing + book.forgotten_missing == 999
    assert book.enter(2) is Seen.FORGOTTEN


@settings(deadline=None)
@given(seqs=st.lists(st.integers(1, 60), max_size=80), claim=st.none() | st.integers(1, 60))
def test_the_book_is_a_set_of_numbers(seqs, claim):
    """Against a plain set: seen, gaps and verdicts agree for any order of arrival."""
    book, plain = SequenceTracker(), set()
    if claim:
        book.claim(claim)
    for seq in seqs:
        verdict = book.enter(seq)
        expected = (
            Seen.AGAIN if seq in plain else Seen.NEXT if seq > max(plain, default=0) else None
        )
        assert verdict is (expected or Seen.FILLED)
        plain.add(seq)
    first = claim or (seqs[0] if seqs else None)
    missing = (
        [] if first is None else [n for n in range(first, max(plain, default=0)) if n not in plain]
    )
    assert [n for gap in book.gaps() for n in range(gap.first, gap.last + 1)] == missing
    assert knows(book, plain)
