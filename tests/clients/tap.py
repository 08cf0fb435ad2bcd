"""Relays connections to a server and writes what passes as a capture, without the rights that capturing takes.

    tap.py SERVER_PORT CAPTURE READY_FILE

READY_FILE gets the port to connect to. In the capture the server is 10.0.0.1:1433, so that tshark knows it by itself,
and every connection has an opening of its own; what was said in which order is as it passed here.
"""
import asyncio, os, struct, sys, time

SERVER, CLIENT, PIECE = (bytes([10, 0, 0, 1]), 1433), bytes([10, 0, 0, 2]), 1400
SYN, ACK, FIN = 2, 16, 1
target, capture, ready = int(sys.argv[1]), open(sys.argv[2], 'wb', buffering=0), sys.argv[3]
ports = iter(range(20000, 65000))
RAW_IP = 101
capture.write(struct.pack('<IHHiIII', 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IP))


class Conversation:
    def __init__(self):
        self.port = next(ports)
        self.sent = {True: 1000, False: 2000}  # by the client, by the server
        self.put(True, b'', SYN)
        self.put(False, b'', SYN | ACK)
        self.put(True, b'', ACK)

    def put(self, by_client, data, flags=ACK | 8):
        ends = ((CLIENT, self.port), SERVER) if by_client else (SERVER, (CLIENT, self.port))
        tcp = struct.pack('>HHIIBBHHH', ends[0][1], ends[1][1], self.sent[by_client], self.sent[not by_client] if flags & ACK else 0, 5 << 4, flags,
                          65535, 0, 0)
        ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(tcp) + len(data), 0, 0, 64, 6, 0, ends[0][0], ends[1][0])
        packet, now = ip + tcp + data, time.time()
        capture.write(struct.pack('<IIII', int(now), int(now % 1 * 1e6), len(packet), len(packet)) + packet)
        self.sent[by_client] += len(data) + (1 if flags & (SYN | FIN) else 0)


async def pump(talk, by_client, reader, writer):
    try:
        while data := await reader.read(65536):
            for at in range(0, len(data), PIECE):
                talk.put(by_client, data[at:at + PIECE])
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    talk.put(by_client, b'', FIN | ACK)
    try:
        writer.write_eof()
    except (OSError, RuntimeError):
        pass


async def relay(reader, writer):
    talk = Conversation()
    server_reader, server_writer = await asyncio.open_connection('127.0.0.1', target)
    await asyncio.gather(pump(talk, True, reader, server_writer), pump(talk, False, server_reader, writer))
    for w in (writer, server_writer):
        w.close()


async def main():
    server = await asyncio.start_server(relay, '127.0.0.1', 0)
    with open(ready + '.new', 'w') as f:
        f.write(str(server.sockets[0].getsockname()[1]))
    os.rename(ready + '.new', ready)
    await server.serve_forever()

asyncio.run(main())
