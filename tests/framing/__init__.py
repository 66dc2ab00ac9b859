"""The framing in Python and in the kernel: one corpus of streams through both."""
