#!/usr/bin/python3
"""The greeter in Python: the protocol by hand, with the standard library only."""

import os
import struct
import sys


def read_frame(stream):
    """The next frame's body; None when the stream ended before it."""
    header = stream.read(4)  # Waits until it has four bytes or the end.
    if not header:
        return None
    if len(header) < 4:
        sys.exit("the input ended inside a length")
    (size,) = struct.unpack(">i", header)  # Signed, big endian.
    body = stream.read(size) if size >= 0 else b""
    if len(body) != size:
        sys.exit("the input ended inside a frame")
    return body


def read_varint(data, at):
    """A protobuf varint at `at`; its value and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def event_data(body):
    """Event.data is field 1, bytes (tag 0x0a); empty data leaves the whole field out."""
    if not body:
        return b""
    if body[0] != 0x0A:
        sys.exit("not an event")
    size, start = read_varint(body, 1)
    return body[start : start + size]


def result_frame(data):
    """Result.data is field 2, bytes (tag 0x12). Status 0 and no variables: nothing to write."""
    body = b"\x12" + varint(len(data)) + data if data else b""
    return struct.pack(">i", len(body)) + body


def main():
    requests = sys.stdin.buffer
    # The answers go to a private copy of stdout; a stray print() goes to the log.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (event := read_frame(requests)) is not None:
        if read_frame(requests) is None:  # The execution context: stop time, variables.
            sys.exit("an event without its execution context")
        answers.write(result_frame(b"Hello, " + event_data(event) + b"!"))
        answers.flush()


main()
