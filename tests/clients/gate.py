#!/usr/bin/python3
# gate.py PORT BYTES FILE: a way to the server at PORT that lets the first BYTES of its clients through and then holds the
# rest until FILE is there. So a client is met in the middle of an upload for certain, however fast or loaded the machine.
# The port that it listens on is its only output. Small buffers: what waits in them gets through when the gate is opened.
import os, socket, sys, threading, time
port, left, opened = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
lock = threading.Lock()

def forward(source, sink, may):
    try:
        while piece := source.recv(16384):
            n = may(len(piece))
            sink.sendall(piece[:n])
            if n < len(piece):
                while not os.path.exists(opened):
                    time.sleep(0.02)
                sink.sendall(piece[n:])
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One end is gone: so is the other, now.
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

def up(n):
    global left
    with lock:
        n = n if os.path.exists(opened) else min(n, left)
        left -= n
        return n

s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1], flush=True)
while True:
    client, _ = s.accept()
    server = socket.create_connection(("127.0.0.1", port))
    for source, sink, may in ((client, server, up), (server, client, lambda n: n)):
        threading.Thread(target=forward, args=(source, sink, may), daemon=True).start()
