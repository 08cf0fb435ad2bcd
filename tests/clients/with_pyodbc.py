"""pyodbc over FreeTDS's ODBC driver against the stand-in. ODBC gives messages only between results. See tds_lib.sh."""
import os, re, time, threading, uuid, decimal
import pyodbc

E = os.environ
pyodbc.pooling = False


def ok(name, good, said=''):
    print(f'ok {name}' if good else f'not ok {name}\n# {said}', flush=True)


def connect(**more):
    password = open(E['WIRE_PASSWORD_FILE']).read().rstrip('\n')
    tls = f"Encryption=require;CAFile={E['WIRE_CA']};" if E['WIRE_TLS'] == '1' else 'Encryption=off;'
    return pyodbc.connect(f"Driver={E['WIRE_DRIVER']};Server={E['WIRE_HOST']};Port={E['WIRE_PORT']};UID={E['WIRE_USER']};PWD={{{password}}};"
                          f"Database=master;TDS_Version=7.4;ClientCharset=UTF-8;{tls}", timeout=10, **more)


def messages(cursor):
    return [m[1] for m in cursor.messages or []]


def run(cursor, sql):
    """Every message of a statement; a client that stops at the first result ends the restore."""
    said = []
    cursor.execute(sql)
    said += messages(cursor)
    while cursor.nextset():
        said += messages(cursor)
    return said


def restore(to):
    return (f"RESTORE DATABASE [{to}] FROM DISK = N'{E['WIRE_FULL']}' WITH MOVE N'Sales' TO N'{E['WIRE_DIR']}/{to}.mdf', "
            f"MOVE N'Sales_log' TO N'{E['WIRE_DIR']}/{to}.ldf', NORECOVERY, REPLACE, STATS = 10")


connection = connect(autocommit=True)
cursor = connection.cursor()
ok('logs in', cursor.execute('SELECT @@SERVERNAME').fetchone()[0] == 'standin')

cursor.execute(f"RESTORE HEADERONLY FROM DISK = N'{E['WIRE_FULL']}'")
row = dict(zip([d[0] for d in cursor.description], cursor.fetchone()))
ok('HEADERONLY with exact LSNs', str(row['FirstLSN']) == E['WIRE_FIRST_LSN'] and str(row['LastLSN']) == E['WIRE_LAST_LSN'],
   f"{row['FirstLSN']} {row['LastLSN']}")
while cursor.nextset():
    pass

said = run(cursor, restore(E['WIRE_DB']))
done = [m for m in said if 'percent processed' in m]
ok('RESTORE with progress, as far as ODBC tells it', any('RESTORE DATABASE successfully processed' in m for m in said) and len(done) == 10,
   f'{len(said)} messages, the last {said[-1:]}')

try:
    run(cursor, f"RESTORE LOG [{E['WIRE_DB']}] FROM DISK = N'{E['WIRE_LATE']}' WITH NORECOVERY")
    said = 'nothing'
except pyodbc.Error as e:
    said = str(e)
# Class and state are not part of what ODBC's diagnostics give to Python; the number is.
ok('an error with number, state and class (the number of the first: this driver tells no more)', '(4305)' in said, said)

other = connect(autocommit=False)
c = other.cursor()
c.execute('USE [Sales]')
c.execute("INSERT INTO dbo.ticket VALUES (?, ?)", 7101, 'gone')
other.rollback()
c.execute("INSERT INTO dbo.ticket VALUES (?, ?)", 7102, 'stays \u00fc')
other.commit()
got = c.execute('SELECT id, subject FROM dbo.ticket WHERE id IN (7101, 7102)').fetchall()
ok('a transaction rolled back, another committed', [tuple(r) for r in got] == [(7102, 'stays \u00fc')], got)
c.execute('DELETE FROM dbo.ticket WHERE id = 7102')
other.commit()
other.close()

began = time.monotonic()
timer = threading.Timer(1, cursor.cancel)
timer.start()
try:
    cursor.execute("WAITFOR DELAY '00:01:00'")
    said = ''
except pyodbc.Error as e:
    said = str(e)
took = time.monotonic() - began
timer.join()
cursor = connection.cursor()
ok('cancels and goes on', 0.5 < took < 20 and said != '' and cursor.execute('SELECT 42').fetchone()[0] == 42, f'{took:.1f} s {said}')

values = ('J\u00f6rg', 9223372036854775807, decimal.Decimal(9999999999999999999999999), None)
got = cursor.execute('SELECT ?, ?, ?, ?', *values).fetchone()
ok('values there and back as parameters of a prepared call', tuple(got) == values, got)
connection.close()
