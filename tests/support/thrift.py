"""A pytest plugin: what takes long and says nothing about Doorward is done once for each test process.

Finding primes takes a tenth of a second. The RSA keys of one test process are real and differ from one call to the next; after `KEYS` calls they come round again.
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

KEYS: Final = 12
_SIZE: Final = 2048
_generate = rsa.generate_private_key


def pytest_configure() -> None:
    """A client asks at each request which event loop runs; searching the disk for what is not there takes 1 ms."""
    if importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]
    # Everything that was imported is looked through at each full collection: rarely is often enough.
    gc.set_threshold(50_000, 20, 100)


@cache
def _key(number: int) -> rsa.RSAPrivateKey:
    return _generate(65537, _SIZE)


def _in_turn() -> Iterator[rsa.RSAPrivateKey]:
    return map(_key, itertools.cycle(range(KEYS)))


@pytest.fixture(scope="session", autouse=True)
def _rsa_keys() -> Iterator[None]:
    keys = _in_turn()

    def generate_private_key(public_exponent: int, key_size: int, backend: object = None) -> rsa.RSAPrivateKey:
        if (public_exponent, key_size) != (65537, _SIZE):
            return _generate(public_exponent, key_size, backend)
        return next(keys)

    rsa.generate_private_key = generate_private_key
    yield
    rsa.generate_private_key = _generate
