"""Where heads come from: the kernel of this host, captures, a stream. All hand the same records to a `Sink`."""
