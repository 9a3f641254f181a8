"""Every port on SQL: SQLite embedded, PostgreSQL in production. One set of statements, two drivers.

`tables` say what is kept, `statements` how SQL becomes text once, `drivers` how text is run, and the other modules what
each port does. Owns no rule: what may happen is decided in `broker.domain`, what must not happen twice is ensured here.
"""
