"""COUNT unacknowledged inserts (w: 0, moreToCome): as many `insert` commands that no answer follows."""

from pymongo import WriteConcern

from tests.live.clients.mongo import DATABASE, connect
from tests.live.clients.program import arguments, in_threads, ready, report


def main() -> None:
    options = arguments(__doc__, count=307).parse_args()
    client, counts = connect(options.port, connections=options.threads)
    collection = client[DATABASE].get_collection("unacknowledged", write_concern=WriteConcern(w=0))
    setup = counts.take()

    def insert(turns: range) -> None:
        for number in turns:
            collection.insert_one({"number": number})

    ready(wait=options.wait)
    in_threads(options.threads, options.count, insert)
    client.close()
    report(setup=setup, commands=counts.take())


if __name__ == "__main__":
    main()
