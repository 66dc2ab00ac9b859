"""COUNT bulk inserts, each answered with ok: 1 and a write error 11000 (DuplicateKey): as many `insert` commands."""

from pymongo import InsertOne
from pymongo.errors import BulkWriteError

from tests.live.clients.mongo import DATABASE, connect
from tests.live.clients.program import arguments, in_threads, ready, report


def main() -> None:
    parser = arguments(__doc__, count=101)
    parser.add_argument("--documents", type=int, default=3, help="in each bulk; default %(default)s")
    options = parser.parse_args()
    client, counts = connect(options.port, connections=options.threads)
    collection = client[DATABASE]["unique"]
    collection.replace_one({"_id": 1}, {"_id": 1}, upsert=True)
    setup = counts.take()
    bulk = [InsertOne({"_id": 1, "document": number}) for number in range(options.documents)]

    def insert(turns: range) -> None:
        for _ in turns:
            try:
                collection.bulk_write(bulk, ordered=False)
            except BulkWriteError as error:
                if [write["code"] for write in error.details["writeErrors"]] == [11000] * len(bulk):
                    continue
            raise RuntimeError("a duplicate went in")

    ready(wait=options.wait)
    in_threads(options.threads, options.count, insert)
    client.close()
    report(setup=setup, commands=counts.take(), duplicate_key_errors=options.count)


if __name__ == "__main__":
    main()
