"""The demo: broker, three community sites and sandbox providers on one machine, offline, with no secret to invent.

Owns the demo's configuration and its processes. The sites under `sites/` know nothing of the broker but its address.
"""
