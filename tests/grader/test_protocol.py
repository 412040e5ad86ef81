"""Messages of a worker: what arrives is what was sent, and nothing else gets through."""

import io
import json
import pickle
import tracemalloc

import numpy as np
import pytest

from annlib.grader.protocol import LENGTH, Malformed, Message, packed, read_message, unpacked
from annlib.grader.sandbox import Transcript, WorkerFault, read_transcript

READY, RUN = Message({"ready": True}, {}), Message({"failures": []}, {})


def body(head: object, numbers: bytes = b"") -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return LENGTH.pack(len(text)) + text + numbers


def described(*parts: object) -> dict:
    return {"facts": {}, "arrays": list(parts)}


def read(*sent: Message | bytes, num_cells: int = 3, num_calls: int = 3) -> Transcript:
    """What the grader takes from a worker that is ready, has run its cells, and sends this."""
    before = (READY,) if sent and "failures" in getattr(sent[0], "facts", {}) else (READY, RUN)
    data = [one if isinstance(one, bytes) else packed(one) for one in (*before, *sent)]
    return read_transcript(b"".join(data), b"", "finished", num_cells, num_calls)


def test_message_arrives_as_it_was_sent() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "none": np.zeros((0, 4), np.float16)}
    sent = Message({"call": 3, "text": "ä"}, arrays | {"one": np.array(True)})
    data = packed(sent)
    facts, found = unpacked(data[LENGTH.size :])
    assert LENGTH.unpack(data[: LENGTH.size]) == (len(data) - LENGTH.size,)
    assert facts == sent.facts
    assert all(np.array_equal(found[name], value) for name, value in sent.arrays.items())
    assert [found[name].shape for name in ("none", "one")] == [(0, 4), ()]
    assert all(found[name].flags.writeable for name in found), "torch wants to write"


def test_a_request_may_be_longer_than_an_answer() -> None:
    sent = Message({"cells": ["x" * 2**20]}, {f"a{n}": np.ones(1) for n in range(99)})
    data = packed(sent)
    assert read_message(io.BytesIO(data)).facts == sent.facts
    with pytest.raises(Malformed, match="too long"):
        unpacked(data[LENGTH.size :])


@pytest.mark.parametrize(
    "part",
    [
        *("no list", ["a", "<f4"], ["a", "<f4", [1], 0]),
        *([1, "<f4", [1]], ["\ud800", "<f4", [1]], ["a\n", "<f4", [1]], ["a" * 201, "<f4", [1]]),
        *(["a", "|O", [1]], ["a", ">f4", [1]], ["a", "<f16", [1]], ["a", "<M8[s]", [1]]),
        *(["a", ["<f4"], [1]], ["a", "f4,f4", [1]], ["a", "(", [1]], ["a", "-" * 9000, [1]]),
        *(["a", "<f4", 1], ["a", "<f4", {"0": 1}], ["a", "<f4", [True]], ["a", "<f4", [1.0]]),
        *(["a", "<f4", [-1, -1]], ["a", "<f4", [None]], ["a", "<f4", [[1]]], ["a", "<f4", ["1"]]),
        *(["a", "<f4", [0, 10**30]], ["a", "<f4", [0, 2**31, 2**31]], ["a", "<f4", [1] * 33]),
        *(["a", "<f4", [2]], ["a", "<f4", [0]], ["a", "<f8", [1]], ["a", "<f4", [10**9]]),
    ],
    ids=str,
)
def test_an_array_is_described_as_agreed_or_refused(part: object) -> None:
    with pytest.raises(Malformed):
        unpacked(body(described(part), bytes(4)))


@pytest.mark.parametrize(
    "other",
    [
        *(b"", b"no zip", pickle.dumps({"facts": 1}), LENGTH.pack(2**63) + b"{}", body(b"")),
        *(body(b"[" * 10**5), body([1]), body(b"\xff"), body(b"9" * 5000), body({"facts": {}})),
        *(body({"facts": [], "arrays": []}), body({"facts": {}, "arrays": {}})),
        body(described(*2 * [["a", "<f4", [1]]]), bytes(8)),
        body(described(*[[f"a{n}", "<f4", [0]] for n in range(51)])),
        body(described(), b"more"),
    ],
)
def test_other_bytes_are_malformed(other: bytes) -> None:
    with pytest.raises(Malformed):
        unpacked(other)


def test_a_complaint_quotes_nothing_of_the_message() -> None:
    carried = ["carried text", "carried text", "carried text"]
    for head in (described(carried), described([*carried[:1], "<f4", "carried text"]), carried):
        ended = read(LENGTH.pack(len(body(head))) + body(head)).ended
        assert "cannot be read" in ended and "carried" not in ended


def test_reading_takes_little_more_memory_than_the_message() -> None:
    tracemalloc.start()
    for size in (2**18 - 1, 15 * 2**20):
        text = b'{"facts": {}, "arrays": [' + b"{}," * (size // 3)
        with pytest.raises(Malformed):
            unpacked(body(text[: size - 4] + b"{}]}"))
    assert tracemalloc.get_traced_memory()[1] < 2 * 15 * 2**20 + 2**25
    tracemalloc.stop()


def test_what_was_said_before_nonsense_counts() -> None:
    answer = Message({"call": 0}, {"output": np.ones(2)})
    transcript = read(answer, LENGTH.pack(4) + b"fake")
    assert transcript.answers[0].arrays["output"].tolist() == [1, 1]
    assert "cannot be read" in transcript.ended


def test_a_second_answer_to_a_question_is_not_heard() -> None:
    first, second = ({"call": 0, "error": {"type": name}} for name in ("First", "Second"))
    transcript = read(Message(first, {}), Message(second, {}))
    assert transcript.answers[0].facts["error"]["type"] == "First"


def test_answers_that_come_once_the_own_code_is_known_are_not_heard() -> None:
    """Two questions, and one for own code, which follows after two answers of any kind."""
    ready = [Message({"ready": True}, {}), Message({"failures": []}, {})]
    said = [Message({"call": number, "error": {"type": "E"}}, {}) for number in (0, 0, 1, 4)]
    found = read_transcript(b"".join(map(packed, ready + said)), b"", "finished", 1, 2, 1)
    assert [*found.answers] == [0, 4]
    said = [Message({"call": number, "error": {"type": "E"}}, {}) for number in (0, 1, 2, 3, 4)]
    ready[1] = Message({"failures": [], "twice": True}, {})
    found = read_transcript(b"".join(map(packed, ready + said)), b"", "finished", 1, 2, 1)
    assert [*found.answers] == [0, 1, 2, 3, 4] and found.twice


def test_answers_to_questions_that_were_not_put_are_not_heard() -> None:
    said = [Message({"call": number}, {}) for number in (-1, 3, True, 10**9)]
    assert read(*said).answers == {}


def test_no_more_messages_are_read_than_can_be_asked_for() -> None:
    endless = packed(Message({}, {})) * 10**6  # 30 MB, which once took a minute
    transcript = read(endless, num_calls=3)
    assert "more messages than questions" in transcript.ended
    answers = [Message({"call": number}, {}) for number in range(3)]
    assert read(*answers, Message({"finished": True}, {})).ended == "finished"


def test_failures_of_cells_count_only_before_the_questions_are_known() -> None:
    late = Message({"failures": [{"cell": 1, "type": "KeyError"}]}, {})
    assert read(Message({"failures": []}, {}), late).failures == []
    assert [one["cell"] for one in read(late).failures] == [1]


def test_failures_have_cells_that_exist_and_text_that_can_be_written() -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    sent = [{"cell": 1, "type": "\ud800\x1b[31m", "message": deep}, {"cell": 2}, {"cell": 2}]
    sent += [{"cell": 10**300}, {"cell": True}, {"cell": [1]}, {"cell": 4}, "text"]
    first, second = read(Message({"failures": sent}, {})).failures
    assert first == {"cell": 1, "type": "  [31m", "message": ""}
    assert second == {"cell": 2, "type": "", "message": ""}


def test_a_worker_that_never_was_ready_is_no_fault_of_the_student() -> None:
    with pytest.raises(WorkerFault, match="no such file"):
        read_transcript(b"", b"no such file", "it broke off", 1, 1)
