"""A shop on MongoDB, as programs that each do one job: `python -m tests.demo.mongodb JOB URI`."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pymongo
from pymongo import DESCENDING, MongoClient, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

from tests.demo.pace import begin, call_yourself, keep_doing

Document = dict[str, Any]
Client = MongoClient[Document]
Connect = Callable[[], Client]

ORDERS, LINES, PRODUCTS, ACCOUNTS = 5_000, 60_000, 500, 10
STATES = ("new", "paid", "packed", "sent")
HANGING_S = 60.0
HANGING_FROM_S = (3.0, 8.0, 14.0)  # so that one of them begins when somebody looks
CAMPAIGN_AFTER_S = 80.0
SERVER_OPTIONS = ("--setParameter", "transactionLifetimeLimitSeconds=86400")  # for the job that never ends its own


def fill(uri: str) -> None:
    """What the shop has when it opens."""
    with MongoClient[Document](uri) as client:
        shop = client["shop"]
        shop["orders"].insert_many(
            {"_id": n, "status": random.choice(STATES), "total": random.randrange(10_000)} for n in range(ORDERS)
        )
        shop["orders"].create_index("status")
        shop["lines"].insert_many(
            {"order": n % ORDERS, "product": n % PRODUCTS, "price": random.random(), "note": "x" * 40}
            for n in range(LINES)
        )
        shop["products"].insert_many({"_id": n, "stock": 1_000_000} for n in range(PRODUCTS))
        shop["accounts"].insert_many({"_id": n, "balance": 0} for n in range(ACCOUNTS))
        shop.create_collection("customers", validator={"name": {"$type": "string"}})
        shop["audit"].insert_one({"_id": "first"})


def storefront(connect: Connect) -> None:
    """What customers do: many small reads and writes."""
    shop = connect()["shop"]
    numbers = itertools.count(ORDERS + os.getpid() * 1_000_000)

    def browse() -> None:
        shop["products"].find_one({"_id": random.randrange(PRODUCTS)})

    def list_orders() -> None:
        list(shop["orders"].find({"status": random.choice(STATES)}, limit=60, batch_size=25))

    def order() -> None:
        number = next(numbers)
        shop["orders"].insert_one({"_id": number, "status": "new", "total": random.randrange(10_000)})
        shop["products"].bulk_write(
            [UpdateOne({"_id": random.randrange(PRODUCTS)}, {"$inc": {"stock": -1}}) for _ in range(3)]
        )

    def pay() -> None:
        shop["orders"].find_one_and_update({"_id": random.randrange(ORDERS)}, {"$set": {"status": "paid"}})

    def track() -> None:
        shop.get_collection("clicks", write_concern=WriteConcern(w=0)).insert_one({"page": random.randrange(100)})

    def visit() -> None:
        with connect() as client:
            client["shop"]["products"].find_one({"_id": random.randrange(PRODUCTS)})

    keep_doing((60, browse), (60, browse), (30, list_orders), (20, order), (20, pay), (15, track), (0.5, visit))


def reports(connect: Connect) -> None:
    """What the management does: few requests that read everything."""
    lines = connect()["shop"]["lines"]
    pipeline: list[Document] = [
        {"$group": {"_id": "$product", "sum": {"$sum": "$price"}}},
        {"$sort": {"sum": -1}},
        {"$limit": 10},
    ]
    keep_doing(
        (1.5, lambda: list(lines.aggregate(pipeline))),
        (1.5, lambda: list(lines.find({"note": {"$regex": "y$"}}).sort("price", DESCENDING).limit(5))),
        (1, lambda: lines.count_documents({"price": {"$gt": 0.5}})),
    )


def imports(connect: Connect) -> None:
    """A batch job that nobody looks after: it fails in several ways, and connects anew for each batch."""
    shop = connect()["shop"]

    def insert_again() -> None:
        with suppress(DuplicateKeyError):
            shop["orders"].insert_one({"_id": random.randrange(ORDERS)})

    def insert_many_again() -> None:
        with connect() as client, suppress(BulkWriteError):
            orders = client["shop"]["orders"]
            orders.insert_many([{"_id": random.randrange(ORDERS)} for _ in range(20)], ordered=False)

    def refused(action: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with suppress(OperationFailure):
                action()

        return run

    keep_doing(
        (8, insert_again),
        (1, insert_many_again),
        (2, refused(lambda: shop["orders"].find_one({"total": {"$bigger": 5}}))),
        (1, refused(lambda: shop["customers"].insert_one({"name": 5}))),
        (0.5, refused(lambda: shop.command("compactify"))),
    )


def auditor(connect: Connect) -> None:
    """Follows what is written: a request that the server may hold back, and does."""
    with connect()["shop"]["audit"].watch(max_await_time_ms=5_000) as stream:
        begin()
        while True:
            stream.try_next()


def billing(connect: Connect) -> None:
    """Forgot to end a transaction: whoever wants to write the same account hangs, until it gives up and tries again."""
    client = connect()
    accounts = client["shop"]["accounts"]

    def charge() -> None:
        with suppress(PyMongoError), pymongo.timeout(HANGING_S):
            accounts.update_one({"_id": 1}, {"$inc": {"balance": 5}})

    def charge_later(delay_s: float) -> None:
        time.sleep(delay_s)
        while True:
            charge()

    with client.start_session() as session:
        session.start_transaction()
        accounts.update_one({"_id": 1}, {"$inc": {"balance": 1}}, session=session)
        for delay_s in HANGING_FROM_S:
            threading.Thread(target=charge_later, args=(delay_s,), daemon=True).start()
        keep_doing((3, lambda: accounts.find_one({"_id": random.randrange(2, ACCOUNTS)})))


def campaign(connect: Connect) -> None:
    """Begins when everything has found its pace, and looks for what no index helps to find."""
    orders = connect()["shop"]["orders"]

    def search() -> None:
        if time.monotonic() > begins:
            list(orders.find({"total": random.randrange(10_000)}))

    begins = time.monotonic() + CAMPAIGN_AFTER_S
    keep_doing((25, search))


JOBS = (storefront, reports, imports, auditor, billing, campaign)
OPTIONS: dict[str, Document] = {  # as they differ from job to job in a real shop
    "storefront": {"serverMonitoringMode": "poll"},
    "reports": {"compressors": ["zlib"]},
    "imports": {"compressors": ["zlib"], "serverMonitoringMode": "poll"},
}


def main() -> None:
    name, uri = sys.argv[1:]
    (job,) = (job for job in JOBS if job.__name__ == name)
    call_yourself(name)
    job(lambda: MongoClient(uri, appname=name, **OPTIONS.get(name, {})))


if __name__ == "__main__":
    main()
