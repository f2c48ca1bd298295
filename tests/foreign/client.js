// A client of the daemon for Node, with the published protos loaded as they are; see tests/tests/foreign.rs, which runs it.
//
// Usage: client.js ADDRESS PROTO_DIR. It says `revoke LEASE` on standard output when an administrator is to revoke that
// lease, and `done` when everything was as published. Anything else is told on standard error.
'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const SESSIONS = 'I3_SESSION_CALL';
const SEATS = 3;
const PATIENCE_MS = 30_000;

const [address, protos] = process.argv.slice(2);
const options = { longs: String, enums: String, defaults: true, oneofs: true, includeDirs: [protos] };
const { v1 } = grpc.loadPackageDefinition(loader.loadSync('leasehold/v1/leasing.proto', options)).leasehold;

// google.rpc's own protos, as far as they are needed to read what a refusal carries.
const RPC = {
  nested: { google: { nested: { rpc: { nested: {
    Status: { fields: { code: { type: 'int32', id: 1 }, details: { rule: 'repeated', type: 'Any', id: 3 } } },
    Any: { fields: { type_url: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    ErrorInfo: { fields: {
      reason: { type: 'string', id: 1 },
      domain: { type: 'string', id: 2 },
      metadata: { keyType: 'string', type: 'string', id: 3 },
    } },
    QuotaFailure: {
      fields: { violations: { rule: 'repeated', type: 'Violation', id: 1 } },
      nested: { Violation: { fields: { subject: { type: 'string', id: 1 } } } },
    },
  } } } } },
};
const rpc = require('protobufjs').Root.fromJSON(RPC);

const newId = () => randomBytes(16);
const rises = (a, b) => assert(BigInt(b) > BigInt(a), `${b} does not rise above ${a}`);

/** The details of a refusal, by their kind. */
function details(error) {
  const [packed] = error.metadata.get('grpc-status-details-bin');
  assert(packed, `a refusal without details: ${error.message}`);
  const kinds = {};
  for (const { type_url: url, value } of rpc.lookupType('google.rpc.Status').decode(packed).details) {
    const kind = url.slice(url.lastIndexOf('.') + 1);
    if (rpc.lookup(`google.rpc.${kind}`)) kinds[kind] = rpc.lookupType(`google.rpc.${kind}`).decode(value);
  }
  return kinds;
}

/** Everything without a stream. */
async function unary(leasing) {
  const caller = { name: 'node-unary', application: 'foreign client', version: '2020.2.1' };
  const call = (method, request) =>
    new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer));
      leasing[method](request, { deadline: Date.now() + PATIENCE_MS }, done);
    });
  const refused = (method, request) =>
    call(method, request).then(
      (answer) => assert.fail(`not refused: ${JSON.stringify(answer)}`),
      (error) => ({ error, ...details(error) }),
    );
  const units = (count) => ({ requestId: newId(), caller, units: { key: SESSIONS, units: count } });
  const release = async (...leaseIds) => {
    const { outcomes } = await call('Release', { requestId: newId(), caller, leaseIds });
    assert.deepEqual(outcomes.map((outcome) => outcome.refusal), leaseIds.map(() => null));
  };

  const asked = units(2);
  const { lease } = await call('Acquire', asked);
  assert.deepEqual([lease.state, lease.keys[0].key, lease.keys[0].units], ['LEASE_STATE_LIVE', SESSIONS, 2]);
  assert.equal((await call('Acquire', asked)).lease.leaseId, lease.leaseId);

  const logon = { requestId: newId(), caller, logon: { user: 'agent-1', computer: 'pc-1' }, ttlMs: 30_000 };
  const { lease: loggedOn } = await call('Acquire', logon);
  assert.deepEqual([loggedOn.user, loggedOn.computer, loggedOn.ttlMs], ['agent-1', 'pc-1', '30000']);
  assert(loggedOn.keys.some(({ key }) => key === 'I3_ACCESS_CLIENT'));
  rises(lease.leaseId, loggedOn.leaseId);

  const exhausted = await refused('Acquire', units(SEATS));
  assert.equal(exhausted.error.code, grpc.status.RESOURCE_EXHAUSTED);
  assert.deepEqual([exhausted.ErrorInfo.domain, exhausted.ErrorInfo.reason], ['leasehold', 'POOL_EXHAUSTED']);
  assert.equal(exhausted.ErrorInfo.metadata.capacity, String(SEATS));
  assert.match(exhausted.QuotaFailure.violations[0].subject, new RegExp(SESSIONS));
  const malformed = await refused('Acquire', { ...units(1), requestId: Buffer.from('short') });
  assert.equal(malformed.error.code, grpc.status.INVALID_ARGUMENT);
  assert.equal(malformed.ErrorInfo.metadata.field, 'request_id');
  const reused = await refused('Acquire', { ...asked, units: { key: SESSIONS, units: 1 } });
  assert.equal(reused.ErrorInfo.reason, 'REQUEST_ID_REUSED');

  const explained = await call('Explain', { acquire: units(SEATS) });
  assert.deepEqual([explained.decision, explained.wouldRefuse.reason], ['wouldRefuse', 'POOL_EXHAUSTED']);
  const subjects = [{ user: 'agent-1' }, { user: 'agent-2' }, { user: 'nobody' }];
  const held = await call('Entitlements', { caller, subjects, keys: ['I3_ACCESS_CLIENT'] });
  assert.deepEqual(held.subjects.map((subject) => subject.anyOf), [true, false, false]);
  assert.equal(held.subjects[2].refusal.reason, 'USER_UNKNOWN');
  const { keys } = await call('SiteKeys', { caller });
  assert.deepEqual(keys.filter(({ key }) => key === 'I3_FEATURE_RECORDER').map(({ licensed }) => licensed), [true]);

  const leaseIds = [lease.leaseId, String(BigInt(loggedOn.leaseId) + 1000n)];
  const renewed = await call('Renew', { caller, leaseIds });
  assert.deepEqual(renewed.outcomes.map(({ refusal }) => refusal && refusal.reason), [null, 'LEASE_UNKNOWN']);
  await release(lease.leaseId);
  await release(lease.leaseId, loggedOn.leaseId);
  assert.equal((await call('Acquire', asked)).lease.state, 'LEASE_STATE_ENDED');
}

/** An attached stream. */
async function attached(leasing) {
  const stream = leasing.Attach({ deadline: Date.now() + PATIENCE_MS });
  const heard = stream[Symbol.asyncIterator]();
  let arrived = 0;
  const say = (message) => stream.write(message);
  const hear = async (kind) => {
    const { done, value } = await heard.next();
    assert(!done, `the stream ended before ${kind}`);
    assert.equal(value.message, kind);
    const answerNumber = Number(value.answerNumber);
    arrived = Math.max(arrived, answerNumber);
    return { ...value[kind], answerNumber };
  };

  say({ hello: { caller: { name: 'node-stream', application: 'foreign client' }, runId: newId() } });
  const welcome = await hear('welcome');
  assert(welcome.installationId && Number(welcome.beatEveryMs) > 0);

  const asked = Array.from({ length: SEATS }, newId);
  const units = { key: SESSIONS, units: 1 };
  for (const requestId of asked) say({ acquire: { requestId, units } });
  const leases = new Map();
  for (const number of [1, 2, 3]) {
    const answer = await hear('acquired');
    assert.equal(answer.answerNumber, number);
    leases.set(answer.requestId.toString('hex'), answer.lease.leaseId);
  }
  const leaseOf = (requestId) => leases.get(requestId.toString('hex'));
  assert(asked.every(leaseOf));

  const oneMore = { requestId: newId(), units };
  say({ acquire: oneMore });
  const full = await hear('acquired');
  assert.deepEqual([full.outcome, full.refusal.reason, full.answerNumber], ['refusal', 'POOL_EXHAUSTED', 0]);

  say({ beat: { number: 7 } });
  const beaten = await hear('beat');
  assert.deepEqual([beaten.number, beaten.renewed], ['7', String(SEATS)]);

  console.log(`revoke ${leaseOf(asked[0])}`);
  const { leaseEnded } = await hear('event');
  assert.deepEqual([leaseEnded.leaseId, leaseEnded.reason], [leaseOf(asked[0]), 'REVOKED']);
  assert.match(leaseEnded.message, /for the test/);

  // Pipelined: two releases, one of them by the request that took the lease, and what they make room for.
  say({ release: { requestId: newId(), leaseIds: [leaseOf(asked[1])] } });
  say({ release: { requestId: newId(), acquireRequestIds: [asked[2]] } });
  say({ acquire: oneMore });
  for (let released = 0; released < 2; released += 1) {
    const answer = await hear('released');
    assert(answer.answerNumber > 0 && answer.outcomes[0].refusal === null);
  }
  const { lease } = await hear('acquired');
  say({ release: { requestId: newId(), leaseIds: [lease.leaseId] } });
  await hear('released');

  // A bare acknowledgement: the daemon may forget what it answered, and has once it has answered what came after.
  say({ answersReceived: arrived });
  say({ beat: { number: 8 } });
  await hear('beat');
  say({ release: { requestId: newId(), acquireRequestIds: [asked[2]] } });
  const forgotten = await hear('released');
  assert.equal(forgotten.outcomes[0].refusal.reason, 'REQUEST_UNKNOWN');
  // The end from this side.
  const ended = new Promise((resolve) => stream.on('status', resolve));
  stream.end();
  assert((await heard.next()).done);
  assert.equal((await ended).code, grpc.status.OK);
}

async function main() {
  const leasing = new v1.Leasing(address.replace('http://', ''), grpc.credentials.createInsecure());
  await unary(leasing);
  await attached(leasing);
  leasing.close();
  console.log('done');
}

main().catch((fault) => {
  console.error(fault);
  // Open calls would keep it.
  process.exit(1);
});
