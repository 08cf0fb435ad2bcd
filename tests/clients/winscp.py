#!/usr/bin/python3
# winscp.py PORT USER KEY VERB LOCAL REMOTE: what WinSCP sends, in its order. This is a replay, written after the behaviour of
# WinSCP's published source code (its SFTP file system), and not WinSCP itself: its timing, its dialogues and its own
# versions of SFTP are not in it.
#
# What is peculiar to it: the file's whole size stands in the attributes of OPEN, before a byte was sent, and must neither
# be taken for a truncation nor for an end; CLOSE leaves while answers to WRITEs are still under way; above 100 KB a file is
# NAME.filepart until it is renamed, after REMOVE of what had the name; its times are set last, by name. A resumed file is
# opened without TRUNC and without APPEND. A cancelled one is closed cleanly.
#
#   put               REMOTE.filepart, overwriting what is there of it
#   put_exclusive     the same, but with EXCL first, as when it would ask before it overwrites
#   put_no_temporary  under its own name, as WinSCP does up to 100 KB or when told so
#   resume            REMOTE.filepart from its size on
#   cancel, cancel_remove    at 40 %: CLOSE, and REMOVE when it is not to be kept
#   get list rm
import os, struct, sys
import paramiko
from paramiko.message import Message
from paramiko.sftp import CMD_OPEN, CMD_CLOSE, CMD_READ, CMD_WRITE, CMD_SETSTAT, CMD_REMOVE, CMD_RENAME, CMD_STAT, CMD_HANDLE, CMD_STATUS, CMD_DATA, CMD_ATTRS
port, user, key, verb, local, remote = sys.argv[1:]
READ, WRITE, CREAT, TRUNC, EXCL = 1, 2, 8, 16, 32
HAS_SIZE, HAS_TIMES = 1, 8
OK, END, NO_SUCH_FILE = 0, 1, 2
PIECE, QUEUE = 32768, 32

t = paramiko.Transport(("127.0.0.1", int(port)))
t.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
sftp = paramiko.SFTPClient.from_transport(t)
number = 0

def send(kind, *parts):
    """A request leaves; its answer is not waited for. Text and numbers as SFTP has them, bytes as they are."""
    global number
    number += 1
    m = Message()
    m.add_int(number)
    for p in parts:
        m.packet.write(p) if isinstance(p, bytes) else m.add_string(p)
    sftp._send_packet(kind, m)
    return number

def answer(to):
    kind, body = sftp._read_packet()
    m = Message(body)
    got = m.get_int()
    assert got == to, "an answer to %d where one to %d was due" % (got, to)
    return kind, m

def status(to):
    kind, m = answer(to)
    assert kind == CMD_STATUS, kind
    return m.get_int(), m.get_text()

def must(to, what):
    code, said = status(to)
    if code != OK:
        sys.exit("%s: %d, %s" % (what, code, said))

def size_of(name):
    kind, m = answer(send(CMD_STAT, name))
    if kind == CMD_STATUS:
        assert m.get_int() == NO_SUCH_FILE
        return None
    assert kind == CMD_ATTRS and m.get_int() & HAS_SIZE
    return m.get_int64()

def open_(name, flags, size):
    # On a resumption too the size is the whole file's.
    attrs = struct.pack(">I", 0) if size is None else struct.pack(">IQ", HAS_SIZE, size)
    kind, m = answer(send(CMD_OPEN, name, struct.pack(">I", flags), attrs))
    if kind == CMD_HANDLE:
        return m.get_string()
    return m.get_int(), m.get_text()

def opened(name, flags, size):
    h = open_(name, flags, size)
    if not isinstance(h, bytes):
        sys.exit("open %s: %d, %s" % (name, *h))
    return h

def blob(b):
    return struct.pack(">I", len(b)) + b

def write(handle, source, at, end):
    """Returns the WRITEs that were not answered yet."""
    waiting = []
    source.seek(at)
    while at < end:
        piece = source.read(min(PIECE, end - at))
        waiting.append(send(CMD_WRITE, blob(handle), struct.pack(">Q", at), blob(piece)))
        at += len(piece)
        if len(waiting) > QUEUE:
            must(waiting.pop(0), "write")
    return waiting

def close(handle, waiting):
    last = send(CMD_CLOSE, blob(handle))
    for w in waiting:
        must(w, "write")
    must(last, "close")

def set_times(name):
    now = int(os.stat(local).st_mtime)
    return send(CMD_SETSTAT, name, struct.pack(">III", HAS_TIMES, now, now))

def final(temporary, existed):
    if existed:
        must(send(CMD_REMOVE, remote), "remove")
    must(send(CMD_RENAME, temporary, remote), "rename")
    must(set_times(remote), "setstat")

def put(flags, resumed=False):
    temporary = remote + ".filepart"
    existed, before = size_of(remote) is not None, size_of(temporary)
    with open(local, "rb") as source:
        size = os.fstat(source.fileno()).st_size
        if flags & EXCL and before is not None:
            assert not isinstance(open_(temporary, flags, size), bytes), "EXCL was given what is there already"
            flags &= ~EXCL
        at = before if resumed else 0
        h = opened(temporary, flags, size)
        close(h, write(h, source, at, size))
    final(temporary, existed)

def put_no_temporary():
    size_of(remote)
    with open(local, "rb") as source:
        size = os.fstat(source.fileno()).st_size
        h = opened(remote, WRITE | CREAT | TRUNC, size)
        waiting = write(h, source, 0, size)
    # SETSTAT leaves behind CLOSE without waiting either.
    last = send(CMD_CLOSE, blob(h))
    times = set_times(remote)
    for w in waiting:
        must(w, "write")
    must(last, "close")
    must(times, "setstat")

def cancel(keep):
    temporary = remote + ".filepart"
    with open(local, "rb") as source:
        size = os.fstat(source.fileno()).st_size
        h = opened(temporary, WRITE | CREAT | TRUNC, size)
        close(h, write(h, source, 0, size * 2 // 5))
    if not keep:
        must(send(CMD_REMOVE, temporary), "remove")

def get():
    h, at = opened(remote, READ, None), 0
    with open(local, "wb") as sink:
        while True:
            kind, m = answer(send(CMD_READ, blob(h), struct.pack(">QI", at, PIECE)))
            if kind == CMD_STATUS:
                assert m.get_int() == END
                break
            assert kind == CMD_DATA
            piece = m.get_string()
            sink.write(piece)
            at += len(piece)
    must(send(CMD_CLOSE, blob(h)), "close")

def list_():
    for a in sftp.listdir_attr("."):
        print(a.st_size, a.filename)

verbs = {
    "put": lambda: put(WRITE | CREAT | TRUNC),
    "put_exclusive": lambda: put(WRITE | CREAT | TRUNC | EXCL),
    "put_no_temporary": put_no_temporary,
    "resume": lambda: put(WRITE | CREAT, resumed=True),
    "cancel": lambda: cancel(True),
    "cancel_remove": lambda: cancel(False),
    "get": get,
    "list": list_,
    "rm": lambda: must(send(CMD_REMOVE, remote), "remove"),
}
verbs[verb]()
t.close()
