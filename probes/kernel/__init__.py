"""The kernel side: the BPF program, its compiler in a child of its own, its maps, its ring buffer, the sockets of /proc."""
