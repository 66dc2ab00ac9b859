"""Client programs with an exactly known traffic, each run as a process of its own.

    python -m tests.live.clients.mongo_find --port 27017 --count 10007 --threads 8 --wait

A program connects, prints "ready", with --wait waits for a line on stdin, makes its traffic, and prints what it
did as one line of JSON: `setup` and `commands` (MongoDB) or `requests` and `messages` (Kafka). `process.py` runs
them from a test.
"""
