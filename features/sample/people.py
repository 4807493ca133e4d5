"""Made-up people: names, e-mail addresses, telephone numbers and streets that belong to nobody.

The domain is reserved for examples (RFC 2606), the numbers begin with 555. They are in the export because a real one has them,
and no adapter may make features of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.sample.risk import Integers

FIRST = ("Ada", "Ben", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hanna", "Ivo", "Jule", "Kim", "Lea", "Milo", "Nora", "Otto", "Pia")
LAST = (
    "Ahorn",
    "Birke",
    "Distel",
    "Eiche",
    "Farn",
    "Ginster",
    "Hasel",
    "Iris",
    "Kiefer",
    "Linde",
    "Mohn",
    "Nelke",
    "Ulme",
    "Weide",
)
STREETS = ("Orchard Lane", "Mill Road", "Station Street", "Harbour Way", "Garden Row")


def people(rng: np.random.Generator, number: Integers, prefix: str) -> pd.DataFrame:
    """One person per number; the prefix keeps the addresses of leads and customers apart."""
    size = len(number)
    first, last = np.array(FIRST)[rng.integers(0, len(FIRST), size)], np.array(LAST)[rng.integers(0, len(LAST), size)]
    digits = pd.Series(number).astype(str)
    return pd.DataFrame(
        {
            "first_name": first,
            "last_name": last,
            "email": pd.Series(first).str.lower() + "." + pd.Series(last).str.lower() + "." + prefix + digits + "@example.com",
            "phone": "555-01" + digits.str.zfill(8),
            "street": pd.Series(np.array(STREETS)[rng.integers(0, len(STREETS), size)]) + " " + digits.str[-2:],
        }
    )
