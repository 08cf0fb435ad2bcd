// tedious, a TDS client in JavaScript with code of its own, against the stand-in. It has no decimals: LSNs are compared
// as text that the server made. See tds_lib.sh.
const fs = require('fs');
const { Connection, Request, TYPES, ISOLATION_LEVEL } = require(process.argv[2]);
const E = process.env;
const ok = (name, good, said) => console.log(good ? `ok ${name}` : `not ok ${name}\n# ${said}`);
const open = (password, more = {}) => new Promise((done, no) => {
  const c = new Connection({ server: E.WIRE_HOST, authentication: { type: 'default', options: { userName: E.WIRE_USER, password } },
    options: { port: +E.WIRE_PORT, database: 'master', rowCollectionOnRequestCompletion: true, requestTimeout: 60000, useUTC: true,
      encrypt: E.WIRE_TLS === '1', trustServerCertificate: false, cryptoCredentialsDetails: { ca: fs.readFileSync(E.WIRE_CA) }, ...more } });
  c.messages = []; c.errors = [];
  const note = m => { m.when = process.hrtime.bigint(); c.messages.push(m); if (c.heard) c.heard(m); };
  c.on('infoMessage', note); c.on('errorMessage', note); c.on('error', () => {});
  c.connect(e => e ? no(Object.assign(e, { messages: c.messages })) : done(c));
});
// Every message and row of a batch; never fails.
const run = (c, sql, { params = [], heard, prepared } = {}) => new Promise(done => {
  c.messages.length = 0;
  c.heard = heard && (m => heard(m, c));
  const r = new Request(sql, (error, n, rows) => { c.heard = null; done({ error, rows, messages: c.messages.slice(), end: process.hrtime.bigint() }); });
  for (const [name, type, value] of params) r.addParameter(name, type, value);
  params.length ? c.execSql(r) : c.execSqlBatch(r);
});
const value = a => a.rows && a.rows[0] && a.rows[0][0].value;
const facts = a => JSON.stringify(a.messages.filter(m => m.class > 10).map(m => [m.number, m.state, m.class]));
const restore = to => `RESTORE DATABASE [${to}] FROM DISK = N'${E.WIRE_FULL}' WITH MOVE N'Sales' TO N'${E.WIRE_DIR}/${to}.mdf',
  MOVE N'Sales_log' TO N'${E.WIRE_DIR}/${to}.ldf', NORECOVERY, REPLACE, STATS = 10`;
const step = (c, verb, ...more) => new Promise((done, no) => c[verb](e => e ? no(e) : done(), ...more));
(async () => {
  const c = await open(fs.readFileSync(E.WIRE_PASSWORD_FILE, 'utf8').trimEnd());
  ok('logs in', value(await run(c, 'SELECT @@SERVERNAME')) === 'standin');

  const h = await run(c, `RESTORE HEADERONLY FROM DISK = N'${E.WIRE_FULL}'`);
  const column = name => h.rows[0].find(x => x.metadata.colName === name);
  // A number of JavaScript holds 15 digits; the type says that 25 came, and the next double is the only one it can be.
  ok('HEADERONLY with exact LSNs (as far as doubles tell)', column('FirstLSN').metadata.precision === 25 && column('FirstLSN').value === Number(E.WIRE_FIRST_LSN) &&
    column('LastLSN').value === Number(E.WIRE_LAST_LSN), JSON.stringify(h.rows && h.rows[0].length));

  const r = await run(c, restore(E.WIRE_DB)), progress = r.messages.filter(m => m.number === 3211);
  ok('RESTORE with progress, live', !r.error && progress.length === 10 && r.messages.at(-1).number === 3014 &&
    Number(r.end - progress[0].when) > 3e8, `${progress.length} ${r.error}`);

  const e = await run(c, `RESTORE LOG [${E.WIRE_DB}] FROM DISK = N'${E.WIRE_LATE}' WITH NORECOVERY`);
  ok('an error with number, state and class', facts(e) === '[[4305,1,16],[3013,1,16]]', facts(e));

  const x = await run(c, restore(E.WIRE_DB + '_c'), { heard: (m, c) => m.number === 3211 && c.cancel() });
  ok('cancels and goes on', x.error && x.error.code === 'ECANCEL' && value(await run(c, 'SELECT 42')) === 42, x.error);

  await run(c, 'USE [Sales]');
  await step(c, 'beginTransaction'); await run(c, "INSERT INTO dbo.ticket VALUES (7301, N'gone')"); await step(c, 'rollbackTransaction');
  await step(c, 'beginTransaction'); await run(c, "INSERT INTO dbo.ticket VALUES (7302, N'stays')"); await step(c, 'commitTransaction');
  const t = await run(c, 'SELECT id FROM dbo.ticket WHERE id IN (7301, 7302)');
  ok('a transaction rolled back, another committed', t.rows.length === 1 && value(t) === 7302, t.rows.length);
  await run(c, 'DELETE FROM dbo.ticket WHERE id = 7302');

  const v = await run(c, 'SELECT @a, @b, @c, @d', { params: [['a', TYPES.NVarChar, 'Jörg \u{1F600}'], ['b', TYPES.BigInt, '9223372036854775807'],
    ['c', TYPES.UniqueIdentifier, '6F9619FF-8B86-D011-B42D-00C04FC964FF'], ['d', TYPES.NVarChar, null]] });
  ok('values there and back as parameters', v.rows && JSON.stringify(v.rows[0].map(x => x.value)) ===
    '["Jörg \u{1F600}","9223372036854775807","6F9619FF-8B86-D011-B42D-00C04FC964FF",null]', v.error || JSON.stringify(v.rows[0].map(x => x.value)));

  const p = await new Promise(done => {
    const q = new Request('SELECT @n + 1', (error, n, rows) => q.next && q.next(error, rows));
    q.addParameter('n', TYPES.Int);
    q.on('prepared', () => { q.next = (error, rows) => { q.next = () => done({ error, rows }); c.unprepare(q); }; c.execute(q, { n: 41 }); });
    q.next = error => done({ error });
    c.prepare(q);
  });
  ok('prepared, executed and unprepared', !p.error && value(p) === 42, p.error);

  await new Promise((done, no) => c.reset(e => e ? no(e) : done()));
  ok('a reset connection is in its first database again', value(await run(c, 'SELECT DB_NAME()')) === 'master');
  c.close();
  const w = await open('Wrong1!').then(() => 'it let us in', e => JSON.stringify(e.messages.map(m => [m.number, m.state, m.class])));
  ok('a wrong password is 18456', w === '[[18456,1,14]]', w);
  process.exit(0);
})().catch(e => { console.log(`not ok it came through\n# ${e.stack.split('\n').slice(0, 4).join(' ')}`); process.exit(1); });
