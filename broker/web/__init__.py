"""HTTP: turns a request into a command for a flow, and an outcome into an answer.

`routes` is the whole surface in one table; every route has a guard. Owns headers, cookies, forms, status codes and
pages. Must not decide anything: rules are in `broker.domain`, use cases in `broker.flows`.
"""
