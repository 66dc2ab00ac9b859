"""Captures: what tcpdump and its like have written, as a file or as it comes, becomes heads as the kernel's do."""
