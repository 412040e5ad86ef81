"""Lets a worker run one submission, and collects what it says until it ends or must be ended."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from annlib.course.grading.confine import Limits
from annlib.course.grading.frames import LENGTH, Malformed, Message, packed, unpacked
from annlib.course.grading.sandbox import Sandbox

CHUNK = 2**20
MOST_FAILURES = 200


class WorkerFault(RuntimeError):
    """The worker did not get as far as the submission: nobody's points depend on it."""


class Transcript(NamedTuple):
    """What a worker said. failures: of cells. answers: number of the question -> message.

    ended: "finished", or in a few words what stopped it.
    """

    failures: list[dict]
    answers: dict[int, Message]
    ended: str


def run_worker(
    sandbox: Sandbox,
    limits: Limits,
    prelude: str,
    cells: Sequence[str],
    modules: Mapping[str, str],
    calls: Message,
) -> Transcript:
    """Runs the cells, then puts the calls, in a process of its own; raises WorkerFault."""
    facts = {"limits": limits._asdict(), "prelude": prelude, "cells": list(cells)}
    facts |= {"modules": dict(modules), "alone": not sandbox.isolated}
    process = subprocess.Popen(
        (*sandbox.command, "-E", "-s", "-m", "annlib.course.grading.worker"),
        cwd=sandbox.folder,
        env=sandbox.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + limits.wall_seconds
    try:
        request = packed(Message(facts | calls.facts, calls.arrays))
        data, complaint, cut = exchange(process, request, deadline, limits.answer_mib * 2**20)
    finally:
        end_group(process)
    return read_transcript(data, complaint, cut or left(process.returncode))


def exchange(
    process: subprocess.Popen, request: bytes, deadline: float, most_bytes: int
) -> tuple[bytes, bytes, str]:
    """Feeds the request and reads until both streams end.  -> results, errors, why it was cut"""
    streams = {process.stdout: bytearray(), process.stderr: bytearray()}
    unsent = memoryview(request)
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        for stream in streams:
            ready.register(stream, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        while len(ready.get_map()):
            events = ready.select(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return bytes(streams[process.stdout]), b"", "out of time"
            for key, _ in events:
                if key.fileobj is process.stdin:
                    unsent = feed(process, unsent)
                    gone = not unsent
                else:
                    chunk = os.read(key.fd, CHUNK)
                    streams[key.fileobj] += chunk
                    gone = not chunk
                if gone:
                    ready.unregister(key.fileobj)
                    key.fileobj.close()
            if sum(map(len, streams.values())) > 2 * most_bytes:
                return bytes(streams[process.stdout]), b"", "it returned too much"
    wait_until(process, deadline)
    return bytes(streams[process.stdout]), bytes(streams[process.stderr]), ""


def feed(process: subprocess.Popen, unsent: memoryview) -> memoryview:
    """Writes what the pipe takes; nothing is left for a worker that is gone."""
    try:
        return unsent[os.write(process.stdin.fileno(), unsent[:CHUNK]) :]
    except BrokenPipeError:
        return unsent[:0]


def wait_until(process: subprocess.Popen, deadline: float) -> None:
    """Streams may be closed by a process that lives on: it gets no more than its time."""
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()


def end_group(process: subprocess.Popen) -> None:
    """Ends the worker and all that it may have started; under bubblewrap all in its sandbox."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(BrokenPipeError):
            stream.close()


def left(returncode: int) -> str:
    """How a worker that was not cut off has ended."""
    number = -returncode if returncode < 0 else returncode - 128  # bubblewrap hands on 128 + n
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "out of time or memory"
    return "finished" if returncode == 0 else f"it broke off (exit code {returncode})"


def read_transcript(data: bytes, complaint: bytes, ended: str) -> Transcript:
    """What was said, up to the first thing that is no message."""
    failures, answers, finished, started = [], {}, False, False
    try:
        for message in messages(data):
            started = started or bool(message.facts.get("ready"))
            if isinstance(message.facts.get("failures"), list):
                failures = [plain(failure) for failure in message.facts["failures"][:MOST_FAILURES]]
            if isinstance(number := message.facts.get("call"), int):
                answers.setdefault(number, message)
            finished = finished or "finished" in message.facts
    except Malformed as error:
        ended = f"what it returned cannot be read ({error})"
    if not started:
        raise WorkerFault(
            f"The worker did not start ({ended}): {complaint.decode(errors='replace')[-500:]}"
        )
    broke_off = ended == "finished" and not finished
    return Transcript(failures, answers, "it broke off" if broke_off else ended)


def plain(failure: object) -> dict:
    """A failure with the fields that it has to have, whatever was sent."""
    given = failure if isinstance(failure, dict) else {}
    cell = given.get("cell")
    fields = {name: str(given.get(name, ""))[:300] for name in ("type", "message")}
    return {"cell": cell if isinstance(cell, int) else 0} | fields


def messages(data: bytes) -> Iterator[Message]:
    """The messages one after the other; a last one that was cut off is left out."""
    start = 0
    while start + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, start)
        body = data[start + LENGTH.size : start + LENGTH.size + length]
        if len(body) < length:
            return
        yield unpacked(body)
        start += LENGTH.size + length
