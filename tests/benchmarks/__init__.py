"""What tracing costs, measured: `make bench`. Ratios of one run; see `measure`."""
