#!/usr/bin/python3
# with_paramiko.py PORT USER KEY VERB LOCAL REMOTE: one request of paramiko's own client. put_raises: what a program does
# whose source fails at 40 %: paramiko closes the file cleanly on its way out.
import os, sys
import paramiko
port, user, key, verb, local, remote = sys.argv[1:]
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
c.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
s = c.open_sftp()

def fails(done, size):
    if done * 10 >= size * 4:
        raise RuntimeError("the source fails at 40 %")

if verb == "put":
    s.put(local, remote)
elif verb == "put_raises":
    s.put(local, remote, callback=fails)
elif verb == "resume":
    with s.open(remote, "r+b") as f, open(local, "rb") as source:
        at = s.stat(remote).st_size
        f.set_pipelined(True)
        f.seek(at)
        source.seek(at)
        while piece := source.read(32768):
            f.write(piece)
elif verb == "get":
    s.get(remote, local)
elif verb == "list":
    for a in s.listdir_attr("."):
        print(a.st_size, a.filename)
elif verb == "rm":
    s.remove(remote)
else:
    sys.exit("no verb " + verb)
c.close()
