"""The use cases: one file per step of the path. Async; no HTTP types, no library types; stores come in as ports.

```
/authorize ─▶ authorize.begin ─┬─▶ (covered) authorize.issue ─▶ code
                               └─▶ sign_in.begin ─▶ provider ─▶ sign_in.complete
                                        ─▶ transaction.next_step: preview ─▶ sign_up.decide ─▶ sign_up.create
                                        ─▶ authorize.share ─▶ ledger ─▶ code
/token ─▶ exchange ─▶ release ─▶ ledger ─▶ signature
```

A flow is a sentence: load, decide (by a rule of `broker.domain`), save, return an outcome. Flows call flows downwards
only. They must not know which database, which provider's quirks, or how an answer is shown.
"""
