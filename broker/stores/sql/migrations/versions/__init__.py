"""The revisions of the schema, oldest first: one module each, never changed once released."""
