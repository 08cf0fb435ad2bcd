#!/usr/bin/python3
# with_asyncssh.py PORT USER KEY VERB LOCAL REMOTE: one request of asyncssh's own client: many pieces under way at once, and
# attributes set at the end. put_raises: its progress handler fails at 40 %; asyncssh closes the file cleanly on its way out.
import asyncio, sys
import asyncssh
port, user, key, verb, local, remote = sys.argv[1:]

def fails(source, sink, done, size):
    if done * 10 >= size * 4:
        raise RuntimeError("the source fails at 40 %")

async def main():
    async with asyncssh.connect("127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=None, agent_path=None, config=None) as c, c.start_sftp_client() as s:
        if verb == "put":
            await s.put(local, remote, preserve=True)
        elif verb == "put_raises":
            await s.put(local, remote, progress_handler=fails)
        elif verb == "resume":
            at = (await s.stat(remote)).size
            async with s.open(remote, "r+b") as f:
                with open(local, "rb") as source:
                    source.seek(at)
                    while piece := source.read(1 << 20):
                        await f.write(piece, at)
                        at += len(piece)
        elif verb == "get":
            await s.get(remote, local)
        elif verb == "list":
            for e in await s.readdir("."):
                print(e.attrs.size, e.filename)
        elif verb == "rm":
            await s.remove(remote)
        else:
            sys.exit("no verb " + verb)

asyncio.run(main())
