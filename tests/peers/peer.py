#!/usr/bin/env python3
"""Foreign peers for the end-to-end tests: plain sockets of the kernel's own TCP.

Each command does one thing to HOST PORT and, if all went well, prints one line
of JSON and exits with 0; anything unexpected is an exception and exit code 1.
Only the standard library is needed.
"""

import argparse
import errno
import hashlib
import json
import random
import resource
import select
import socket
import struct
import sys
import threading
import time

MIB = 1 << 20


def connect(args, receive_buffer=None):
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(args.timeout)
    sock.connect((args.host, args.port))
    return sock


def blocks(total, seed):
    """The same `total` pseudo-random bytes for each seed, a MiB at a time."""
    # A prime length shifts the block against every power of two on the way.
    base = random.Random(seed).randbytes(MIB + 7)
    left, number = total, 0
    while left:
        block = number.to_bytes(8, "big") + base
        block = block[:left]
        yield block
        left -= len(block)
        number += 1


def chargen_lines(start, length):
    """RFC 864: 72 of the 95 printing characters a line, each line one further on."""
    ring = bytes(range(32, 127)) * 2
    period = b"".join(ring[i : i + 72] + b"\r\n" for i in range(95))
    offset = start % len(period)
    return (period * (length // len(period) + 2))[offset : offset + length]


def send(args):
    """Sends MIB megabytes, says so with FIN, and waits for the other end's FIN."""
    sock, digest, started = connect(args), hashlib.sha256(), time.monotonic()
    for block in blocks(args.mib * MIB, args.seed):
        digest.update(block)
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b"", "the server closes after our FIN, and says nothing"
    return {"sent": args.mib * MIB, "sha256": digest.hexdigest(), "seconds": time.monotonic() - started}


def receive(args):
    """Receives MIB megabytes of chargen's characters and compares each."""
    sock, got, started = connect(args), 0, time.monotonic()
    expected = memoryview(chargen_lines(0, 2 * MIB + 95 * 74))
    view = memoryview(bytearray(MIB))
    while got < args.mib * MIB:
        n = sock.recv_into(view)
        assert n, f"the stream ended after {got} bytes"
        at = got % (95 * 74)
        assert view[:n] == expected[at : at + n], f"a wrong character within {n} bytes of {got}"
        got += n
    sock.close()
    return {"received": got, "seconds": time.monotonic() - started}


def mirror(args):
    """Sends MIB megabytes to an echo, reads them back meanwhile, compares SHA-256."""
    sock, sent, received, got = connect(args), hashlib.sha256(), hashlib.sha256(), 0
    failure = []

    def pump():
        try:
            for block in blocks(args.mib * MIB, args.seed):
                sent.update(block)
                sock.sendall(block)
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            failure.append(error)

    started = time.monotonic()
    sender = threading.Thread(target=pump, daemon=True)
    sender.start()
    while data := sock.recv(MIB):
        received.update(data)
        got += len(data)
    sender.join()
    assert not failure, failure
    assert got == args.mib * MIB, f"{got} bytes came back"
    assert sent.digest() == received.digest(), "other bytes came back than were sent"
    mss = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    return {"echoed": got, "mss": mss, "sha256": sent.hexdigest(), "seconds": time.monotonic() - started}


def crowd(args):
    """COUNT connections at the same time, each of them echoing ROUNDS times."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > args.count + 100, f"only {hard} open files are allowed"
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    poll, socks, started = select.epoll(), {}, time.monotonic()
    deadline = started + args.timeout
    connecting = set()

    def wait(until, what):
        assert time.monotonic() < deadline, f"{what}: out of time"
        for fd, events in poll.poll(1):
            assert not events & select.EPOLLERR, (what, socks[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            until(fd, events)

    def connected(fd, _):
        error = socks[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert error == 0, errno.errorcode[error]
        connecting.discard(fd)
        poll.modify(fd, select.EPOLLIN)

    # The kernel would answer thousands of SYNs in one burst; no server's backlog is that deep.
    while len(socks) < args.count or connecting:
        while len(socks) < args.count and len(connecting) < 256:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            socks[sock.fileno()] = sock
            connecting.add(sock.fileno())
            assert sock.connect_ex((args.host, args.port)) in (0, errno.EINPROGRESS)
            poll.register(sock, select.EPOLLOUT)
        wait(connected, "connecting")
    opened = time.monotonic() - started

    for number in range(args.rounds):
        pending = {}
        for fd, sock in socks.items():
            pending[fd] = struct.pack("!QQ", fd, number) * 4
            assert sock.send(pending[fd]) == 64

        def answered(fd, _):
            data = socks[fd].recv(64)
            assert data and pending[fd].startswith(data), "another answer than the question"
            pending[fd] = pending[fd][len(data) :]
            if not pending[fd]:
                del pending[fd]

        while pending:
            wait(answered, f"round {number}, {len(pending)} unanswered")
    for sock in socks.values():
        sock.close()
    return {"connections": len(socks), "rounds": args.rounds, "opened_s": opened, "seconds": time.monotonic() - started}


def reset(args):
    """COUNT times: takes a part of what comes, then answers with a reset."""
    for _ in range(args.count):
        sock = connect(args)
        if args.send:
            sock.sendall(args.send.encode().decode("unicode_escape").encode("latin-1"))
        assert sock.recv(65536), "something comes before the reset"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    return {"resets": args.count}


def half_close(args):
    """Says FIN first and still receives everything that it sent, after a pause."""
    for number in range(args.count):
        sock = connect(args)
        data = b"".join(blocks(100_000, number))
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        back = b""
        while part := sock.recv(65536):
            back += part
        assert back == data, f"{len(back)} of {len(data)} bytes came back after the half-close"
        sock.close()
    return {"half_closed": args.count}


def hold(args):
    """Opens COUNT connections, says and reads nothing, and stays until it is killed."""
    socks = [connect(args, receive_buffer=4096) for _ in range(args.count)]
    print(json.dumps({"holding": len(socks)}), flush=True)
    while True:
        time.sleep(1)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flood(args):
    """Sends COUNT SYNs to HOST (IPv4), each as if from another port of one of 200 hosts that are not there."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    host, dice = socket.inet_aton(args.host), random.Random(args.seed)
    options = bytes.fromhex("020405b4 0402 080a 00000001 00000000 01 030307")
    for number in range(args.count):
        source = host[:3] + bytes([20 + number % 200])
        fields = (1024 + number // 200 % 64000, args.port, dice.getrandbits(32), 0, 0xA0, 2, 64240)
        pseudo = source + host + struct.pack("!HH", socket.IPPROTO_TCP, 40)
        check = checksum(pseudo + struct.pack("!HHIIBBHHH", *fields, 0, 0) + options)
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 60, 0, 0, 64, socket.IPPROTO_TCP, 0, source, host)
        sock.sendto(header + struct.pack("!HHIIBBHHH", *fields, check, 0) + options, (args.host, 0))
    return {"syns": args.count}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for function in (send, receive, mirror, crowd, reset, half_close, hold, flood):
        command = commands.add_parser(function.__name__.replace("_", "-"), help=function.__doc__)
        command.add_argument("host")
        command.add_argument("port", type=int)
        command.add_argument("--mib", type=int, default=1)
        command.add_argument("--seed", type=int, default=1)
        command.add_argument("--count", type=int, default=1)
        command.add_argument("--rounds", type=int, default=1)
        command.add_argument("--send", default="")
        command.add_argument("--timeout", type=float, default=60, help="seconds for each operation")
        command.set_defaults(function=function)
    args = parser.parse_args()
    print(json.dumps(args.function(args)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
