"""Commands that measure; the last line that each prints is JSON.

python -m benchmarks.retrieval DIR    how well and how fast questions find their passages
python -m benchmarks.ingest PATH…     how fast files become searchable, beside what the embedding model alone can do
python -m benchmarks.kill             what is left of an ingestion after kill -9 of each process
python -m benchmarks.startup          how long until the first page, and how much memory an idle web process takes
python -m benchmarks.pages            how fast a long conversation is in a browser
"""
