"""Doorward: a federated login and identity broker for communities.

Read in this order: `broker.flows` (the path of one sign-in), `broker.domain.transaction` (the dispatcher),
`broker.domain.disclosure` and `broker.domain.posting` (the two gates), `broker.web.routes` (the surface).
"""

__version__ = "0.1.0"
