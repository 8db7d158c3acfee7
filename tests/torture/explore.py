"""Random and hostile requests to `gentool explore`, by the thousand.

    python tests/torture/explore.py --count 10000

A server in a process of its own is sent wrong tokens, Hosts, Origins and methods, bodies of random
bytes and of 100 MB, questions with random fields, half of a request, and answers that nobody reads,
from several threads at once. In the end it must still draw a picture, have said nothing but its
address, and be no larger than it may be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

ALLOWED = 700
"""Megabytes that the server may grow by."""

LARGE = 100 * 2**20
"""Bytes of a body that is far too large."""

ADDRESSES = [
    "/api/info",
    "/api/plane/at",
    "/api/plane/tiles",
    "/api/plane/scatter",
    "/api/samples/grid",
    "/api/samples/neighbours",
    "/api/sliders/at",
    "/api/sliders/groups",
    "/api/reconstruct/show",
    "/api/reconstruct/upload",
    "/api/reconstruct/browse",
    "/api/mix/at",
    "/api/mix/film",
    "/api/restore/run",
    "/api/training/curves",
    "/api/training/frame",
]
FIELDS = ["x", "y", "plane", "points", "z", "n", "seed", "class", "run", "corners", "strengths"]
FIELDS += ["point", "spoilt", "hole", "where", "kind", "step", "steps", "version", "who", "slot"]


class Enemy:
    """Sends requests to one server; `answers` counts what came back."""

    def __init__(self, port: int, token: str, seed: int) -> None:
        self.port, self.token, self.random = port, token, random.Random(seed)
        self.answers: Counter[str] = Counter()

    def attack(self, large: bool) -> None:
        """One request of any kind."""
        kinds = [self.question] * 8 + [self.garbage, self.stranger, self.half, self.deaf]
        kind = self.flood if large else self.random.choice(kinds)
        try:
            self.answers[f"{kind.__name__} {kind()}"] += 1
        except OSError as error:
            self.answers[f"{kind.__name__} {type(error).__name__}"] += 1

    def value(self, depth: int = 0) -> object:
        r = self.random
        simple: list[object] = [
            None,
            True,
            0,
            -1,
            1.5,
            1e30,
            10**18,
            "",
            "seeds",
            "test:0",
            "é" * 9,
        ]
        simple += ["../../etc/passwd", "A" * 300, "AAAA", [], {}, "NaN", "latent"]
        if depth < 3 and r.random() < 0.3:
            return [self.value(depth + 1) for _ in range(r.randrange(5))]
        if depth < 3 and r.random() < 0.2:
            named = [*FIELDS, "example", "pixels", "pca1"]
            return {r.choice(named): self.value(depth + 1) for _ in range(r.randrange(4))}
        return r.choice(simple)

    def send(self, head: str, body: bytes = b"", read: bool = True) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as one:
            one.sendall(head.encode("latin-1", "replace") + body)
            if not read:
                time.sleep(self.random.random() / 20)
                return "left"
            first = b""
            with contextlib.suppress(ConnectionError):
                first = one.recv(64)
            return first.split(b" ")[1].decode() if first.startswith(b"HTTP/1.1 ") else "closed"

    def head(self, method: str, path: str, length: int, **headers: str) -> str:
        every = {"Host": f"127.0.0.1:{self.port}", "X-Gentool-Token": self.token}
        every |= {"Content-Length": str(length), "Connection": "close"}
        every |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in every.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n"

    def question(self) -> str:
        """Known addresses, random fields."""
        r = self.random
        fields = {r.choice(FIELDS): self.value() for _ in range(r.randrange(6))}
        body = json.dumps(fields).encode()
        path = r.choice(ADDRESSES)
        if path.endswith("upload") and r.random() < 0.7:
            body = struct.pack("<I", len(body)) + body + r.randbytes(r.randrange(3000))
        return self.send(self.head("POST", path, len(body)), body)

    def garbage(self) -> str:
        """Bytes that are no question, or no HTTP."""
        r = self.random
        body = r.randbytes(r.randrange(5000))
        if r.random() < 0.5:
            return self.send(self.head("POST", r.choice(ADDRESSES), len(body)), body)
        return self.send("", body + b"\r\n\r\n")

    def stranger(self) -> str:
        """The wrong token, Host, Origin, method, path or length."""
        r = self.random
        wrong = r.choice(
            [
                {"X_Gentool_Token": r.choice(["", "x", self.token[:-1], "é"])},
                {"Host": r.choice(["evil.example", "", "[::1", "a" * 3000])},
                {"Origin": r.choice(["https://evil.example", "null"])},
                {"Content_Length": r.choice(["-1", "1e9", "99999999999999999999", "abc"])},
                {"Transfer_Encoding": "chunked"},
                {},
            ]
        )
        methods = ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "POST", "BREW"]
        paths = ["/", "/../x", "/%2e%2e/%2e%2e/etc/passwd", "/main.js", "//x", "/" + "a" * 9000]
        path = r.choice([*paths, *ADDRESSES])
        return self.send(self.head(r.choice(methods), path, 2, **wrong), b"{}")

    def half(self) -> str:
        """A request that stops in the middle."""
        whole = self.head("POST", self.random.choice(ADDRESSES), 1000) + "{"
        return self.send(whole[: self.random.randrange(len(whole))], read=False)

    def deaf(self) -> str:
        """A long answer of which nothing is read."""
        return self.send(self.head("GET", "/plane.js", 0), read=False)

    def flood(self) -> str:
        """A body of 100 MB, announced or in chunks, for as long as it is taken."""
        path = self.random.choice(ADDRESSES)
        chunked = self.random.random() < 0.5
        headers = {"Transfer_Encoding": "chunked"} if chunked else {}
        head = self.head("POST", path, LARGE, **headers)
        if chunked:
            head = re.sub(r"Content-Length: \d+\r\n", "", head)
        piece = b" " * 2**16
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as one:
            one.sendall(head.encode())
            sent = 0
            while sent < LARGE:
                one.sendall(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
                sent += len(piece)
        return "taken"  # never so: the connection is closed long before


def hammer(port: int, token: str, count: int, threads: int = 4, floods: int = 8) -> Counter[str]:
    """Send `count` requests from several threads; `floods` of them are bodies of 100 MB."""
    enemies = [Enemy(port, token, seed) for seed in range(threads)]
    every = max(1, count // threads // max(1, floods // threads))

    def fight(enemy: Enemy) -> None:
        for i in range(count // threads):
            enemy.attack(large=i % every == every - 1)

    running = [threading.Thread(target=fight, args=(enemy,)) for enemy in enemies]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return sum((enemy.answers for enemy in enemies), Counter())


def stall(port: int, number: int) -> list[socket.socket]:
    """Connections that never send a request; the server is to close them."""
    found = []
    for _ in range(number):
        with contextlib.suppress(OSError):
            found.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    return found


def megabytes(pid: int) -> int:
    """Resident memory of a process, without pages of files."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    return int(found[1]) // 1024 if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GENTOOL_CACHE": f"{folder}/cache"}
        train = "train vae --data glyphs:200 --hidden 16 --latent-dim 2 --epochs 1 --out run"
        command = [sys.executable, "-m", "gentool"]
        subprocess.run(
            [*command, *train.split()],
            cwd=folder,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with subprocess.Popen(
            [*command, "explore", "run", "--no-browser"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                judge(server, asked.count)
            finally:
                server.kill()


def judge(server: subprocess.Popen[str], count: int) -> None:
    """Attack, then ask whether all is well; ends the process with what is not."""
    assert server.stdout is not None and server.stderr is not None
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#(\S+)\n", server.stdout.readline())
    assert found is not None
    port, token = int(found[1]), found[2]
    friend = Enemy(port, token, 0)
    picture = b'{"n": 4}'
    for _ in range(50):
        with contextlib.suppress(OSError):
            if friend.send(friend.head("POST", "/api/samples/grid", 8), picture) == "200":
                break
        time.sleep(0.2)
    before, start = megabytes(server.pid), time.monotonic()
    idle = stall(port, 150)  # more than 256 keep others out until they are closed
    answers = hammer(port, token, count)
    time.sleep(12)  # what stalls has been closed
    for one in idle:
        one.close()
    status = friend.send(friend.head("POST", "/api/samples/grid", 8), picture)
    after = megabytes(server.pid)
    server.send_signal(signal.SIGINT)
    code = server.wait(30)
    said = server.stderr.read()
    for kind, number in sorted(answers.items()):
        print(f"{number:6} {kind}")
    print(
        f"{sum(answers.values())} requests in {time.monotonic() - start:.0f} s; "
        f"memory {before} -> {after} MB; a picture afterwards: {status}; it ended with {code}"
    )
    problems = []
    problems += [f"it said: {said}"] if said != "Ctrl-C ends it.\n" else []
    problems += [f"it grew by {after - before} MB"] if after - before > ALLOWED else []
    problems += ["it draws no picture any more"] if status != "200" else []
    problems += ["a body of 100 MB was taken"] if any("taken" in kind for kind in answers) else []
    problems += [f"it ended with {code}"] if code != 0 else []
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main()
