"""Messages of a worker: what arrives is what was sent, and nothing else gets through."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from annlib.course.grading.frames import LENGTH, Malformed, Message, packed, unpacked
from annlib.course.grading.running import WorkerFault, read_transcript

FACTS = np.frombuffer(b'{"call": 0}', dtype=np.uint8)


def zipped(how: int = zipfile.ZIP_STORED, **files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_message_arrives_as_it_was_sent() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "none": np.zeros((0, 4), np.float16)}
    sent = Message({"call": 3, "text": "ä"}, arrays)
    data = packed(sent)
    facts, found = unpacked(data[LENGTH.size :])
    assert LENGTH.unpack(data[: LENGTH.size]) == (len(data) - LENGTH.size,)
    assert facts == sent.facts
    assert all(np.array_equal(found[name], value) for name, value in arrays.items())
    assert found["none"].shape == (0, 4)


def test_pickled_objects_are_refused_unread() -> None:
    objects = npy(np.array([{"a": 1}], dtype=object))
    with pytest.raises(Malformed):
        unpacked(zipped(facts=npy(FACTS), output=objects))


def test_header_that_promises_more_than_there_is_is_refused() -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(Malformed, match="bytes"):
        unpacked(zipped(facts=npy(FACTS), output=file.getvalue() + bytes(8)))


def test_compressed_arrays_are_refused() -> None:
    with pytest.raises(Malformed, match="compressed"):
        unpacked(zipped(zipfile.ZIP_DEFLATED, facts=npy(FACTS), output=npy(np.zeros(10**6))))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no zip",
        pickle.dumps({"facts": 1}),
        zipped(),
        zipped(facts=b"no array"),
        zipped(facts=npy(np.frombuffer(b"[" * 10**5, dtype=np.uint8))),
        zipped(facts=npy(np.frombuffer(b"[1]", dtype=np.uint8))),
        zipped(facts=npy(np.frombuffer(b"\xff", dtype=np.uint8))),
    ],
    ids=["empty", "text", "pickle", "no facts", "no array", "deep", "a list", "not UTF-8"],
)
def test_other_bytes_are_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        unpacked(body)


def test_what_was_said_before_nonsense_counts() -> None:
    said = packed(Message({"ready": True}, {})) + packed(Message({"call": 0}, {"output": FACTS}))
    transcript = read_transcript(said + LENGTH.pack(4) + b"fake", b"", "finished")
    assert list(transcript.answers) == [0]
    assert "cannot be read" in transcript.ended


def test_a_second_answer_to_a_question_is_not_heard() -> None:
    said = [Message({"ready": True}, {}), Message({"call": 0, "first": 1}, {})]
    said.append(Message({"call": 0}, {}))
    transcript = read_transcript(b"".join(map(packed, said)), b"", "finished")
    assert transcript.answers[0].facts["first"] == 1


def test_a_worker_that_never_was_ready_is_no_fault_of_the_student() -> None:
    with pytest.raises(WorkerFault, match="no such file"):
        read_transcript(b"", b"no such file", "it broke off (exit code 1)")
