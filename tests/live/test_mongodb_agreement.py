"""What l7top says of MongoDB's requests is what PyMongo and mongod's own log say of them."""

import pytest

from tests.agreement.mongodb import agree

pytestmark = pytest.mark.live


def test_drivers_and_log_agree() -> None:
    for name, agreement in agree(rounds=2):
        assert agreement.agrees, agreement.table(name)
        assert agreement.requests.total() > 50
