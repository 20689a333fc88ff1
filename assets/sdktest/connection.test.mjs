// The socket: one, alive or known to be dead, and back when it makes sense.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, event, settle} from './fake.mjs'

const names = (t) => t.states.map((s) => s.name)

test('connects, greets, is live; close() ends it for good', async () => {
  const t = start({token: 'T', device: 'web-1'})
  assert.equal(t.client.state.name, 'connecting')
  t.net.last.open()
  const [hello] = t.net.last.frames('hello')
  assert.deepEqual(hello, {op: 'hello', id: hello.id, user: 'alice', token: 'T', device: 'web-1'})
  greet(t.net.last)
  assert.deepEqual(names(t), ['live'])
  const lost = t.client.room('lobby').send({text: 'x'})
  t.client.close()
  await assert.rejects(lost, {code: 'closed'})
  await assert.rejects(t.client.room('lobby').send({text: 'y'}), {code: 'closed'})
  assert.deepEqual(t.states.pop(), {name: 'closed', reason: 'closed by the app'})
  assert.equal(t.hooks.length, 0)
  t.client.close()
  t.client.retry()
  await t.clock.pass(600000)
  assert.equal(t.net.all.length, 1)
  assert.equal(t.net.alive.length, 0)
  assert.equal(t.clock.timers.size, 0)
})

test('after 50 forced errors of every sort there is one live socket', async () => {
  const t = start({getToken: () => Promise.resolve('T')})
  const room = t.client.room('lobby')
  const heard = []
  room.on('message', (e) => heard.push(e.seq))
  for (let i = 0; i < 50; i++) {
    await t.clock.pass(40000)
    if (t.client.state.name === 'waiting') t.client.retry()
    await settle()
    const s = t.net.last
    switch (i % 7) {
      case 0: s.end(1006); break // before it opened
      case 1: s.open(); s.end(1001); break // before the welcome
      case 2: greet(s); t.wake(); t.client.retry(); await t.clock.pass(4000); break // the ping goes unanswered
      case 3: greet(s, {seq: i}); s.say(event(i + 1)); s.end(4002, 'going away'); s.end(4002); break
      case 4: greet(s); t.wake(); s.end(1011); t.wake(); t.wake(); t.client.retry(); break
      case 5: greet(s); t.clock.freeze(600000); t.wake(); t.wake(); s.end(1006); break
      case 6: t.net.FakeSocket.broken = true; s.end(1006); await t.clock.pass(60000); t.net.FakeSocket.broken = false; break
    }
    assert.ok(t.net.alive.length <= 1, `round ${i}: ${t.net.alive.length} sockets`)
  }
  t.wake()
  assert.equal(t.net.alive.length, 1)
  greet(t.net.last)
  assert.equal(t.client.state.name, 'live')
  t.net.all[0].say(event(999)) // a dead socket's last words
  assert.ok(!heard.includes(999))
})

test('backoff: full jitter under a doubling bound of at most 30 s, anew after a stable connection', async () => {
  const t = start()
  const delays = []
  for (let i = 0; i < 10; i++) {
    t.clock.randoms.push(1)
    t.net.last.end()
    delays.push(t.client.state.delay)
    assert.equal(t.client.state.at, t.clock.time + t.client.state.delay)
    await t.clock.pass(t.client.state.delay)
  }
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000])
  greet(t.net.last)
  await t.clock.pass(9999)
  t.clock.randoms.push(0.1)
  t.net.last.end()
  assert.equal(t.client.state.delay, 3000, 'not stable yet')
  await t.clock.pass(3000)
  greet(t.net.last)
  await t.clock.pass(10000)
  t.clock.randoms.push(1)
  t.net.last.end()
  assert.equal(t.client.state.delay, 500)
})

test('the server may say how long to stay away', () => {
  const t = start()
  greet(t.net.last)
  t.net.last.say({op: 'error', code: 'rate_limited', message: 'that signal', retry_ms: 9000})
  t.net.last.say({op: 'pong'})
  t.net.last.say({op: 'error', code: 'going_away', message: 'restart', retry_ms: 4000})
  t.clock.randoms.push(0)
  t.net.last.end(4002, 'going away')
  assert.equal(t.client.state.delay, 4000)
})

test('a try without an answer is given up', async () => {
  const t = start()
  await t.clock.pass(15000)
  assert.deepEqual(names(t), ['waiting'])
  await t.clock.pass(500)
  assert.equal(t.net.all.length, 2)
  t.net.last.open() // opened, but no welcome
  await t.clock.pass(15000)
  assert.equal(t.client.state.name, 'waiting')
})

test('heartbeat: a ping each ping_ms; silence after it is a dead network', async () => {
  const t = start()
  greet(t.net.last, {ping_ms: 20000})
  await t.clock.pass(19999)
  assert.equal(t.net.last.frames('ping').length, 0)
  await t.clock.pass(1)
  assert.equal(t.net.last.frames('ping').length, 1)
  await t.clock.pass(9000)
  t.net.last.say({op: 'pong'})
  await t.clock.pass(11000)
  assert.equal(t.net.last.frames('ping').length, 2)
  await t.clock.pass(9999)
  assert.equal(t.client.state.name, 'live')
  await t.clock.pass(1)
  assert.equal(t.client.state.name, 'waiting')
  assert.equal(t.net.alive.length, 0)
})

test('pings that come faster than the deadline are no respite', async () => {
  const t = start()
  greet(t.net.last, {ping_ms: 4000})
  await t.clock.pass(4000 + 9999)
  assert.equal(t.client.state.name, 'live')
  await t.clock.pass(1)
  assert.equal(t.client.state.name, 'waiting')
})

test('any frame is a sign of life', async () => {
  const t = start()
  greet(t.net.last)
  await t.clock.pass(25000)
  t.net.last.say(event(1))
  await t.clock.pass(20000)
  assert.equal(t.client.state.name, 'live')
})

test('coming back after a sleep: reconnects at once', () => {
  const t = start()
  greet(t.net.last)
  t.clock.freeze(600000)
  t.wake()
  assert.deepEqual(names(t), ['live', 'connecting'])
  assert.equal(t.net.all.length, 2)
  assert.equal(t.net.alive.length, 1)
})

test('coming back soon: asks whether the socket lives', async () => {
  const t = start()
  greet(t.net.last)
  t.wake()
  assert.equal(t.net.last.frames('ping').length, 1)
  await t.clock.pass(2999)
  t.net.last.say({op: 'pong'})
  await t.clock.pass(5000)
  assert.equal(t.client.state.name, 'live')
  t.wake()
  await t.clock.pass(3000)
  assert.equal(t.client.state.name, 'waiting')
})

test('the network is back while waiting: no more waiting', () => {
  const t = start()
  t.net.last.end()
  assert.equal(t.client.state.name, 'waiting')
  t.wake()
  assert.equal(t.client.state.name, 'connecting')
  t.wake() // a try that has just begun is left alone
  assert.equal(t.net.all.length, 2)
})

test('close codes decide', async () => {
  for (const code of [0, 1000, 1001, 1006, 1011, 1012, 3000, 4000, 4001, 4002, 4003, 4010, 4099, 4105, 4200, 4500]) {
    const t = start()
    greet(t.net.last)
    t.net.last.end(code, 'words')
    assert.equal(t.client.state.name, 'waiting', String(code))
    assert.deepEqual([t.client.state.code, t.client.state.reason], [code, 'words'])
  }
  for (const code of [1002, 1007, 4100, 4101, 4102, 4103, 4104, 4106, 4107, 4108, 4150, 4199]) {
    const t = start()
    greet(t.net.last)
    const question = t.client.room('lobby').history()
    t.client.room('lobby').send({text: 'x'})
    t.net.last.say({op: 'error', code: 'kicked', message: 'out'})
    t.net.last.end(code, 'words')
    assert.deepEqual(t.client.state, {name: 'closed', code, error: 'kicked', reason: 'words'})
    await assert.rejects(question, {code: 'closed', message: 'words'})
    await assert.rejects(t.client.room('lobby').presence(), {code: 'closed', message: 'words'})
    t.wake()
    await t.clock.pass(600000)
    assert.equal(t.net.all.length, 1, 'it does not come back by itself')
    assert.equal(t.client.outbox.length, 1, 'what was not sent waits')
    t.client.retry()
    assert.equal(t.net.all.length, 2, 'it does when told to')
    greet(t.net.last)
    assert.equal(t.net.last.frames('send').length, 1)
  }
})

test('after a restart of the server all come back, but not in one moment', () => {
  const t = start()
  for (const [random, delay] of [[0, 0], [1, 3000]]) {
    greet(t.net.last)
    t.clock.randoms.push(random)
    t.net.last.end(4002)
    assert.equal(t.client.state.delay, delay)
    t.wake()
  }
})

test('a full disk and too many frames: it comes back, but not at once', () => {
  for (const code of [4004, 4005]) {
    const t = start()
    greet(t.net.last)
    t.clock.randoms.push(0)
    t.net.last.end(code)
    assert.equal(t.client.state.delay, 1000)
  }
})

test('a close code without an error frame before it has a name all the same', () => {
  for (const [code, error] of [[1002, 'bad_frame'], [4100, 'bad_token'], [4101, 'kicked'], [4103, 'bad_user'], [4106, 'token_expired'], [4199, undefined]]) {
    const t = start()
    t.net.last.open()
    t.net.last.end(code, 'words')
    assert.equal(t.client.state.error, error)
  }
})

test('frames that it does not know, and no frames at all, are ignored', () => {
  const t = start()
  greet(t.net.last)
  for (const f of ['', '{', 'null', '[]', '7', '{"op":"tea"}', '{"op":"event","topic":"room:x","seq":1}', '{"op":"ack","id":77}']) t.net.last.say(f)
  assert.equal(t.client.state.name, 'live')
})

test('a state handler may close at any time', () => {
  for (const when of ['connecting', 'live', 'waiting']) {
    const t = start()
    t.client.on('state', (s) => s.name === when && t.client.close())
    t.client.room('lobby')
    greet(t.net.last)
    t.net.last.end()
    t.wake()
    assert.equal(t.client.state.name, 'closed', when)
    assert.equal(t.net.alive.length, 0, when)
  }
})
