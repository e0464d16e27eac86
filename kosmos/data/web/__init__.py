"""Web pages to interleaved documents, near-duplicates, overlap with evaluation data: steps of datatrove pipelines."""
