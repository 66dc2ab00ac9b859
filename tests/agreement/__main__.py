"""`python -m tests.agreement`: what l7top tells beside what drivers and servers know; ends with 1 where they differ."""

from __future__ import annotations

from tests.agreement import kafka, mongodb


def main() -> int:
    return max(mongodb.main(), kafka.main())


if __name__ == "__main__":
    raise SystemExit(main())
