// The staff page's desk: a scan is never lost, never asked for under two names, and never said to be done when it is not.
import test from 'node:test'
import assert from 'node:assert/strict'
import {webcrypto} from 'node:crypto'
import {makeDesk} from '../web/staff_desk.js'

if (!globalThis.crypto) globalThis.crypto = webcrypto // Node 18

/** A browser with a server that says what `answers` has, one after the other; a function or an error is one answer. */
function bench({kept = new Map(), name = 'Ann', forbidden = false} = {}) {
  globalThis.localStorage = {
    getItem: (k) => (kept.has(k) ? kept.get(k) : null),
    setItem(k, v) {
      if (forbidden) throw new Error('full')
      kept.set(k, v)
    },
    removeItem: (k) => kept.delete(k),
  }
  const b = {kept, name, time: 1_000_000, asked: [], answers: [], waits: [], changes: [], out: 0}
  b.desk = makeDesk({
    who: () => b.name,
    now: () => b.time + 5,
    clock: () => b.time,
    later: (fn, ms) => {
      b.next = fn
      b.waits.push(ms)
    },
    changed: (scan) => b.changes.push(scan.state),
    signedOut: () => { b.out++; b.name = '' },
    async ask(path, body) {
      b.asked.push({path, ...body})
      const answer = b.answers.shift()
      if (answer instanceof Error) throw answer
      return answer
    },
  })
  b.settle = () => new Promise((done) => setImmediate(done))
  b.goOn = async () => {
    await b.next()
    await b.settle()
  }
  return b
}

const refused = (code, status = 0, problem = {}) => Object.assign(new Error(code), {code, status, problem})
const lost = () => refused('unreachable')
const done = (name = 'tea') => ({voucher: {name, status: 'redeemed'}, first: true})

test('a scan without a network is kept, asked for again under the same name, and ends with what the server says', async () => {
  const b = bench()
  b.answers = [lost(), lost(), refused('voucher_redeemed', 409, {detail: 'by Bob', redeemed_by: 'Bob'})]
  const {scan} = b.desk.submit('CODE', '123456')
  await b.settle()
  assert.deepEqual([scan.state, scan.late, b.desk.unreachable, b.desk.waiting('Ann').length], ['waiting', true, true, 1])
  await b.goOn()
  assert.equal(scan.state, 'waiting')
  await b.goOn()
  assert.deepEqual([scan.state, scan.why.redeemed_by, b.desk.unreachable, b.desk.waiting().length], ['refused', 'Bob', false, 0])
  assert.deepEqual(b.waits, [1000, 2000])
  assert.equal(b.asked.length, 3)
  assert.deepEqual(new Set(b.asked.map((a) => JSON.stringify(a))).size, 1, 'another request')
  assert.deepEqual(b.asked[0], {path: 'vouchers/CODE/redeem', key: scan.key, pass: '123456', scanned_at: 1_000_005})
})

test('what is an answer and what is none', async () => {
  for (const [answer, state] of [
    [done(), 'redeemed'], [refused('voucher_unknown', 404), 'refused'], [refused('pass_stale', 409), 'refused'], [refused('voucher_expired', 410), 'refused'],
    [refused('bad_request', 400), 'refused'], [lost(), 'waiting'], [refused('unreachable', 502), 'waiting'], [refused('busy', 503), 'waiting'],
    [refused('storage_failed', 500), 'waiting'], [{}, 'waiting'], [undefined, 'waiting'], [refused('rate_limited', 429, {retry_ms: 4321}), 'waiting'],
  ]) {
    const b = bench()
    b.answers = [answer]
    const {scan} = b.desk.submit('CODE', '')
    await b.settle()
    assert.equal(scan.state, state, answer && answer.code)
    if (answer && answer.code === 'rate_limited') assert.deepEqual(b.waits, [4321])
  }
})

test('a page that goes while it asks finds its scan again', async () => {
  const b = bench()
  b.answers = [new Promise(() => {})]
  const {scan} = b.desk.submit('CODE', '')
  const again = bench({kept: b.kept})
  again.answers = [{voucher: {name: 'tea'}, first: false}]
  assert.deepEqual(again.desk.scans.map((s) => [s.state, s.late, s.key]), [['waiting', true, scan.key]])
  again.desk.goOn()
  await again.goOn()
  assert.deepEqual([again.desk.scans[0].state, again.asked[0].key], ['redeemed', scan.key])
  assert.equal(bench({kept: b.kept}).desk.scans[0].state, 'redeemed')
})

test('the same code within seconds is the same scan, but for a refused pass', async () => {
  const b = bench()
  b.answers = [refused('pass_stale', 409), done()]
  const first = b.desk.submit('CODE', '111111')
  assert.equal(b.desk.submit('CODE', '222222').scan, first.scan, 'on its way')
  await b.settle()
  assert.equal(b.desk.submit('CODE', '111111').again, true)
  const second = b.desk.submit('CODE', '222222')
  await b.settle()
  assert.deepEqual([second.again, second.scan.state], [false, 'redeemed'])
  assert.equal(b.desk.submit('CODE', '333333').scan, second.scan)
  b.time += 5001
  b.answers = [refused('voucher_redeemed', 409)]
  const third = b.desk.submit('CODE', '333333')
  assert.equal(third.again, false)
  assert.notEqual(third.scan.key, second.scan.key)
  assert.equal(b.desk.submit('OTHER', '').again, false)
  assert.equal(b.asked.length, 4)
})

test('who is signed out goes on after signing in, and nobody goes on in the name of another', async () => {
  const b = bench()
  b.answers = [refused('bad_token', 401)]
  const {scan} = b.desk.submit('CODE', '')
  await b.settle()
  assert.deepEqual([b.out, scan.state], [1, 'waiting'])
  b.name = 'Bob'
  b.desk.goOn()
  await b.goOn()
  assert.equal(b.asked.length, 1, "Bob redeemed what Ann scanned")
  assert.deepEqual([b.desk.waiting('Bob').length, b.desk.waiting().length], [0, 1])
  b.answers = [done('Bob’s own')]
  assert.equal(b.desk.submit('CODE', '').again, false)
  b.desk.forget()
  assert.deepEqual(b.desk.scans.map((s) => s.by), ['Bob', 'Ann'].filter((n) => b.desk.waiting(n).length))
  b.name = 'Ann'
  b.answers.push(done())
  await b.settle()
  b.answers = [done()]
  b.desk.goOn()
  await b.goOn()
  assert.deepEqual([scan.state, b.asked[b.asked.length - 1].key], ['redeemed', scan.key])
})

test('an undo without an answer is the same undo again; a refused one may be tried anew', async () => {
  const b = bench()
  b.answers = [done(), lost(), lost(), {voucher: {status: 'issued'}}]
  const {scan} = b.desk.submit('CODE', '')
  await b.settle()
  await b.desk.undo(scan, 'wrong one')
  assert.equal(scan.undo.state, 'waiting')
  await b.desk.undo(scan, 'wrong one') // by hand
  await b.goOn() // by itself
  assert.equal(scan.undo.state, 'undone')
  const [, one, two, three] = b.asked
  assert.deepEqual([two, three], [one, one])
  assert.deepEqual([one.path, one.reason], ['vouchers/CODE/reverse', 'wrong one'])
  // It can be redeemed again at once: what was undone is another one.
  b.answers = [done(), refused('voucher_not_yours', 403), {voucher: {}}]
  const next = b.desk.submit('CODE', '')
  await b.settle()
  assert.equal(next.again, false)
  await b.desk.undo(next.scan, 'x')
  assert.deepEqual([next.scan.undo.state, next.scan.state], ['refused', 'redeemed'])
  await b.desk.undo(next.scan, 'x')
  assert.notEqual(b.asked[6].key, b.asked[5].key)
})

test('the last twenty are kept, and all that wait; a browser that keeps nothing is known', async () => {
  const b = bench()
  for (let i = 0; i < 30; i++) {
    b.answers = [i % 3 ? done() : lost()]
    b.desk.submit('CODE' + i, '')
    await b.settle()
    b.time += 1000
  }
  assert.deepEqual([b.desk.waiting().length, b.desk.scans.length], [10, 30])
  b.answers = Array.from({length: 10}, () => done())
  await b.goOn()
  assert.deepEqual([b.desk.waiting().length, b.desk.scans.length, b.desk.scans[0].code], [0, 20, 'CODE29'])
  const none = bench({forbidden: true})
  none.answers = [lost()]
  const {scan} = none.desk.submit('CODE', '')
  await none.settle()
  assert.deepEqual([scan.kept, scan.state], [false, 'waiting'])
})
