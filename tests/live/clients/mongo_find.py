"""COUNT times find_one over THREADS connections: as many `find` commands."""

from tests.live.clients.mongo import DATABASE, connect
from tests.live.clients.program import arguments, in_threads, ready, report


def main() -> None:
    options = arguments(__doc__, count=10_007).parse_args()
    client, counts = connect(options.port, connections=options.threads)
    collection = client[DATABASE]["orders"]
    collection.replace_one({"_id": 1}, {"_id": 1, "item": "tea", "quantity": 3}, upsert=True)
    setup = counts.take()

    def find(turns: range) -> None:
        for _ in turns:
            if collection.find_one({"_id": 1}) is None:
                raise RuntimeError("the document is gone")

    ready(wait=options.wait)
    in_threads(options.threads, options.count, find)
    client.close()
    report(setup=setup, commands=counts.take())


if __name__ == "__main__":
    main()
