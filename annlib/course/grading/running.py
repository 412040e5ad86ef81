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
from annlib.course.grading.frames import (
    LENGTH,
    Malformed,
    Message,
    packed,
    readable,
    unpacked,
)
from annlib.course.grading.sandbox import Sandbox

CHUNK = 2**20
FRAMING = 3  # messages besides the answers: ready, failures, finished


class WorkerFault(RuntimeError):
    """The worker did not get as far as the submission: nobody's points depend on it."""


class Transcript(NamedTuple):
    """What a worker said. failures: of cells. answers: number of the question -> message.

    ended: "finished", or what stopped it: one of our own sentences, as students get to read it.
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
        (*sandbox.command(limits), "-E", "-s", "-m", "annlib.course.grading.worker"),
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
    ended = cut or left(process.returncode)
    return read_transcript(data, complaint, ended, len(cells), len(calls.facts["calls"]))


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
    return "finished" if returncode == 0 else "it broke off"


def read_transcript(
    data: bytes, complaint: bytes, ended: str, num_cells: int, num_calls: int
) -> Transcript:
    """What was said, up to the first thing that is no message."""
    failures, answers, finished, started = {}, {}, False, False
    try:
        for message in messages(data, num_calls + FRAMING):
            started = started or bool(message.facts.get("ready"))
            if isinstance(message.facts.get("failures"), list):
                failures = failures_in(message.facts["failures"], num_cells)
            number = message.facts.get("call")
            if type(number) is int and 0 <= number < num_calls:
                answers.setdefault(number, only_answer(message))
            finished = finished or "finished" in message.facts
    except Malformed as error:
        ended = f"what it returned cannot be read: {error}"
    if not started:
        raise WorkerFault(
            f"The worker did not start ({ended}): {complaint.decode(errors='replace')[-500:]}"
        )
    broke_off = ended == "finished" and not finished
    return Transcript([*failures.values()], answers, "it broke off" if broke_off else ended)


def failures_in(sent: list, num_cells: int) -> dict[int, dict]:
    """{cell: failure}: of cells that there are, with the fields that a failure has to have."""
    return {
        failure["cell"]: {"cell": failure["cell"]} | plain(failure)
        for failure in sent
        if isinstance(failure, dict)
        and type(failure.get("cell")) is int
        and 1 <= failure["cell"] <= num_cells
    }


def plain(error: object) -> dict[str, str]:
    """Class and message of an error, whatever was sent."""
    given = error if isinstance(error, dict) else {}
    return {name: readable(given.get(name), 300) for name in ("type", "message")}


def only_answer(message: Message) -> Message:
    """Without facts that nobody asked for: answers are kept until all of them have come."""
    error = message.facts.get("error")
    return message._replace(facts={} if error is None else {"error": plain(error)})


def messages(data: bytes, most: int) -> Iterator[Message]:
    """The messages one after the other; a last one that was cut off is left out."""
    start, view = 0, memoryview(data)
    while start + LENGTH.size <= len(data):
        if most == 0:
            raise Malformed("it said more than it was asked for")
        (length,) = LENGTH.unpack_from(data, start)
        start += LENGTH.size
        if length > len(data) - start:
            return
        yield unpacked(view[start : start + length])
        start, most = start + length, most - 1
