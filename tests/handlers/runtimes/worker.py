#!/usr/bin/python3
"""A handler that does what Python programs do: each event names a job, the answer is its result.

What goes wrong is answered as "failed: …", so that a test sees what a policy refuses. The jobs from
`read` on are those that no policy lets a handler do. Standard library only.
"""

import asyncio
import ctypes
import gc
import hashlib
import multiprocessing
import os
import pathlib
import secrets
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import zoneinfo
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import shared_memory

MIB = 1 << 20


def work(seed):
    """The same number in every language of this folder."""
    value = seed
    for _ in range(100_000):
        value = value * 1103515245 + 12345 & 0x7FFFFFFF
    return value


def threads():
    sums = [0] * 8

    def one(place):
        sums[place] = work(place + 1)

    running = [threading.Thread(target=one, args=(place,)) for place in range(8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(sums)


def in_asyncio():
    async def echo():
        """A loop, a timer, a thread, a socket pair, and a child with pipes."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(50)))
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=here)
        there.sendall(b"over a socket\n")
        line = await reader.readline()
        writer.close()
        there.close()
        child = await asyncio.create_subprocess_exec(
            "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said, _ = await child.communicate(line)
        return await loop.run_in_executor(None, said.decode().strip)

    return asyncio.run(echo())


def in_subprocess():
    shell = subprocess.run("echo hello | tr a-z A-Z", shell=True, check=True, capture_output=True)
    return shell.stdout.decode().strip()


def answer_square(channel, number):
    channel.send(number * number)


def in_multiprocessing():
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    children = [context.Process(target=answer_square, args=(there, n)) for n in range(4)]
    for child in children:
        child.start()
    squares = sorted(here.recv() for _ in children)
    for child in children:
        child.join()
    return squares


def take_from(queue, lock, total):
    while (number := queue.get()) is not None:
        with lock:
            total.value += number


def pool():
    """All that stands on POSIX semaphores: pools, queues, locks, shared values."""
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as workers:
        squares = workers.map(pow_two, range(5))
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        more = list(executor.map(pow_two, range(5, 8)))
    queue, lock, total = context.Queue(), context.Lock(), context.Value("i", 0)
    children = [context.Process(target=take_from, args=(queue, lock, total)) for _ in range(2)]
    for child in children:
        child.start()
    for number in [*squares, *more, None, None]:
        queue.put(number)
    for child in children:
        child.join()
    return total.value


def pow_two(number):
    return number * number


def in_shared_memory():
    shared = shared_memory.SharedMemory(create=True, size=MIB)
    try:
        shared.buf[:5] = b"hello"
        again = shared_memory.SharedMemory(name=shared.name)
        said = bytes(again.buf[:5]).decode()
        again.close()
        return said
    finally:
        shared.close()
        shared.unlink()


def collected():
    class Node:
        pass

    dropped = []
    for _ in range(20_000):
        one, other = Node(), Node()
        one.other, other.other = other, one
    gc.callbacks.append(lambda phase, info: dropped.append(info.get("collected", 0)))
    gc.collect()
    gc.callbacks.clear()
    return "collected" if not gc.garbage and dropped else "not collected"


def files():
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "a").write_bytes(b"x" * MIB)
        os.rename(place / "a", place / "b")
        os.link(place / "b", place / "c")
        os.symlink("b", place / "d")
        size = (place / "d").stat().st_size
        with sqlite3.connect(place / "e.db") as database:
            database.execute("create table t (n integer)")
            database.executemany("insert into t values (?)", [(n,) for n in range(10)])
            (total,) = database.execute("select sum(n) from t").fetchone()
        database.close()
        return f"{size} {len(list(place.iterdir()))} {total}"


def copy():
    """Copies that keep the mode, and an archive that brings one."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "tree").mkdir()
        (place / "tree/a").write_text("one")
        shutil.copy(place / "tree/a", place / "tree/b")
        (place / "tree/c").symlink_to("a")
        shutil.copytree(place / "tree", place / "again", symlinks=True)
        with tarfile.open(place / "all.tar", "w") as archive:
            archive.add(place / "again", "all")
        with tarfile.open(place / "all.tar") as archive:
            archive.errorlevel = 2
            archive.extractall(place / "out")
        os.chmod(place / "tree/a", 0o640)
        shutil.copy(place / "tree/a", place / "c")
        mode = (place / "c").stat().st_mode & 0o7777
        return f"{len(list((place / 'out/all').iterdir()))} {mode:o}"


def set_user_id():
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o4755)
        return f"{os.stat(file.name).st_mode & 0o7777:o}"


def memory():
    taken = bytearray(200 * MIB)
    for at in range(0, len(taken), 4096):
        taken[at] = 1
    return sum(taken) * 4096 // MIB


def recursion():
    def deeper(left):
        return 0 if left == 0 else 1 + deeper(left - 1)

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(25_000)
    try:
        depth = deeper(20_000)
    finally:
        sys.setrecursionlimit(before)
    try:
        deeper(10_000)
    except RecursionError:
        return depth
    return "no limit"


def callback():
    """A function of ours for C to call: libffi makes its code as we run."""
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: 2 * number)(21)


def crypto():
    ssl.create_default_context(cafile=None, capath=None)
    hashlib.scrypt(secrets.token_bytes(16), salt=b"s", n=1024, r=8, p=1)
    return hashlib.sha256(b"").hexdigest()[:8]


def zone():
    return datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).isoformat()


def read(path):
    return pathlib.Path(path).read_text().split("\n", maxsplit=1)[0]


def write(path):
    return pathlib.Path(path).write_text("written")


def connect(port):
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        return "connected"


def ptrace():
    return ctypes.CDLL(None, use_errno=True).ptrace(0, 0, None, None)  # PTRACE_TRACEME


JOBS = {
    "threads": threads, "asyncio": in_asyncio, "subprocess": in_subprocess,
    "multiprocessing": in_multiprocessing, "pool": pool, "shared_memory": in_shared_memory,
    "gc": collected, "callback": callback, "files": files, "copy": copy, "memory": memory,
    "recursion": recursion, "crypto": crypto, "zone": zone, "set_user_id": set_user_id,
    "read": read, "write": write, "connect": connect, "ptrace": ptrace,
}


def answer_to(event):
    job, *arguments = event.decode().split()
    try:
        return str(JOBS[job](*arguments))
    except Exception as failure:  # Whatever it is, the test is to read it.
        return f"failed: {type(failure).__name__}: {failure}"


# --- The protocol; greeter.py explains it. --------------------------------------------------------


def read_frame(stream):
    header = stream.read(4)
    if not header:
        return None
    return stream.read(struct.unpack(">i", header)[0])


def data_of(event):
    at = 1
    while event[at] >= 0x80:
        at += 1
    return event[at + 1 :]


def result_frame(data):
    size = len(data)
    body = b"\x12"
    while size >= 0x80:
        body += bytes([size & 0x7F | 0x80])
        size >>= 7
    body += bytes([size]) + data
    return struct.pack(">i", len(body)) + body


def main():
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Children inherit it; the answers' descriptor they do not.
    while (event := read_frame(sys.stdin.buffer)) is not None:
        read_frame(sys.stdin.buffer)  # The execution context.
        answers.write(result_frame(answer_to(data_of(event)).encode()))
        answers.flush()


if __name__ == "__main__":
    main()
