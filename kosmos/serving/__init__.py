"""The server: an OpenAI-compatible HTTP face of one engine, safe by default. Needs the extra `serve`."""
