#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""netproxy-check.py NETPROXY: holds a link to what it promises: round trip, bandwidth, all bytes.

The bounds are wide: the machine may be busy. With a second argument the figures are printed.
"""
import hashlib
import signal
import socket
import subprocess
import sys
import threading
import time

MIB = 1 << 20


def connect(port):
    one = socket.create_connection(("127.0.0.1", port), timeout=60)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


class Source:
    """Answers "N\\n" with N bytes; what came and went is summed up."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.block = bytes(i * 7 % 251 for i in range(MIB))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            one = self.listener.accept()[0]
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.answer, args=(one,), daemon=True).start()

    def answer(self, one):
        with one, one.makefile("rb") as lines:
            for line in lines:
                left = int(line)
                while left:
                    n = min(left, MIB)
                    one.sendall(memoryview(self.block)[:n])
                    left -= n


class Link:
    def __init__(self, program, source, *options):
        self.process = subprocess.Popen([program, "--to", str(source.port), *options],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def carried(self):
        self.process.send_signal(signal.SIGUSR1)
        words = self.process.stdout.readline().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            return sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / 100

    def end(self):
        self.process.terminate()
        assert self.process.wait(10) == 0, "it did not end by itself"


def get(one, count, digest=None):
    one.sendall(b"%d\n" % count)
    buffer = bytearray(MIB)
    while count:
        n = one.recv_into(buffer, min(count, MIB))
        assert n, "the connection ended early"
        if digest:
            digest.update(memoryview(buffer)[:n])
        count -= n


def timed(function, *arguments):
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began


def check_delay(program, source, say):
    link = Link(program, source, "--rtt-us", "20000")
    one = connect(link.port)
    get(one, 1)
    trips = sorted(timed(get, one, 1) * 1000 for _ in range(20))
    say(f"round trip {trips[0]:.2f} to {trips[-1]:.2f} ms, median {trips[10]:.2f}")
    assert 20 <= trips[0] < 22, trips
    # Many at once take no longer than one: nothing but the delay limits what is on the way.
    many = [connect(link.port) for _ in range(32)]
    took = timed(lambda: [each.sendall(b"4096\n") for each in many]
                 + [each.recv(4096, socket.MSG_WAITALL) for each in many])
    say(f"32 at once {took * 1000:.1f} ms")
    assert took < 0.2, took
    wanted, seen = hashlib.sha256(), hashlib.sha256()
    wanted.update(source.block * 24)
    get(one, 24 * MIB, seen)
    assert seen.digest() == wanted.digest(), "other bytes arrived"
    got = link.carried()
    assert got["down"] >= 24 * MIB and got["connections"] == 33, got
    link.end()


def check_bandwidth(program, source, say):
    link = Link(program, source, "--rtt-us", "20000", "--bytes-per-s", "12500000")
    ends = [connect(link.port) for _ in range(5)]
    threads = [threading.Thread(target=get, args=(one, MIB)) for one in ends]
    for one in threads:
        one.start()
    time.sleep(0.1)
    small = timed(get, connect(link.port), 1)
    for one in threads:
        one.join()
    took = timed(get, ends[0], MIB)
    say(f"1 MiB in {took * 1000:.1f} ms; beside five others a byte in {small * 1000:.1f} ms")
    assert 0.102 < took < 0.3, took
    assert small < 0.2, small
    link.end()


def speed(program, source, say):
    link = Link(program, source, "--rtt-us", "20000")
    one = connect(link.port)
    get(one, 256 * MIB)
    before = link.cpu_seconds()
    took = timed(get, one, 1024 * MIB)
    say(f"1 GiB in {took:.2f} s, {1.0737 / (link.cpu_seconds() - before):.2f} GB per s of its core")
    link.end()


def main(program, more=None):
    source = Source()
    say = print if more else lambda text: None
    check_delay(program, source, say)
    check_bandwidth(program, source, say)
    if more:
        speed(program, source, say)


if __name__ == "__main__":
    main(*sys.argv[1:])
