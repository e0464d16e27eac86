"""The picture book: real drawings by several artists, and small generated worlds with exact labels."""
