"""The checks of the authorization request and of the token request: one small function each, in tables, in order.

Owns what a client may ask and how. Must not know how parameters arrived or how errors are answered.
"""
