"""The kernel side: the BPF program, its compiler in a child, its maps and ring buffer, the sockets of /proc."""
