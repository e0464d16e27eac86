"""Web pages to interleaved documents, near-duplicates, and overlap with evaluation data: steps of datatrove pipelines."""
