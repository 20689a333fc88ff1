// Tokens: asked for, kept while they are good, and got anew when they are refused or run out.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, memory, settle} from './fake.mjs'

/** A JWT for a user; nobody looks at its signature here. */
const jwt = (sub, more) => ['{"alg":"HS256"}', JSON.stringify({sub, ...more}), 'sig'].map((s) => Buffer.from(s).toString('base64url')).join('.')

/** A server in token mode, whose backend gives T1, T2 … */
function started(options) {
  const asked = []
  const t = start({getToken: (refused) => (asked.push(refused), 'T' + asked.length), ...options})
  return {...t, asked, token: () => (t.net.last.open(), t.net.last.frames('hello')[0].token)}
}

test('a refused token: getToken is asked once more, then it is the end', async () => {
  const t = started()
  await settle()
  greet(t.net.last)
  assert.equal(t.net.last.frames('hello')[0].token, 'T1')
  t.net.last.end(1006)
  await t.clock.pass(500)
  greet(t.net.last)
  assert.deepEqual(t.asked, [false], 'a good token is kept')
  await t.clock.pass(10000)
  t.net.last.say({op: 'error', code: 'token_expired', message: 'too old'})
  t.net.last.end(4106)
  await settle()
  assert.equal(t.token(), 'T2', 'at once')
  t.net.last.end(4100)
  assert.equal(t.client.state.name, 'closed')
  assert.deepEqual(t.asked, [false, true])
  t.client.retry() // whoever is told may want to try what the backend gives now
  await settle()
  assert.equal(t.token(), 'T2')
  t.net.last.end(4100)
  await settle()
  assert.equal(t.token(), 'T3')
  assert.deepEqual(t.asked, [false, true, true])
})

test('a token that ran out in an outage, and another one in the next', async () => {
  const t = started()
  await settle()
  greet(t.net.last)
  for (let n = 2; n < 5; n++) {
    t.net.last.end(1006)
    await t.clock.pass(3600000)
    t.client.retry()
    await settle()
    t.net.last.open()
    t.net.last.end(4100, 'ran out')
    await settle()
    t.net.last.end(1006) // the network is not quite back
    await t.clock.pass(30000)
    assert.equal(t.token(), 'T' + n)
    if (n !== 3) greet(t.net.last)
  }
  assert.equal(t.client.state.name, 'live')
  assert.deepEqual(t.asked, [false, true, true, true])
})

test('a backend whose tokens run out at once is not asked all the time', async () => {
  const t = started()
  await settle()
  for (let i = 0; i < 20; i++) {
    await t.clock.pass(t.client.state.delay || 0)
    greet(t.net.last)
    t.net.last.end(4106)
    if (i) assert.equal(t.client.state.name, 'waiting')
  }
  assert.ok(t.client.state.delay >= 15000, String(t.client.state.delay))
})

test('getToken that fails is a failed try, and is asked the same again', async () => {
  let fail = true
  const asked = []
  const t = start({getToken: (refused) => {
    asked.push(refused)
    if (fail) throw new Error('no network')
    return 'T'
  }})
  await settle()
  assert.equal(t.client.state.reason, 'no network')
  fail = false
  await t.clock.pass(500)
  t.net.last.open()
  assert.equal(t.net.last.frames('hello')[0].token, 'T')
  fail = true
  t.net.last.end(4100)
  await settle()
  assert.equal(t.client.state.name, 'waiting')
  fail = false
  await t.clock.pass(1000)
  assert.deepEqual(asked, [false, false, true, true])
  assert.equal(t.net.all.length, 2, 'no socket without a token')
})

test('getToken that does not answer is given up; its late answer is no news', async () => {
  const answers = []
  const t = start({getToken: () => new Promise((resolve) => answers.push(resolve))})
  await t.clock.pass(15000)
  assert.equal(t.client.state.name, 'waiting')
  await t.clock.pass(500)
  answers[0]('late')
  await settle()
  assert.equal(t.net.all.length, 0)
  answers[1](Promise.reject(new Error('no network')))
  await settle()
  assert.equal(t.client.state.reason, 'no network')
  await t.clock.pass(1000)
  assert.equal(answers.length, 3, 'the late one is not used: who knows how old it is')
  answers[2]('T')
  await settle()
  t.net.last.open()
  assert.equal(t.net.last.frames('hello')[0].token, 'T')
})

test('closed while getToken is at work: no socket is made', async () => {
  let resolve
  const t = start({getToken: () => new Promise((r) => (resolve = r))})
  t.client.close()
  resolve('T')
  await settle()
  assert.equal(t.net.all.length, 0)
  assert.equal(t.clock.timers.size, 0)
})

test('a token alone: when it is refused, that is the end; with getToken it is only the first', async () => {
  const t = start({token: 'given'})
  t.net.last.open()
  t.net.last.end(4100, 'not yours')
  assert.deepEqual(t.client.state, {name: 'closed', code: 4100, error: 'bad_token', reason: 'not yours'})
  const u = started({token: 'given'})
  assert.equal(u.token(), 'given')
  u.net.last.end(4100)
  await settle()
  assert.equal(u.token(), 'T1')
  assert.deepEqual(u.asked, [true])
})

test('without a user the token says whose places and outbox these are', async () => {
  for (const name of ['bob', '阿明', 'Zoë 🍵', 'a', 'ab', 'abc', 'x'.repeat(64)]) {
    const storage = memory()
    const token = jwt(name, {exp: 9})
    const t = start({storage, user: undefined, token})
    assert.equal(t.client.user, name)
    t.client.room('lobby').send({text: '1'})
    assert.equal(greet(t.net.last, {user: name}).user, name)
    assert.equal(storage.kept('outbox', name).length, 1)
    const next = start({storage, user: undefined, getToken: () => token})
    next.client.room('lobby').send({text: '2'}, {key: 'k2'})
    assert.deepEqual(next.client.outbox.map((o) => o.body.text), ['2'], 'nobody knows yet who it is')
    await settle()
    assert.deepEqual(next.client.outbox.map((o) => o.body.text), ['1', '2'])
    assert.equal(storage.kept('outbox', name).length, 2)
    assert.equal(next.client.inbox.topic, 'user:' + name)
  }
})

test('a token that does not say whose it is: the welcome does', () => {
  for (const token of ['opaque', 'a.b', 'a.%%.c', jwt(7), jwt(''), jwt(undefined), 'e30.e30.', '.', 'a.e30']) {
    const storage = memory()
    const t = start({storage, user: undefined, token})
    assert.equal(t.client.user, undefined, token)
    assert.throws(() => t.client.talk('bob'), {code: 'bad_user'})
    t.client.room('lobby').send({text: '1'})
    assert.equal('user' in greet(t.net.last, {user: 'guest-7'}), false)
    assert.equal(t.client.user, 'guest-7')
    assert.equal(t.client.inbox.topic, 'user:guest-7')
    assert.equal(t.client.talk('bob').topic, 'dm:bob:guest-7')
    assert.equal(storage.items.size, 0, 'nothing is kept of whom nobody finds again')
  }
})

test('a guest stays the same guest as long as the app runs', async () => {
  const t = start({user: undefined})
  const got = []
  t.client.inbox.on('event', (e) => got.push(e.seq))
  greet(t.net.last, {user: 'guest-7', seq: 5})
  t.net.last.end()
  await t.clock.pass(500)
  const hello = greet(t.net.last, {user: 'guest-7', seq: 9})
  assert.deepEqual([hello.user, hello.position], ['guest-7', {epoch: 'e1', seq: 5}])
})
