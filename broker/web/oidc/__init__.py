"""The protocol endpoints that sites' servers call: tokens, claims, keys, metadata, sign-out.

Raw bodies and prebuilt bytes: these are the hottest paths. Must not show pages (sign-out's are in `web.sign_out`).
"""
