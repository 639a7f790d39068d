"""Benchmarks. The last line that each prints is JSON.

python -m benchmarks.retrieval DIR    retrieval quality and latency on a question set
python -m benchmarks.relevance DIR OTHER    what the default threshold keeps of DIR's questions and drops of OTHER's
python -m benchmarks.ingest PATH…     ingestion speed, next to that of the embedding model alone
python -m benchmarks.parse PATH…      what is read of files: text, chunks and notes, one JSON line a file
python -m benchmarks.citations PDF…   whether marks on the images of pages hold their passages, and the time to draw
python -m benchmarks.kill             what an ingestion loses when a process is killed
python -m benchmarks.faults           what is lost under random kills, pauses, lost data, a full disk and what users do
python -m benchmarks.startup          how long until the first page, and how much memory an idle web process takes
python -m benchmarks.chat             what is added to a model's first token, and many answers at once
python -m benchmarks.sessions         many tabs that ask at once while files are ingested
python -m benchmarks.fairness         how long a note waits behind large files, and what uploads take of the web process
python -m benchmarks.load             a team that asks, in pages and by programs, while 1,000 files are ingested
python -m benchmarks.flood            one address sends 10,000 requests a second through nginx, another one works
python -m benchmarks.doors            every page, route, call and tool, tried by everybody who might
python -m benchmarks.pages            how fast a long conversation is in a browser
"""
