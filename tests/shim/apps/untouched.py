"""What is none of the listener's business behaves as without the shim; ends with "untouched" if so."""
import errno
import os
import socket
import struct
import sys
import tempfile

PORT = int(sys.argv[1])

# A port that the system chooses, and a talk over it.
server = socket.create_server(("127.0.0.1", 0))
assert server.family == socket.AF_INET and server.getsockopt(socket.SOL_SOCKET, 39) == socket.AF_INET
host, port = server.getsockname()
assert host == "127.0.0.1" and port != PORT
client = socket.create_connection((host, port))
accepted, peer = server.accept()
assert peer == client.getsockname() == accepted.getpeername(), peer
assert accepted.getsockname() == client.getpeername() == (host, port)
client.sendall(b"x")
assert accepted.recv(9) == b"x"
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
assert len(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)) == 104

# The same in IPv6, and a buffer that is too short for the address.
server6 = socket.create_server(("::1", 0), family=socket.AF_INET6)
assert server6.getsockname()[0] == "::1"

# Datagrams to the very port.
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
    datagrams.bind(("127.0.0.1", PORT))
    assert datagrams.getsockname() == ("127.0.0.1", PORT)

# Unix sockets of its own, named and unnamed.
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "own.sock")
    own = socket.socket(socket.AF_UNIX)
    own.bind(path)
    own.listen(1)
    assert own.getsockname() == path
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(path)
    answered, name = own.accept()
    assert name == "" and answered.getsockname() == caller.getpeername() == path
    try:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raise AssertionError("an option of TCP on a Unix socket that is not the listener's")
    except OSError as error:
        assert error.errno in (errno.EOPNOTSUPP, errno.ENOPROTOOPT), error

# Errors stay the kernel's.
for call, wanted in [
    (lambda: server.bind(("127.0.0.1", 0)), errno.EINVAL),
    (lambda: socket.socket().connect(("127.0.0.1", 1)), errno.ECONNREFUSED),
    (lambda: socket.socket(fileno=os.open("/dev/null", 0)), errno.ENOTSOCK),
    (lambda: os.close(999), errno.EBADF),
]:
    try:
        call()
        raise AssertionError(f"no error, {errno.errorcode[wanted]} expected")
    except OSError as error:
        assert error.errno == wanted, error

# The listener itself: TCP to who asks, and an option that changes bytes is refused.
listener = socket.socket(socket.AF_INET6)
listener.bind(("::", PORT))
assert listener.getsockname()[:2] == ("::", PORT)
assert listener.getsockopt(socket.SOL_SOCKET, 39) == socket.AF_INET6
assert listener.getsockopt(socket.SOL_SOCKET, 38) == socket.IPPROTO_TCP
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
for option in (31, 14):
    try:
        listener.setsockopt(socket.IPPROTO_TCP, option, struct.pack("I", 0))
        raise AssertionError(f"option {option} of TCP")
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP, error
try:
    socket.create_connection(("127.0.0.1", PORT))
    raise AssertionError("connected to a listener that does not listen")
except OSError as error:
    assert error.errno == errno.ECONNREFUSED, error
listener.listen()
callers = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(200)]
assert callers[0].getpeername() == ("127.0.0.1", PORT) and callers[0].getsockname()[0] == "127.0.0.1"
callers[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
accepted, peer = listener.accept()
assert peer == accepted.getpeername() and peer[0] == "::ffff:127.0.0.1" and len(peer) == 4, peer
copy = accepted.dup()
assert copy.getpeername() == peer
os.closerange(3, 4)
again = socket.socket()
again.bind(("0.0.0.0", PORT))
assert again.getsockname() == ("0.0.0.0", PORT)
print("untouched")
