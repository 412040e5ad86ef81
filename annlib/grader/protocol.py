"""The messages between grader and worker: JSON and plain bytes, nothing else.

What a worker sends was perhaps written by the submission: reading it runs no code, and needs
little more memory than the bytes that came. An .npz, numpy's own format, is a zip, whose entries
may share their bytes, so that a small file becomes a huge one, and its heads are read as Python.

A message: its length, the length of its head, the head (JSON), the numbers of all arrays.
Head: {"facts": {...}, "arrays": [[name, dtype, shape], ...]}, in the order of the numbers.
"""

import io
import json
import struct
from math import prod
from typing import NamedTuple

import numpy as np

LENGTH = struct.Struct(">Q")
# Of an answer. Its head becomes objects of Python, which take many times the bytes of the text.
MOST_HEAD_BYTES, MOST_ARRAYS = 2**18, 50
MOST_AXES, MOST_NUMBERS, LONGEST_NAME = 32, 2**31, 200
DTYPES = "|b1 |i1 <i2 <i4 <i8 |u1 <u2 <u4 <u8 <f2 <f4 <f8 <c8 <c16"
DTYPES = {name: np.dtype(name) for name in DTYPES.split()}


class Message(NamedTuple):
    """facts: what JSON can hold. arrays: name -> array of numbers."""

    facts: dict
    arrays: dict[str, np.ndarray]


class Malformed(ValueError):
    """Bytes that are not a message: a submission wrote them, or was killed while writing.
    The sentence never quotes them: a submission could put into them what it was asked."""


def packed(message: Message) -> bytes:
    """The message with its length before it."""
    parts = [(name, array.dtype.str, array.shape) for name, array in message.arrays.items()]
    head = json.dumps({"facts": message.facts, "arrays": parts}).encode()
    body = [LENGTH.pack(len(head)), head, *(array.tobytes() for array in message.arrays.values())]
    return b"".join([LENGTH.pack(sum(map(len, body))), *body])


def unpacked(
    body: bytes | memoryview, most_head_bytes: int = MOST_HEAD_BYTES, most_arrays: int = MOST_ARRAYS
) -> Message:
    """The message, without its length; raises Malformed for anything else."""
    if len(body) < LENGTH.size:
        raise Malformed("it is too short")
    (head_bytes,) = LENGTH.unpack_from(body)
    start = LENGTH.size + head_bytes
    if head_bytes > most_head_bytes or start > len(body):
        raise Malformed("its head is too long")
    try:
        head = json.loads(bytes(body[LENGTH.size : start]))
    except (ValueError, RecursionError) as error:
        raise Malformed("its head is not JSON") from error
    facts, rows = (head.get("facts"), head.get("arrays")) if isinstance(head, dict) else (0, 0)
    if not isinstance(facts, dict) or not isinstance(rows, list):
        raise Malformed("it has no facts or no arrays")
    if len(rows) > most_arrays:
        raise Malformed("it has too many arrays")
    parts = [checked(row) for row in rows]
    if len({name for name, _, _ in parts}) < len(parts):
        raise Malformed("two arrays have the same name")
    if sum(prod(shape) * dtype.itemsize for _, dtype, shape in parts) != len(body) - start:
        raise Malformed("its arrays have more or fewer bytes than there are")
    arrays = {}
    for name, dtype, shape in parts:
        arrays[name] = np.ndarray(shape, dtype, body, start).copy()
        start += arrays[name].nbytes
    return Message(facts, arrays)


def checked(row: object) -> tuple[str, np.dtype, list[int]]:
    """Name, numbers and shape of an array in the head, each looked at before it is used."""
    if not isinstance(row, list) or len(row) != 3:
        raise Malformed("an array is not described by three fields")
    name, dtype, shape = row
    if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
        raise Malformed("an array has no proper name")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise Malformed("an array has numbers of an unknown kind")
    if not isinstance(shape, list) or len(shape) > MOST_AXES:
        raise Malformed("an array has no proper shape")
    if not all(type(size) is int and 0 <= size <= MOST_NUMBERS for size in shape):
        raise Malformed("an array has no proper size")  # True is an int, too, but not a size
    if prod(max(1, size) for size in shape) > MOST_NUMBERS:  # numpy looks past axes of size 0
        raise Malformed("an array has too many numbers")
    return name, DTYPES[dtype], shape


def read_message(stream: io.BufferedIOBase) -> Message:
    """The next message of a stream that is trusted: what the worker reads from the grader."""
    (length,) = LENGTH.unpack(stream.read(LENGTH.size))
    return unpacked(stream.read(length), most_head_bytes=length, most_arrays=length)


def readable(text: object, longest: int) -> str:
    """Text that a worker sent, without what no file or page can hold; "" for what is not text."""
    found = text[:longest] if isinstance(text, str) else ""
    return "".join(character if character.isprintable() else " " for character in found)
