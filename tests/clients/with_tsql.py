"""tsql, FreeTDS's own shell over its inner library, against the stand-in. It cannot cancel. See tds_lib.sh."""
import os, re, subprocess, time

E = os.environ


def ok(name, good, said=''):
    print(f'ok {name}' if good else f'not ok {name}\n# {said}', flush=True)


conf = E['WIRE_DIR'] + '/tsql.conf'
tls = f"encryption = require\n\tca file = {E['WIRE_CA']}" if E['WIRE_TLS'] == '1' else 'encryption = off'
open(conf, 'w').write(f'[global]\n\ttds version = 7.4\n\tclient charset = UTF-8\n\t{tls}\n')


def tsql(*batches):
    """(when, line) of everything that tsql prints."""
    # tsql takes its password from the arguments only; it is this test's own.
    password = open(E['WIRE_PASSWORD_FILE']).read().rstrip('\n')
    p = subprocess.Popen(['stdbuf', '-oL', 'tsql', '-H', E['WIRE_HOST'], '-p', E['WIRE_PORT'], '-U', E['WIRE_USER'], '-P', password, '-o', 'qh'],
                         env={**E, 'FREETDSCONF': conf}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    p.stdin.write(''.join(b + '\ngo\n' for b in batches))
    p.stdin.close()
    said = [(time.monotonic(), line.rstrip('\n')) for line in p.stdout]
    p.wait()
    return said


def text(said):
    return '\n'.join(line for _, line in said)


said = tsql('SELECT @@SERVERNAME')
ok('logs in', 'standin' in text(said), text(said))

said = tsql(f"RESTORE HEADERONLY FROM DISK = N'{E['WIRE_FULL']}'")
ok('HEADERONLY with exact LSNs', E['WIRE_FIRST_LSN'] in text(said).split() and E['WIRE_LAST_LSN'] in text(said).split(), text(said)[:300])

to, where = E['WIRE_DB'], E['WIRE_DIR']
said = tsql(f"RESTORE DATABASE [{to}] FROM DISK = N'{E['WIRE_FULL']}' WITH MOVE N'Sales' TO N'{where}/{to}.mdf', "
            f"MOVE N'Sales_log' TO N'{where}/{to}.ldf', NORECOVERY, STATS = 10")
progress = [t for t, line in said if 'percent processed' in line]
end = [t for t, line in said if 'RESTORE DATABASE successfully processed' in line]
ok('RESTORE with progress, live', len(progress) == 10 and len(end) == 1 and end[0] - progress[0] > 0.3, text(said)[-300:])

said = tsql(f"RESTORE LOG [{to}] FROM DISK = N'{E['WIRE_LATE']}' WITH NORECOVERY")
errors = re.findall(r'Msg (\d+) \(severity (\d+), state (\d+)\)', text(said))
ok('an error with number, state and class', errors == [('4305', '16', '1'), ('3013', '16', '1')], text(said))

said = tsql("USE [Sales] BEGIN TRAN INSERT INTO dbo.ticket VALUES (7201, N'gone') ROLLBACK",
            "BEGIN TRAN INSERT INTO dbo.ticket VALUES (7202, N'stays') COMMIT", 'SELECT id FROM dbo.ticket WHERE id IN (7201, 7202)',
            'DELETE FROM dbo.ticket WHERE id = 7202')
ok('a transaction rolled back, another committed', '7202' in text(said) and '7201' not in text(said), text(said))
print('SKIP cancels and goes on: tsql has no way to cancel')
