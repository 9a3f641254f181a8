"""The production server: a parent that watches over worker processes, and what happens inside one of them.

`supervisor` owns the listening socket, starts, replaces and stops workers, and never answers a request itself, so it
stays small. `worker` runs the application with uvicorn. `admission` says no while nothing can be done. Must not know
what the application does: it gets settings and hands them on.
"""
