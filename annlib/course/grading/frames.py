"""Messages between grader and worker: facts as JSON, numbers as plain arrays, nothing else.

What a worker sends was perhaps written by the submission: reading it runs no code, and needs no
more memory than the bytes that came.
"""

import io
import json
import struct
import zipfile
from math import prod
from typing import NamedTuple

import numpy as np

LENGTH = struct.Struct(">Q")
FACTS = "facts"  # the array that holds the JSON
PLAIN = "biufc"  # kinds of numpy dtypes that hold numbers
MOST_ARRAYS = 1000


class Message(NamedTuple):
    """facts: what JSON can hold. arrays: name -> array of numbers."""

    facts: dict
    arrays: dict[str, np.ndarray]


class Malformed(ValueError):
    """Bytes that are no message of ours: a submission wrote them, or was killed while writing."""


def packed(message: Message) -> bytes:
    """The message with its length before it."""
    facts = np.frombuffer(json.dumps(message.facts).encode(), dtype=np.uint8)
    file = io.BytesIO()
    np.savez(file, **{FACTS: facts}, **message.arrays)
    body = file.getvalue()
    return LENGTH.pack(len(body)) + body


def unpacked(body: bytes) -> Message:
    """The message, without its length; raises Malformed for anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ARRAYS:
                raise Malformed(f"{len(entries)} arrays, more than {MOST_ARRAYS}")
            arrays = {
                entry.filename.removesuffix(".npy"): plain_array(archive, entry)
                for entry in entries
            }
        facts = json.loads(arrays.pop(FACTS).tobytes())
    except Malformed:
        raise
    except (ValueError, KeyError, OSError, RecursionError, NotImplementedError, RuntimeError) as e:
        raise Malformed(f"{type(e).__name__}: {e}") from e
    except (zipfile.BadZipFile, EOFError, struct.error) as e:
        raise Malformed(f"{type(e).__name__}: {e}") from e
    if not isinstance(facts, dict):
        raise Malformed(f"facts are a {type(facts).__name__}, no object")
    return Message(facts, arrays)


def plain_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array; its header may promise no more than the bytes that are there."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise Malformed(f"{entry.filename!r} is compressed; a small file could become a huge one")
    data = io.BytesIO(archive.read(entry))
    version = np.lib.format.read_magic(data)
    if version != (1, 0):
        raise Malformed(f"{entry.filename!r} has version {version} of numpy's format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(data)
    promised, there = prod(shape) * dtype.itemsize, len(data.getvalue()) - data.tell()
    if dtype.kind not in PLAIN or min(shape, default=0) < 0 or promised != there:
        raise Malformed(f"{entry.filename!r}: {shape} of {dtype} in {there} bytes")
    data.seek(0)
    return np.lib.format.read_array(data, allow_pickle=False)


def read_message(stream: io.BufferedIOBase) -> Message:
    """The next message of a stream that is trusted: what the worker reads from the grader."""
    (length,) = LENGTH.unpack(stream.read(LENGTH.size))
    return unpacked(stream.read(length))
