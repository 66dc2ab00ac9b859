"""The tables of /proc, as the kernel prints them and as this host has them."""

import os
import socket
import sys
from pathlib import Path

import pytest

from probes.kernel import sockets
from probes.records import Address

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:6989 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:6989 0100007F:C9A2 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1
   2: 0100007F:C9A2 0100007F:6989 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 0000000000000000FFFF00000100007F:2384 0000000000000000FFFF00000500000A:9C40 01 0:0 00:0 0 0 0 333 1 0 20 4 30 10
   1: B80D0120000000000000000001000000:2384 B80D0120000000000000000002000000:9C41 01 0:0 00:0 0 0 0 444 1 0 20 4 30 10
"""
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 555 /tmp/mongodb-27017.sock
0000000000000000: 00000003 00000000 00000000 0001 03 666 /tmp/mongodb 27017.sock
0000000000000000: 00000003 00000000 00000000 0001 03 777
0000000000000000: 00000003 00000000 00000000 0002 03 888 /run/systemd/notify
"""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tmp_path / "7" / "net"
    net.mkdir(parents=True)
    for name, text in (("tcp", TCP), ("tcp6", TCP6), ("unix", UNIX)):
        (net / name).write_text(text)
    monkeypatch.setattr(sockets, "PROC", tmp_path)


@pytest.mark.skipif(sys.byteorder != "little", reason="/proc prints words in the host's byte order")
def test_connected_sockets_by_inode(proc: None) -> None:
    table = sockets.table(7)
    assert {inode: (s.near, s.far) for inode, s in table.items() if not s.is_unix} == {
        222: (Address("127.0.0.1", 27017), Address("127.0.0.1", 51618)),
        333: (Address("127.0.0.1", 9092), Address("10.0.0.5", 40000)),
        444: (Address("2001:db8::1", 9092), Address("2001:db8::2", 40001)),
    }
    assert {inode: s.near for inode, s in table.items() if s.is_unix} == {
        666: Address("/tmp/mongodb 27017.sock", 0),
        777: Address("", 0),
    }


def test_a_process_that_is_gone_has_nothing(proc: None) -> None:
    assert sockets.table(8) == {}
    assert sockets.process(8).name == ""


def test_this_process_as_the_kernel_shows_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        inode = sockets.inode_of(os.getpid(), client.fileno())
        found = sockets.table(os.getpid())[inode]
        assert found.near == Address(*client.getsockname())
        assert found.far == Address(*server.getsockname())
    assert sockets.namespace(os.getpid()) > 0
    assert sockets.process(os.getpid()).pid == os.getpid()


def test_the_ends_of_a_unix_socket_know_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "listening.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)
        with listener.accept()[0] as server:
            near, far, waiting = (sockets.inode_of(os.getpid(), end.fileno()) for end in (client, server, listener))
            table = sockets.table(os.getpid())
            assert (table[near].peer, table[far].peer) == (far, near)
            assert (table[near].near, table[near].far) == (Address("", 0), Address(path, 0))
            assert (table[far].near, table[far].far) == (Address(path, 0), Address("", 0))
            assert waiting not in table
