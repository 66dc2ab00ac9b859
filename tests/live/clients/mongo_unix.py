"""COUNT finds over mongod's unix socket PORT, which is the end of its path: mongodb-PORT.sock in --directory."""

from pathlib import Path
from urllib.parse import quote

from pymongo import MongoClient

from tests.live.clients.mongo import DATABASE, Client
from tests.live.clients.program import arguments, ready, report


def main() -> None:
    parser = arguments(__doc__, count=101)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    path = quote(str(options.directory / f"mongodb-{options.port}.sock"), safe="")
    client: Client = MongoClient(f"mongodb://{path}/", directConnection=True, maxPoolSize=1)
    with client:
        orders = client[DATABASE].orders
        orders.find_one()
        ready(wait=options.wait)
        for _ in range(options.count):
            orders.find_one()
    report(commands={"sent": {"find": options.count}, "failed": {}})


if __name__ == "__main__":
    main()
