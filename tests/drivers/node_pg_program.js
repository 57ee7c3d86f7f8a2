// node-postgres: text parameters, named statements per query, cursors by pg-query-stream, COPY by pg-copy-streams.
'use strict';
const assert = require('node:assert');
const readline = require('node:readline');
const { once } = require('node:events');
const { pipeline: flow } = require('node:stream/promises');
const { Readable } = require('node:stream');
const pg = require('pg');
const copyStreams = require('pg-copy-streams');
const QueryStream = require('pg-query-stream');

const [TRUST, SCRAM, KEY_TEXT] = process.argv.slice(2);
const KEY = Number(KEY_TEXT);
const CLIENTS = 8;
const TRANSACTIONS = 40;
const BLOB_TOTAL = 10000 * 1000;
const UNCHECKED_TLS = { rejectUnauthorized: false };

class NotInDriver extends Error {}

async function connect(url = TRUST, more = {}) {
  const client = new pg.Client({ connectionString: url, ...more });
  client.on('error', () => {}); // a query's own rejection tells of it
  await client.connect();
  return client;
}

async function using(act, url, more) {
  const client = await connect(url, more);
  try {
    return await act(client);
  } finally {
    client.end().catch(() => {});
  }
}

const rows = async (client, text, values) => (await client.query({ text, values, rowMode: 'array' })).rows;

async function expectRows(client, wanted, text, values) {
  assert.deepStrictEqual(await rows(client, text, values), wanted);
}

async function expectError(code, promise) {
  await assert.rejects(promise, (error) => {
    if (error.code === '0A000') throw error;
    assert.strictEqual(error.code, code);
    return true;
  });
}

const within = (promise, milliseconds) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error('no answer in time')), milliseconds).unref())]);

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const features = {
  async version() {
    return require('pg/package.json').version;
  },
  async connect_trust() {
    await using((client) => expectRows(client, [[1]], 'SELECT 1'));
  },
  async connect_scram() {
    await using((client) => expectRows(client, [[1]], 'SELECT 1'), SCRAM);
  },
  async tls() {
    await using(async (client) => {
      assert.strictEqual(client.connection.stream.encrypted, true);
      await expectRows(client, [[1]], 'SELECT 1');
    }, SCRAM, { ssl: UNCHECKED_TLS });
  },
  async channel_binding() {
    await using(async (client) => {
      await expectRows(client, [[1]], 'SELECT 1');
    }, SCRAM, { ssl: UNCHECKED_TLS, enableChannelBinding: true });
  },
  async simple_query() {
    await using(async (client) => {
      await client.query(`INSERT INTO items (user_id, id, name) VALUES (${KEY}, 1, 'one')`);
      await expectRows(client, [['one']], `SELECT name FROM items WHERE user_id = ${KEY} AND id = 1`);
    });
  },
  async parameters_text() {
    await using(async (client) => {
      await client.query('INSERT INTO items (user_id, id, name) VALUES ($1, $2, $3)', [KEY, 2, "it's 'two' \\"]);
      await expectRows(client, [["it's 'two' \\"]], 'SELECT name FROM items WHERE user_id = $1 AND id = $2', [KEY, 2]);
    });
  },
  async parameters_binary() {
    await using(async (client) => {
      // A Buffer is the one kind of value that it sends in binary. Its binary results fail without Weir, too.
      await client.query('INSERT INTO items (user_id, id, name) VALUES ($1, 3, $2)', [KEY, Buffer.from('three')]);
      await expectRows(client, [['three']], 'SELECT name FROM items WHERE user_id = $1 AND id = $2', [KEY, 3]);
    });
  },
  async prepared() {
    // The same name on every connection, with another text behind it.
    const client = async (i) => using(async (connection) => {
      for (let n = 0; n < TRANSACTIONS; n++) {
        await connection.query('BEGIN');
        const found = await connection.query({ name: 's', text: `SELECT name, ${i} FROM items WHERE user_id = $1 AND id = $2`, values: [KEY, 1], rowMode: 'array' });
        assert.deepStrictEqual(found.rows, [['one', i]]);
        await connection.query('COMMIT');
      }
    });
    await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
  },
  async pipeline() {
    await using(async (client) => {
      await Promise.all(Array.from({ length: 50 }, (_, n) => client.query("INSERT INTO items (user_id, id, name) VALUES ($1, $2, 'batch')", [KEY, 100 + n])));
      await expectRows(client, [['50']], "SELECT count(*) FROM items WHERE user_id = $1 AND name = 'batch'", [KEY]);
    }, TRUST, { pipeline: true });
  },
  async transaction() {
    await using(async (client) => {
      await client.query('BEGIN');
      await client.query("INSERT INTO items (user_id, id, name) VALUES ($1, 200, 'kept')", [KEY]);
      await client.query('SAVEPOINT a');
      await client.query("INSERT INTO items (user_id, id, name) VALUES ($1, 201, 'undone')", [KEY]);
      await client.query('ROLLBACK TO SAVEPOINT a');
      await client.query('COMMIT');
      await client.query('BEGIN');
      await client.query('DELETE FROM items WHERE user_id = $1 AND id = 200', [KEY]);
      await client.query('ROLLBACK');
      await expectRows(client, [['kept']], 'SELECT name FROM items WHERE user_id = $1 AND id BETWEEN 200 AND 201', [KEY]);
    });
  },
  async copy_in() {
    await using(async (client) => {
      const lines = Array.from({ length: 100 }, (_, n) => `${KEY}\t${300 + n}\tcopied\n`);
      await flow(Readable.from(lines), client.query(copyStreams.from('COPY items (user_id, id, name) FROM STDIN')));
      await expectRows(client, [['100']], "SELECT count(*) FROM items WHERE user_id = $1 AND name = 'copied'", [KEY]);
    });
  },
  async copy_out() {
    await using(async (client) => {
      let found = '';
      for await (const piece of client.query(copyStreams.to(`COPY (SELECT id, name FROM items WHERE user_id = ${KEY} AND id = 1) TO STDOUT`))) found += piece;
      assert.strictEqual(found, '1\tone\n');
    });
  },
  async listen_notify() {
    await using(async (listener) => {
      const heard = once(listener, 'notification');
      await listener.query(`LISTEN channel_${KEY}`);
      await using((client) => client.query(`NOTIFY channel_${KEY}, 'hello'`));
      const [{ channel, payload }] = await within(heard, 15000);
      assert.deepStrictEqual([channel, payload], [`channel_${KEY}`, 'hello']);
      await listener.query('UNLISTEN *');
    });
  },
  async cancel() {
    await using(async (client) => {
      const query = new pg.Query('SELECT pg_sleep(60)');
      const ended = new Promise((_, reject) => query.once('error', reject));
      client.query(query);
      // A cancel that comes before its statement does nothing.
      const canceller = setInterval(() => new pg.Client({ connectionString: TRUST }).cancel(client, query), 100);
      await expectError('57014', ended).finally(() => clearInterval(canceller));
      await expectRows(client, [[1]], 'SELECT 1');
    });
  },
  async statement_timeout() {
    await using(async (client) => {
      await expectError('57014', client.query('SELECT pg_sleep(60)'));
      await expectRows(client, [[1]], 'SELECT 1');
    }, TRUST, { statement_timeout: 100 });
  },
  async settings() {
    await using((first) => using(async (other) => {
      await first.query('SET search_path = pg_catalog, public');
      await first.query("SET TimeZone = 'Asia/Tokyo'");
      assert.notDeepStrictEqual(await rows(other, 'SHOW TimeZone'), [['Asia/Tokyo']]);
      await expectRows(first, [['pg_catalog, public']], 'SHOW search_path');
      await expectRows(first, [['Asia/Tokyo']], 'SHOW TimeZone');
    }));
  },
  async startup_options() {
    await using((client) => using(async (other) => {
      await expectRows(other, [['0']], 'SHOW statement_timeout');
      await expectRows(client, [['drivers']], 'SHOW application_name');
      await expectRows(client, [['12345ms']], 'SHOW statement_timeout');
      await expectRows(client, [['public']], 'SHOW search_path');
    }), TRUST, { application_name: 'drivers', options: '-c statement_timeout=12345 -c search_path=public' });
  },
  async types() {
    await using(async (client) => {
      const values = [[1, null, 3], ['a,b', 'c"d', ''], { k: [1, null, 'ä'] }, new Date('2024-02-29T12:34:56.789Z'), '12345678901234567890.123456789'];
      await client.query('INSERT INTO typed (user_id, id, numbers, words, doc, at, amount) VALUES ($1, 1, $2, $3, $4, $5, $6)', [KEY, ...values]);
      await expectRows(client, [values], 'SELECT numbers, words, doc, at, amount FROM typed WHERE user_id = $1 AND id = 1', [KEY]);
    });
  },
  async large_result() {
    await using(async (client) => {
      let total = 0;
      const stream = client.query(new QueryStream('SELECT id, body FROM blobs WHERE user_id = $1 ORDER BY id', [7], { batchSize: 500 }));
      for await (const row of stream) total += row.body.length;
      assert.strictEqual(total, BLOB_TOTAL);
    });
  },
  async error_recovery() {
    await using(async (client) => {
      await client.query('BEGIN');
      await expectError('23505', client.query("INSERT INTO items (user_id, id, name) VALUES ($1, 1, 'again')", [KEY]));
      await expectError('25P02', client.query('SELECT 1'));
      await client.query('ROLLBACK');
      await expectRows(client, [['one']], 'SELECT name FROM items WHERE user_id = $1 AND id = 1', [KEY]);
    });
  },
  async no_key() {
    await using((client) => expectRows(client, [[true]], 'SELECT count(*) > 0 FROM items WHERE name = $1', ['one']));
  },
  async server_restart() {
    await using(async (client) => {
      const question = ['SELECT name FROM items WHERE user_id = $1 AND id = 1', [KEY]];
      await expectRows(client, [['one']], ...question);
      console.log('restart?');
      assert.strictEqual((await answers.next()).value, 'restarted');
      await expectRows(client, [['one']], ...question);
    });
  },
};

async function line(feature, act) {
  try {
    return `${feature} ok ${(await act()) || ''}`.trim();
  } catch (error) {
    const message = String(error.message).replace(/\s+/g, ' ').slice(0, 300);
    if (error instanceof NotInDriver) return `${feature} n/a ${message}`;
    return error.code === '0A000' ? `${feature} refused 0A000 ${message}` : `${feature} FAILED ${error.code || error.name} ${message}`;
  }
}

(async () => {
  for (const [feature, act] of Object.entries(features)) console.log(await line(feature, act));
  process.exit(0);
})();
