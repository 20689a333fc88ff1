// What is told to handlers, and what is sent: nothing lost, nothing twice, in order.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, joined, event, settle, memory} from './fake.mjs'

function lobby(t) {
  const room = t.client.room('lobby')
  t.heard = []
  room.on('message', (e) => t.heard.push(e.seq))
  return room
}

test('joins with the newest page first, then after its cursor, and drops what it had', async () => {
  const t = start()
  lobby(t)
  greet(t.net.last, {seq: 7})
  assert.equal(t.net.last.frames('join')[0].recent, 50)
  assert.equal('after' in t.net.last.frames('join')[0], false)
  for (const seq of [5, 6, 6, 5, 7]) t.net.last.say(event(seq))
  assert.deepEqual(t.heard, [5, 6, 7])
  t.net.last.end()
  await t.clock.pass(500)
  const hello = greet(t.net.last, {seq: 9})
  assert.deepEqual(hello.position, {epoch: 'e1', seq: 7})
  assert.equal(t.net.last.frames('join')[0].after, 7)
  for (const seq of [7, 8, 9]) t.net.last.say(event(seq))
  assert.deepEqual(t.heard, [5, 6, 7, 8, 9])
})

test('an empty room is resumed from its beginning, or from where the server says', async () => {
  for (const [head, more, after] of [[0, {}, 0], [30, {after: 30}, 30]]) {
    const t = start()
    lobby(t)
    greet(t.net.last, {seq: 30, join: false})
    joined(t.net.last, t.net.last.frames('join')[0], head, more)
    t.net.last.end()
    await t.clock.pass(500)
    greet(t.net.last)
    assert.equal(t.net.last.frames('join')[0].after, after)
  }
})

test('before the first event a join is begun anew', async () => {
  const t = start()
  lobby(t)
  greet(t.net.last, {seq: 30, head: 30})
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last)
  assert.equal(t.net.last.frames('join')[0].recent, 50)
})

test('an ack hands the own event to the handlers and does not move the cursor', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {seq: 3})
  t.net.last.say(event(3))
  const told = []
  room.on('message', (e) => told.push(e))
  const done = room.send({text: 'mine'})
  const [send] = t.net.last.frames('send')
  assert.equal(send.kind, 'message')
  t.net.last.say({op: 'ack', id: send.id, key: send.key, seq: 9, at: 99})
  assert.deepEqual(await done, {seq: 9, at: 99})
  assert.deepEqual(told, [{topic: 'room:lobby', seq: 9, kind: 'message', from: 'alice', key: send.key, body: {text: 'mine'}, at: 99}])
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last, {seq: 9})
  assert.equal(t.net.last.frames('join')[0].after, 3)
  t.net.last.say(event(8))
  t.net.last.say(event(9, 'alice', {key: send.key}))
  t.net.last.say(event(10))
  assert.deepEqual(t.heard, [3, 9, 8, 10])
})

test('a lost ack: the replay brings the event, it is told once and the send is done', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const done = room.send({text: 'mine'})
  const {key} = t.net.last.frames('send')[0]
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last, {seq: 5, head: 5})
  const again = t.net.last.frames('send')[0]
  assert.equal(again.key, key)
  t.net.last.say(event(3))
  t.net.last.say({op: 'ack', id: again.id, key, seq: 4, at: 44}) // the retry's ack overtakes the replay
  t.net.last.say(event(4, 'alice', {key}))
  t.net.last.say(event(5))
  assert.deepEqual(await done, {seq: 4, at: 44})
  assert.deepEqual(t.heard, [3, 4, 5])
})

test('a lost ack, and a replay that leaves out what this connection sends again', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const done = room.send({text: 'mine'})
  const {key} = t.net.last.frames('send')[0]
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last, {seq: 5, head: 5})
  t.net.last.say(event(3))
  t.net.last.say(event(5))
  t.net.last.say({op: 'ack', id: t.net.last.frames('send')[0].id, key, seq: 4, at: 44})
  await done
  assert.deepEqual(t.heard, [3, 5, 4])
  // A second retry of the same key is no news.
  const again = room.send({text: 'mine'}, {key})
  t.net.last.say({op: 'ack', id: t.net.last.frames('send')[1].id, key, seq: 4, at: 44})
  assert.deepEqual(await again, {seq: 4, at: 44})
  assert.deepEqual(t.heard, [3, 5, 4])
})

test('sends wait for a replay that the server announces, and the place moves when it is over', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {join: false})
  const [join] = t.net.last.frames('join')
  joined(t.net.last, join, 30, {live: false, after: 9})
  room.send({text: 'mine'})
  t.net.last.say(event(10))
  assert.equal(t.net.last.frames('send').length, 0)
  t.net.last.say({op: 'live', topic: 'room:lobby', seq: 30})
  const [send] = t.net.last.frames('send')
  t.net.last.say({op: 'ack', id: send.id, key: send.key, seq: 31, at: 1})
  assert.deepEqual(t.heard, [10, 31])
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last)
  assert.equal(t.net.last.frames('join')[0].after, 30)
})

test('a lost ack, the other way round: the replay comes before the retry’s ack', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const done = room.send({text: 'mine'})
  const {key} = t.net.last.frames('send')[0]
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last, {seq: 4, head: 4})
  const again = t.net.last.frames('send')[0]
  t.net.last.say(event(4, 'alice', {key}))
  assert.equal((await done).seq, 4)
  t.net.last.say({op: 'ack', id: again.id, key, seq: 4, at: 44})
  assert.deepEqual(t.heard, [4])
})

test('someone else’s event with the same key settles nothing', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  let done = false
  room.send({text: 'mine'}).then(() => (done = true))
  t.net.last.say(event(4, 'bob', {key: t.net.last.frames('send')[0].key}))
  await settle()
  assert.equal(done, false)
})

test('the outbox: in order, one at a time in a topic, over connections, until acked', async () => {
  const t = start()
  const room = lobby(t)
  const sends = [1, 2, 3].map((n) => room.send({text: String(n)}))
  const other = t.client.topic('room:other').send({text: 'x'})
  t.net.last.open()
  assert.equal(t.net.last.frames('send').length, 0)
  greet(t.net.last, {join: false})
  assert.equal(t.net.last.frames('send').length, 0, 'not before the topic is joined')
  for (const j of t.net.last.frames('join')) joined(t.net.last, j, 0)
  const texts = () => t.net.last.frames('send').map((f) => f.body.text)
  assert.deepEqual(texts(), ['1', 'x'])
  const keys = t.net.last.frames('send').map((f) => f.key)
  t.net.last.end(4002)
  await t.clock.pass(500)
  greet(t.net.last)
  assert.deepEqual(texts(), ['1', 'x'])
  assert.deepEqual(t.net.last.frames('send').map((f) => f.key), keys)
  for (let seq = 1; seq <= 4; seq++) {
    const f = t.net.last.frames('send')[seq - 1]
    t.net.last.say({op: 'ack', id: f.id, key: f.key, seq, at: seq})
  }
  assert.deepEqual(texts(), ['1', 'x', '2', '3'])
  assert.deepEqual((await Promise.all([...sends, other])).map((r) => r.seq), [1, 3, 4, 2])
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last)
  assert.deepEqual(texts(), [], 'nothing is sent again once acked')
})

test('rate_limited waits and tries the same key again, the next ones stay behind it', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  room.send({text: '1'})
  room.send({text: '2'})
  const [first] = t.net.last.frames('send')
  t.net.last.say({op: 'error', id: first.id, code: 'rate_limited', message: 'slow down', retry_ms: 800})
  await t.clock.pass(799)
  assert.equal(t.net.last.frames('send').length, 1)
  await t.clock.pass(1)
  assert.deepEqual(t.net.last.frames('send').map((f) => f.key), [first.key, first.key])
})

test('any other error rejects the send; its key may be tried again', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const bad = room.send({text: '1'})
  const next = room.send({text: '2'})
  const [first] = t.net.last.frames('send')
  t.net.last.say({op: 'error', id: first.id, code: 'storage_full', message: 'the disk is full'})
  await assert.rejects(bad, {name: 'TeahouseError', code: 'storage_full', message: 'the disk is full'})
  const second = t.net.last.frames('send')[1]
  assert.equal(second.body.text, '2')
  t.net.last.say({op: 'ack', id: second.id, seq: 1, at: 1})
  assert.equal((await next).seq, 1)
  room.send({text: '1'}, {key: first.key})
  assert.equal(t.net.last.frames('send')[2].key, first.key)
})

test('a body over the limit is refused here: the server would close', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  await assert.rejects(room.send({text: '茶'.repeat(5460)}), {code: 'too_large'})
  room.send({text: '茶'.repeat(5400) + '🍵'.repeat(40)})
  assert.equal(t.net.last.frames('send').length, 1)
})

test('reset moves the cursor, and what follows is told although its numbers are lower', () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const resets = []
  room.on('reset', (r) => resets.push(r.reason))
  t.net.last.say(event(100))
  t.net.last.say({op: 'reset', topic: 'room:lobby', reason: 'limit', after: 10})
  t.net.last.say(event(10))
  t.net.last.say(event(11))
  assert.deepEqual(resets, ['limit'])
  assert.deepEqual(t.heard, [100, 11])
})

test('another epoch in the welcome clears the cursors and tells of it', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {seq: 100})
  t.net.last.say(event(100))
  const resets = []
  room.on('reset', (r) => resets.push(r.reason))
  room.send({text: 'on its way'})
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last, {seq: 3, epoch: 'e2'})
  assert.deepEqual(resets, ['epoch'])
  assert.equal(t.net.last.frames('join')[0].recent, 50)
  t.net.last.say(event(3))
  const [send] = t.net.last.frames('send')
  t.net.last.say({op: 'ack', id: send.id, key: send.key, seq: 4, at: 1})
  assert.deepEqual(t.heard, [100, 3, 4])
})

test('the inbox begins at the welcome and goes on where it was, over a reload too', async () => {
  const storage = memory()
  const t = start({storage})
  const got = []
  t.client.inbox.on('voucher.redeemed', (e) => got.push(e.seq))
  assert.equal('position' in greet(t.net.last, {seq: 40}), false)
  const inbox = (seq) => event(seq, '', {topic: 'user:alice', kind: 'voucher.redeemed'})
  t.net.last.say(inbox(41))
  t.net.last.end()
  await t.clock.pass(500)
  assert.deepEqual(greet(t.net.last, {seq: 50}).position, {epoch: 'e1', seq: 41})
  t.net.last.say(inbox(41))
  t.net.last.say(inbox(45))
  assert.deepEqual(got, [41, 45])
  t.client.close()

  const again = start({storage})
  again.client.inbox.on('voucher.redeemed', (e) => got.push(e.seq))
  assert.deepEqual(greet(again.net.last, {seq: 60}).position, {epoch: 'e1', seq: 45})
  const other = start({storage, user: 'bob'})
  assert.equal('position' in greet(other.net.last), false, 'a place belongs to one account')
})

test('on(): any kind, all kinds, and no kind can pose as one of the topic’s own happenings', () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const seen = []
  for (const name of ['event', 'reset', 'poll']) room.on(name, (x) => seen.push([name, x.seq]))
  t.net.last.say(event(1, 'bob', {kind: 'poll'}))
  t.net.last.say(event(2, 'bob', {kind: 'reset'}))
  t.net.last.say(event(3, 'bob', {kind: 'event'}))
  assert.deepEqual(seen, [['event', 1], ['poll', 1], ['event', 2], ['event', 3]])
})

test('leave, and join again: what the earlier join still brings does not disturb the new one', () => {
  const t = start()
  const first = lobby(t)
  greet(t.net.last, {seq: 5})
  first.leave()
  assert.equal(t.net.last.frames('leave')[0].topic, 'room:lobby')
  const room = lobby(t)
  t.net.last.say(event(6))
  const join = t.net.last.frames('join')[1]
  joined(t.net.last, join, 6)
  for (const seq of [4, 5, 6]) t.net.last.say(event(seq))
  assert.deepEqual(t.heard, [4, 5, 6])
  assert.equal(t.client.room('lobby'), room)
})

test('history, presence, signal; a question without an answer is asked again', async () => {
  const t = start()
  const room = lobby(t)
  const history = room.history({before: 5, limit: 2})
  const presence = room.presence()
  room.signal({typing: true}) // nobody is there yet
  greet(t.net.last)
  room.signal({typing: true})
  assert.deepEqual(t.net.last.frames('signal'), [{op: 'signal', topic: 'room:lobby', body: {typing: true}}])
  t.net.last.end()
  await t.clock.pass(500)
  greet(t.net.last)
  const [h] = t.net.last.frames('history')
  t.net.last.say({op: 'history', id: h.id, events: [event(3), event(4)], more: true})
  t.net.last.say({op: 'presence', id: t.net.last.frames('presence')[0].id, users: ['alice', 'bob']})
  const {events, more} = await history
  assert.deepEqual([events.map((e) => e.seq), more], [[3, 4], true])
  assert.deepEqual(await presence, ['alice', 'bob'])
  assert.deepEqual(t.heard, [])
})

test('a refused join tells its topic and rejects what waited for it', async () => {
  const t = start()
  const room = lobby(t)
  const errors = []
  room.on('error', (e) => errors.push(e.code))
  const send = room.send({text: '1'})
  greet(t.net.last, {join: false})
  t.net.last.say({op: 'error', id: t.net.last.frames('join')[0].id, code: 'forbidden', message: 'not yours'})
  await assert.rejects(send, {code: 'forbidden'})
  assert.deepEqual(errors, ['forbidden'])
})

test('a handler that throws stops nobody else', (ctx) => {
  const thrown = []
  globalThis.reportError = (err) => thrown.push(err.message)
  ctx.after(() => delete globalThis.reportError)
  const t = start()
  const room = t.client.room('lobby')
  room.on('message', () => { throw new Error('oops') })
  lobby(t)
  greet(t.net.last)
  t.net.last.say(event(1))
  assert.deepEqual([t.heard, thrown], [[1], ['oops']])
})
