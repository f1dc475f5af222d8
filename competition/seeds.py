"""One master seed; every other seed is derived from it by name."""

import hashlib
import json


def derive(seed: int, *names: str | int) -> int:
    """Derive the seed for one named purpose.

    A hash, so neither the order of the calls nor the number of workers matters, and neighbouring seeds have nothing in
    common.

    Args:
        seed: the master seed of ``params.yaml``.
        names: what the seed is for, for example ``"augment", view, sample_id``.

    Returns:
        A whole number from 1 to 2**31 - 1: never 0, which KerasTuner takes for "unseeded".
    """
    text = json.dumps([seed, *names], ensure_ascii=True)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (2**31 - 1) + 1
