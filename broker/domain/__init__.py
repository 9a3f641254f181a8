"""The rules. Pure functions over frozen values: standard library only, no async, no clock, no randomness, no I/O.

Owns what may be decided about sign-in, sharing, consent, disclosure, posting, sessions and tokens.
Must not know HTTP, databases, providers' quirks, or what time it is: everything comes in as an argument.
"""
