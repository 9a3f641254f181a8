"""Many takers of one thing over HTTP, at two servers that share their stores, some of them killed in the middle.

    make races                                  10,000 rounds of every kind on both stores, 100 servers killed in each
    python -m tests.races --rounds 500 --kills 5 --only refresh --stores sqlite

`arena.py` starts two `doorward serve` on one database and kills them; `kinds.py` says what is taken and what must hold
afterwards; `rounds.py` runs rounds and counts. `make test` runs 200 rounds of each kind.
"""
