"""What a tab without a browser sees, and the figures made of it."""

from __future__ import annotations

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.sessions import Asked, failure, lost_tokens, times
from benchmarks.tab import Shown

QUESTION = "How is valve 1 checked? q1x3"
WHOLE = "q1x3-0 q1x3-1 q1x3-2"


def text(body: str) -> ForwardMsg:
    message = ForwardMsg()
    message.delta.new_element.markdown.body = body
    return message


def shown(*bodies: str) -> Shown:
    """A tab that got these texts, one each second."""
    found = Shown(token="q1x3-0")
    for second, body in enumerate(bodies, 1):
        found.take(text(body), second)
    return found


def test_answer_grows_and_ends_without_the_cursor() -> None:
    tab = shown("another text", "q1x3-0 ▌", "q1x3-0 ▌", "q1x3-0 q1x3-1 ▌")
    assert (tab.answer, tab.updates, tab.has_ended) == ("q1x3-0 q1x3-1", [2, 4], False)
    tab.take(text(WHOLE), 7)
    assert (tab.answer, tab.gaps, tab.has_ended) == (WHOLE, [2, 3], True)


def test_fragments_repeat_until_the_page_is_drawn_anew() -> None:
    tab, repeat, part, whole = Shown(), ForwardMsg(), ForwardMsg(), ForwardMsg()
    repeat.auto_rerun.fragment_id, repeat.auto_rerun.interval = "follow", 0.5
    part.new_session.name = whole.new_session.name = "app"
    part.metadata.run.fragment_ids.append("follow")
    tab.take(repeat, 1)
    tab.take(part, 2)
    assert tab.intervals == {"follow": 0.5}
    tab.take(whole, 3)
    assert not tab.intervals


def test_message_is_found_by_its_hash() -> None:
    tab, message, named = Shown(token="q1x3-0"), text(WHOLE), ForwardMsg(ref_hash="abc")
    message.hash, message.metadata.cacheable = "abc", True
    tab.take(message, 1)
    tab.answer = ""
    tab.take(named, 2)
    assert tab.answer == WHOLE


def test_errors_and_answers_without_an_end_are_told() -> None:
    tab, alert = shown("q1x3-0 ▌"), ForwardMsg()
    alert.delta.new_element.alert.body, alert.delta.new_element.alert.format = "Milvus is away", Alert.ERROR
    tab.take(alert, 2)
    tab.take(alert, 3)
    found = failure(Asked(QUESTION, 0, tab))
    assert found == f"{QUESTION}: Milvus is away; the answer did not end; 6 characters have arrived"
    assert failure(Asked(QUESTION, 0, shown(WHOLE))) == ""


def test_lost_tokens_are_counted_on_the_page_and_in_sql() -> None:
    asked = Asked(QUESTION, 0, shown("q1x3-0 q1x3-2"))
    assert lost_tokens(asked, WHOLE) == 1
    assert lost_tokens(asked, "") == 4


def test_times_leave_out_what_never_came() -> None:
    asked = [Asked(QUESTION, 0.5, shown("q1x3-0 ▌", WHOLE)), Asked(QUESTION, 0.5, Shown())]
    assert times(asked) == {"first_token_p50_ms": 500, "first_token_p95_ms": 500, "gap_p95_ms": 1000}
