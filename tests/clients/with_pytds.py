"""pytds, a TDS client in pure Python that shares no code with FreeTDS, against the stand-in. See tds_lib.sh."""
import os, time, uuid, decimal
import pytds
from pytds import tds

E = os.environ
CANCEL_ON = []  # numbers of messages upon which attention is sent, from within the answer
MESSAGES = []  # (when, number, state, class, text) of everything the server says
_process = tds._TdsSession.process_msg


def process(session, marker):
    _process(session, marker)
    m = session.messages[-1]
    MESSAGES.append((time.monotonic(), m['msgno'], m['state'], m['severity'], m['message']))
    if m['msgno'] in CANCEL_ON:
        CANCEL_ON.remove(m['msgno'])
        session.put_cancel()


tds._TdsSession.process_msg = process


def ok(name, good, said=''):
    print(f'ok {name}' if good else f'not ok {name}\n# {said}', flush=True)


def connect(**more):
    password = open(more.pop('password_file', E['WIRE_PASSWORD_FILE'])).read().rstrip('\n')
    if E['WIRE_TLS'] != '0':
        more.update(cafile=E['WIRE_CA'], enc_login_only=E['WIRE_TLS'] == 'login')
    return pytds.connect(E['WIRE_HOST'], port=int(E['WIRE_PORT']), user=E['WIRE_USER'], password=password, database='master',
                         autocommit=more.pop('autocommit', True), login_timeout=10, disable_connect_retry=True, **more)


def drain(cursor):
    while cursor.nextset():
        pass


def attempt(cursor, sql):
    """The messages of a statement, whether it fails or not."""
    MESSAGES.clear()
    try:
        cursor.execute(sql)
        drain(cursor)
    except pytds.Error:
        pass
    return [m[1:4] for m in MESSAGES]


def restore(to, **more):
    return (f"RESTORE DATABASE [{to}] FROM DISK = N'{E['WIRE_FULL']}' WITH MOVE N'Sales' TO N'{E['WIRE_DIR']}/{to}.mdf', "
            f"MOVE N'Sales_log' TO N'{E['WIRE_DIR']}/{to}.ldf', NORECOVERY, REPLACE, STATS = 10")


connection = connect()
cursor = connection.cursor()
cursor.execute('SELECT @@SERVERNAME')
ok('logs in', cursor.fetchone()[0] == 'standin')

cursor.execute(f"RESTORE HEADERONLY FROM DISK = N'{E['WIRE_FULL']}'")
row = dict(zip([d[0] for d in cursor.description], cursor.fetchone()))
ok('HEADERONLY with exact LSNs', str(row['FirstLSN']) == E['WIRE_FIRST_LSN'] and str(row['LastLSN']) == E['WIRE_LAST_LSN'] and
   isinstance(row['FirstLSN'], decimal.Decimal), f"{row['FirstLSN']} {row['LastLSN']}")
drain(cursor)

MESSAGES.clear()
cursor.execute(restore(E['WIRE_DB']))
drain(cursor)
end = time.monotonic()
progress = [m for m in MESSAGES if m[1] == 3211]
ok('RESTORE with progress, live', len(progress) == 10 and progress[0][4] == '10 percent processed.' and MESSAGES[-1][1] == 3014 and
   end - progress[0][0] > 0.3, f'{len(progress)} messages, the last {MESSAGES[-1:]}')

said = attempt(cursor, f"RESTORE LOG [{E['WIRE_DB']}] FROM DISK = N'{E['WIRE_LATE']}' WITH NORECOVERY")
ok('an error with number, state and class', said == [(4305, 1, 16), (3013, 1, 16)], said)

CANCEL_ON.append(3211)
said = attempt(cursor, restore(E['WIRE_DB'] + '_c'))
cursor = connection.cursor()
cursor.execute('SELECT 42')
ok('cancels and goes on', cursor.fetchone()[0] == 42 and (3204, 1, 16) in said and not any(m[0] == 3014 for m in said), said)

other = connect(autocommit=False)
c = other.cursor()
c.execute("USE [Sales]")
c.execute("INSERT INTO dbo.ticket VALUES (7001, N'gone')")
other.rollback()
c.execute("INSERT INTO dbo.ticket VALUES (7002, N'stays')")
other.commit()
c.execute('SELECT id FROM dbo.ticket WHERE id IN (7001, 7002)')
ok('a transaction rolled back, another committed', c.fetchall() == [(7002,)])
c.execute('DELETE FROM dbo.ticket WHERE id = 7002')
other.commit()
other.close()

values = ('Jörg \U0001F600', 9223372036854775807, decimal.Decimal(9999999999999999999999999), uuid.UUID('6f9619ff-8b86-d011-b42d-00c04fc964ff'), None)
cursor.execute('SELECT %s, %s, CONVERT(numeric(25,0), %s), %s, %s', values)
got = cursor.fetchone()
ok('values there and back as parameters', got[:3] == values[:3] and str(got[3]) == str(values[3]) and got[4] is None, got)

MESSAGES.clear()
try:
    connect(password_file=E['WIRE_DIR'] + '/wrong')
    said = 'it let us in'
except pytds.Error:
    said = [m[1:4] for m in MESSAGES]
ok('a wrong password is 18456', said == [(18456, 1, 14)], said)
connection.close()
