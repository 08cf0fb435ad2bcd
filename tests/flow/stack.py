"""What the stories written in Python share: a private stack, its servers and workers, and proxies that know every moment.

A worker of the test's own speaks to Postgres and to the SQL Servers through proxies in the test's process. Postgres's
protocol is read (on loopback it is in clear), so that a fault can be put before a statement of the worker reaches Postgres
or after it is committed and before the worker hears of it. The SQL Servers' is TLS and only passed on.
"""
import json, os, queue, re, select, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("B") or os.path.join(ROOT, "build"))
LONG = bool(os.environ.get("LONG"))
SEED = int(os.environ.get("SEED") or 1)


class Tap:
    """ok / not ok lines, as tests/run reads them."""
    bad = 0

    def check(self, name, good, why=""):
        print(("ok " if good else "not ok ") + name, flush=True)
        if not good:
            self.bad += 1
            for line in str(why).splitlines()[-14:]:
                print("#", line, flush=True)
        return good

    def note(self, text):
        print("#", text, flush=True)


def wait_for(seconds, what, every=0.05):
    until = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() > until:
            return None
        time.sleep(every)


class Teller:
    """A client program that is asked in lines and answers up to a mark; started again when it has ended."""
    mark = "the-end-of-it"

    def __init__(self, start):
        self.start, self.p, self.lock = start, None, threading.RLock()

    def close(self):
        if self.p is not None:
            self.p.kill()
            self.p.wait()
            self.p.stdin.close()
            self.p.stdout.close()
        self.p = None

    def once(self, text):
        if self.p is None or self.p.poll() is not None:
            self.close()
            self.p = self.start()
        lines = []
        try:
            self.p.stdin.write(text)
            self.p.stdin.flush()
            for line in self.p.stdout:
                line = line.rstrip("\n")
                if line == self.mark:
                    return lines, None
                lines.append(line)
        except BrokenPipeError:
            pass
        self.close()
        return lines, "\n".join(lines[-3:]) or "it ended"


class Sql(Teller):
    """T-SQL on one server. Rows as lists of text. A failure is raised."""

    def __init__(self, stack, server, database=None):
        args = [stack.env["LANDFALL_SQL"], "--server", server, "--user", "sa", "--password-file", stack.env["LANDFALL_SQL_PASSWORD_FILE"],
                "--ca", stack.env["LANDFALL_CA_FILE"]] + (["--database", database] if database else [])
        super().__init__(lambda: subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                                  encoding="utf-8", errors="surrogateescape"))

    def __call__(self, text, patience=0):
        """patience: for how many seconds a server that is away is tried again."""
        until = time.monotonic() + patience
        with self.lock:
            while True:
                lines, bad = self.once(text + "\nGO\nSELECT N'" + self.mark + "'\nGO\n")
                if bad is None:
                    return [line.split("\t") for line in lines if not line.startswith("Msg ")]
                if time.monotonic() > until:
                    raise RuntimeError("%s: %s" % (text[:200], bad))
                time.sleep(0.1)


class Pg(Teller):
    """SQL as the schema's owner, for looking and for asking; rows as lists of text."""

    def __init__(self, stack):
        env = dict(os.environ, PGPASSFILE=stack.env["PGPASSFILE"])
        args = ["psql", "-qAtX", "-F", "\t", "-h", "127.0.0.1", "-p", stack.env["PGPORT"], "-U", "landfall_owner", "-d", "landfall"]
        super().__init__(lambda: subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env))

    def __call__(self, sql, patience=20):
        until = time.monotonic() + patience
        with self.lock:
            while True:
                lines, bad = self.once("set search_path = landfall;\n" + sql + ";\n\\echo " + self.mark + "\n")
                error = next((line for line in lines if line.startswith(("ERROR:", "FATAL:", "psql:"))), bad)
                if error is None:
                    return [line.split("\t") for line in lines]
                if time.monotonic() > until or (bad is None and not re.search("starting up|shutting down|terminat", error)):
                    raise RuntimeError("%s: %s" % (sql[:200], error))
                time.sleep(0.1)

    def one(self, sql):
        rows = self(sql)
        return rows[0][0] if rows else ""


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Stack:
    """deploy/dev's stack in a folder of its own; without: programs that are stopped, so that nobody else's work costs time."""

    def __init__(self, hosted=3, slots=8, without=(), **more):
        # Whoever ends us ends what we started.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(130))
        # In memory where there is room: what a kill -9 leaves behind is the same there.
        shm = "/dev/shm"
        big = os.path.isdir(shm) and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 3 << 30
        self.t = tempfile.mkdtemp(prefix="landfall-flow-", dir=os.environ.get("TMPDIR") or (shm if big else None))
        os.chmod(self.t, 0o755)
        self.dir = os.path.join(self.t, "stack")
        self.spawned, self.tellers, self.made = [], [], 0
        self.lock = threading.RLock()
        try:
            self.come_up(hosted, slots, without, more)
        except BaseException:
            self.close()
            raise

    def come_up(self, hosted, slots, without, more):
        env = dict(os.environ, B=BUILD, DEV_HOSTED=str(hosted), DEV_SLOTS=str(slots), **more)
        up = subprocess.run([os.path.join(ROOT, "deploy/dev"), "up", self.dir], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if up.returncode != 0:
            raise RuntimeError("the stack does not come up:\n" + "\n".join(up.stdout.splitlines()[-5:]))
        said = subprocess.run(["bash", "-c", ". %s/env; env -0" % self.dir], stdout=subprocess.PIPE, text=True).stdout
        self.env = {k: v for k, _, v in (p.partition("=") for p in said.split("\0")) if k.startswith(("LANDFALL", "PG", "FREETDS"))}
        self.servers = self.env["LANDFALL_TARGETS"].split(",")
        self.names = ["hosted-%d" % (i + 1) for i in range(len(self.servers))]
        self.backups = self.env["LANDFALL_ONPREM_BACKUP_DIR"]
        self.key = os.path.join(self.t, "k")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.pg = Pg(self)
        self.sql = [Sql(self, s) for s in self.servers]
        self.tellers = [self.pg] + self.sql
        for name in without:
            if not self.dev("stop", name):
                raise RuntimeError(name + " cannot be stopped")

    def close(self):
        # Who is impatient and asks twice would leave half of it running.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for p in self.spawned:
            if p.poll() is None:
                p.kill()
            p.wait()
        for teller in self.tellers:
            teller.close()
        subprocess.run([os.path.join(ROOT, "deploy/dev"), "down", self.dir], env=dict(os.environ, B=BUILD), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        shutil.rmtree(self.t, ignore_errors=True)

    # ---- programs ------------------------------------------------------------------------------------------------

    def dev(self, *args):
        return subprocess.run([os.path.join(ROOT, "deploy/dev"), args[0], self.dir, *args[1:]], env=dict(os.environ, B=BUILD),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def pid(self, name):
        with open(os.path.join(self.dir, "run", name + ".pid")) as f:
            return int(f.read())

    def kill(self, name):
        try:
            os.kill(self.pid(name), signal.SIGKILL)
        except ProcessLookupError:
            pass

    def start(self, name):
        """After a kill. Postgres's old children hold its memory for a moment: tried again."""
        pid = self.pid(name)
        if not wait_for(10, lambda: not is_alive(pid)):
            raise RuntimeError(name + " does not die")
        if not wait_for(30, lambda: self.dev("start", name)):
            raise RuntimeError(name + " does not start again")

    def spawn(self, args, log, wrap=()):
        as_user = ["setpriv", "--reuid=landfall", "--regid=landfall", "--init-groups"] if os.getuid() == 0 else []
        with open(os.path.join(self.dir, "log", log), "a") as out:
            p = subprocess.Popen([*wrap, *as_user, "env", "-i", "PATH=" + os.environ["PATH"], *args], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 start_new_session=True, cwd=self.dir)
        self.spawned.append(p)
        return p

    # ---- migrations ------------------------------------------------------------------------------------------------

    def landfall(self, *args):
        return subprocess.run([self.env["LANDFALL"], *args], env=dict(os.environ, LANDFALL_CONFIG=self.env["LANDFALL_CONFIG"]),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def asked(self, *args):
        """As a person does whom Postgres did not answer (10): once more, a while later."""
        until = time.monotonic() + 60
        while (said := self.landfall(*args)).returncode == 10 and time.monotonic() < until:
            time.sleep(0.5)
        if said.returncode != 0:
            raise RuntimeError("%s: exit %d, %s" % (" ".join(args[:2]), said.returncode, said.stdout))
        return said.stdout

    def new_migration(self, customer, database, hold=None):
        m = json.loads(self.asked("migration", "create", "--customer", customer, "--region", "uk", "--cluster", "dev", "--database", database, "--no-uat", "--json"))["id"]
        if hold is not None:
            self.pg("update run set hold = '%s' where migration = '%s'" % (hold, m))
        self.asked("key", "add", m, "--file", self.key + ".pub")
        return m

    def put(self, m, files):
        """files: (path, name) pairs, in this order."""
        batch = "".join('put "%s" "%s"\n' % f for f in files)
        return subprocess.run(["sftp", "-q", "-b", "-", "-oUserKnownHostsFile=" + self.env["LANDFALL_SFTP_KNOWN_HOSTS"], "-oIdentitiesOnly=yes",
                               "-i", self.key, "-P", self.env["LANDFALL_SFTP_PORT"], m + "@127.0.0.1"], input=batch, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    def act(self, m, *kinds, **args):
        for kind in kinds:
            self.pg("insert into action(migration, run, kind, args) select migration, id, '%s', '%s' from run where migration = '%s' and kind = 'production'" %
                    (kind, json.dumps(args).replace("'", "''"), m))

    def rows(self, sql, database, table="dbo.ticket"):
        return sql("EXEC standin.rows N'%s', N'%s'" % (database.replace("'", "''"), table), 20)


class Worker:
    """landfall-restore as the stack's user. proxies: speaks through them; wrap: what it is started by; postgres: where else that is."""

    def __init__(self, stack, proxies=None, wrap=(), postgres=None):
        stack.made += 1
        self.name = "worker-%d" % stack.made
        with open(os.path.join(stack.dir, "landfall.yaml")) as f:
            text = f.read()
        for port, through in (proxies.ports if proxies else {}).items():
            text = re.sub(r"port: %s\b" % port, "port: %d" % through, text)
        text = text.replace("/state/restore", "/state/" + self.name)
        if postgres is not None:
            text = text.replace("postgres:\n  host: 127.0.0.1", "postgres:\n  host: " + postgres)
        self.config = os.path.join(stack.dir, self.name + ".yaml")
        with open(self.config, "w") as f:
            f.write(text)
        self.ready = os.path.join(stack.dir, "run", self.name + ".ready")
        self.log = os.path.join(stack.dir, "log", self.name + ".log")
        self.p = stack.spawn([os.path.join(stack.dir, "bin/landfall-restore"), "--config", self.config, "--ready-file", self.ready], self.name + ".log", wrap)
        if not wait_for(20, lambda: (os.path.exists(self.ready) and os.path.getsize(self.ready) > 0) or self.p.poll() is not None, 0.01) or self.p.poll() is not None:
            with open(self.log) as f:
                raise RuntimeError("a worker does not start: " + f.read()[-300:])

    def signal(self, number):
        if self.p.poll() is None:
            os.kill(self.p.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.p.wait()


# ---- proxies ------------------------------------------------------------------------------------------------------------

# What the worker says to Postgres, by words that it has.
QUESTIONS = (
    ("insert into step(", "intent"), ("update step set state = $4", "record"), ("insert into message(", "message"), ("update step set percent", "percent"),
    ("update run_replica set state", "saw"), ("update step s set finished_at", "settle"), ("from claim_run(", "claim"),
    ("select take_slot(", "slot"), ("update run set state = $4", "move"), ("worker = null, lease_until = null", "release"), ("update run set plan", "plan"),
    ("update run set tail_set", "tail"), ("update run set waits_for", "waits"), ("update step set said", "remember"), ("insert into verification", "verification"),
    ("insert into event", "event"), ("select tries, cut_off", "past"), ("update run set lease_until = now() + ", "beat"),
)


def question_of(sql):
    return next((name for words, name in QUESTIONS if words in sql), "other")


class Conn:
    def __init__(self, client, server, target):
        self.client, self.server, self.target = client, server, target
        self.who = ""              # Postgres: the program's name for this connection
        self.step = None           # (replica, kind, set) of the last intent
        self.pending = None
        self.spoke = 0.0           # when the worker last said something here
        self.hole = False          # nothing passes any more, and nobody is told
        self.over = threading.Event()

    def close(self):
        self.over.set()
        for s in (self.client, self.server):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def reset_client(self):
        """As the worker's own keepalive ends it: the server is told nothing."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.shutdown(socket.SHUT_RD)
        fd = self.client.detach()
        os.close(fd)


def exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise OSError("end")
        data += more
    return data


def bound_values(body):
    """The text parameters of a Bind message."""
    at = body.index(b"\0", body.index(b"\0") + 1) + 1
    n, = struct.unpack_from("!H", body, at)
    at += 2 + 2 * n
    n, = struct.unpack_from("!H", body, at)
    at += 2
    values = []
    for _ in range(n):
        size, = struct.unpack_from("!i", body, at)
        at += 4
        values.append(None if size < 0 else body[at:at + size].decode("utf-8", "replace"))
        at += max(size, 0)
    return values


class Proxies:
    """trap: an object with see(conn, name, values, edge) -> "drop" or None for Postgres and sent(conn) for SQL Servers, or None."""

    def __init__(self, stack):
        self.trap = None
        self.conns, self.lock = set(), threading.Lock()
        self.armed = {}            # by server: the statement of a committed intent comes next
        self.ports = {}
        self.listeners = []
        self.listen(stack.env["PGPORT"], None)
        for name, server in zip(stack.names, stack.servers):
            self.listen(server.rsplit(":", 1)[1], name)

    def listen(self, port, target):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        s.listen(64)
        self.ports[int(port)] = s.getsockname()[1]
        self.listeners.append(s)
        threading.Thread(target=self.accept, args=(s, int(port), target), daemon=True).start()

    def accept(self, listener, port, target):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client, port, target), daemon=True).start()

    def serve(self, client, port, target):
        try:
            server = socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn = Conn(client, server, target)
        with self.lock:
            self.conns.add(conn)
        try:
            if target is None:
                self.postgres_requests(conn)
            else:
                threading.Thread(target=self.pass_on, args=(conn, server, client, False), daemon=True).start()
                self.pass_on(conn, client, server, True)
        except OSError:
            pass
        conn.close()
        with self.lock:
            self.conns.discard(conn)

    # ---- a SQL Server's ----------------------------------------------------------------------------------------------

    def pass_on(self, conn, source, sink, is_request):
        try:
            while True:
                data = source.recv(65536)
                if conn.hole:
                    conn.over.wait()
                if not data:
                    break
                sink.sendall(data)
                if is_request:
                    conn.spoke = time.monotonic()
                if is_request and self.armed.pop(conn.target, False):
                    trap = self.trap
                    if trap is not None:
                        trap.sent(conn)
        except OSError:
            pass
        if not conn.hole:
            conn.close()

    # ---- Postgres's ----------------------------------------------------------------------------------------------------

    def postgres_requests(self, conn):
        while True:
            head = exactly(conn.client, 8)
            size, code = struct.unpack("!II", head)
            body = exactly(conn.client, size - 8)
            conn.server.sendall(head + body)
            if code not in (80877103, 80877104):
                break
            conn.client.sendall(exactly(conn.server, 1))
        words = body.split(b"\0")
        conn.who = next((words[i + 1].decode() for i in range(0, len(words) - 1, 2) if words[i] == b"application_name"), "")
        threading.Thread(target=self.postgres_answers, args=(conn,), daemon=True).start()
        group, sql, values, named, bound = b"", None, [], {}, False
        while True:
            head = exactly(conn.client, 5)
            body = exactly(conn.client, struct.unpack("!I", head[1:])[0] - 4)
            group += head + body
            kind = head[:1]
            if kind == b"P":
                name, sql = (part.decode() for part in body.split(b"\0")[:2])
                named[name] = sql
            elif kind == b"B":
                # Portal and statement: what was prepared is known by its name.
                sql, values, bound = named[body.split(b"\0")[1].decode()], bound_values(body), True
            elif kind == b"Q":
                sql, values = body[:-1].decode(), []
            if kind in (b"P", b"B", b"D", b"E"):
                continue
            if kind == b"Q" or (kind == b"S" and bound):
                name = question_of(sql)
                if name == "intent":
                    conn.step = (values[2], values[3], values[4])
                if self.tell(conn, name, values, "before") == "drop":
                    raise OSError("dropped")
                conn.pending = (name, values)
            conn.server.sendall(group)
            group, sql, values, bound = b"", None, [], False

    def postgres_answers(self, conn):
        held = b""
        try:
            while True:
                head = exactly(conn.server, 5)
                held += head + exactly(conn.server, struct.unpack("!I", head[1:])[0] - 4)
                pending = conn.pending
                if pending is not None and head[:1] == b"Z":
                    conn.pending = None
                    if self.tell(conn, *pending, "after") == "drop":
                        break
                    if pending[0] == "intent":
                        self.arm(pending[1][2])
                    pending = None
                if pending is None:
                    conn.client.sendall(held)
                    held = b""
        except OSError:
            pass
        conn.close()

    def arm(self, target):
        """The lane sends its statement as soon as it has heard of the commit: the next that is said to this server is it."""
        self.armed[target] = True

    def tell(self, conn, name, values, edge):
        trap = self.trap
        return None if trap is None else trap.see(conn, name, values, edge)

    def count(self, who):
        with self.lock:
            return sum(c.who == who for c in self.conns)
