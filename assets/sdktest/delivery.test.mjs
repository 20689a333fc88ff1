// What is told to handlers: nothing lost, nothing twice, in the log's order.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, joined, ack, event, lobby, settle} from './fake.mjs'

const back = async (t, options) => {
  t.net.last.end()
  await t.clock.pass(t.client.state.delay)
  return greet(t.net.last, options)
}

test('joins with the newest page first, then after its cursor, and drops what it had', async () => {
  const t = start()
  lobby(t)
  greet(t.net.last, {seq: 7, join: false})
  const [join] = t.net.last.frames('join')
  assert.deepEqual(join, {op: 'join', id: join.id, topic: 'room:lobby', recent: 50})
  joined(t.net.last, join, 7, {after: 4})
  for (const seq of [5, 6, 6, 5, 7]) t.net.last.say(event(seq))
  assert.deepEqual(t.heard, [5, 6, 7])
  const hello = await back(t, {seq: 9})
  assert.deepEqual(hello.position, {epoch: 'e1', seq: 7})
  const [again] = t.net.last.frames('join')
  assert.deepEqual(again, {op: 'join', id: again.id, topic: 'room:lobby', after: 7})
  for (const seq of [7, 8, 9]) t.net.last.say(event(seq))
  assert.deepEqual(t.heard, [5, 6, 7, 8, 9])
})

test('an empty room is resumed from where its join began', async () => {
  for (const after of [0, 30]) {
    const t = start()
    lobby(t)
    greet(t.net.last, {seq: 30, join: false})
    joined(t.net.last, t.net.last.frames('join')[0], 30, {after})
    await back(t)
    assert.equal(t.net.last.frames('join')[0].after, after)
  }
})

test('a join that was not answered is begun anew', async () => {
  const t = start()
  lobby(t)
  greet(t.net.last, {seq: 30, join: false})
  await back(t)
  assert.equal(t.net.last.frames('join')[0].recent, 50)
})

test('the ack of an own send is the event in its place: it is told as such and moves the cursor', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {seq: 2})
  t.net.last.say(event(3))
  const told = []
  room.on('message', (e) => told.push(e))
  const done = room.send({text: 'mine'})
  const [send] = t.net.last.frames('send')
  assert.equal(send.kind, 'message')
  ack(t.net.last, send, 9, {at: 99})
  assert.deepEqual(await done, {seq: 9, at: 99})
  assert.deepEqual(told, [{topic: 'room:lobby', seq: 9, kind: 'message', from: 'alice', key: send.key, body: {text: 'mine'}, at: 99}])
  t.net.last.say(event(9, 'alice', {key: send.key}))
  await back(t, {seq: 10})
  assert.equal(t.net.last.frames('join')[0].after, 9)
  t.net.last.say(event(10))
  assert.deepEqual(t.heard, [3, 9, 10])
})

test('a lost ack, and the replay meets the event: its ack stands in its place', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const done = room.send({text: 'mine'})
  const {key} = t.net.last.frames('send')[0]
  await back(t, {seq: 5})
  const again = t.net.last.frames('send')[0]
  assert.equal(again.key, key)
  t.net.last.say(event(3))
  ack(t.net.last, again, 4, {at: 44})
  t.net.last.say(event(5))
  assert.deepEqual(await done, {seq: 4, at: 44})
  assert.deepEqual(t.heard, [3, 4, 5])
})

test('a lost ack, and the replay tells the event before the send is repeated: that is acked again', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const done = room.send({text: 'mine'})
  const {key} = t.net.last.frames('send')[0]
  await back(t, {seq: 4})
  const again = t.net.last.frames('send')[0]
  t.net.last.say(event(4, 'alice', {key}))
  assert.equal((await done).seq, 4)
  ack(t.net.last, again, 4, {again: true})
  assert.deepEqual(t.heard, [4])
})

test('an ack that says again settles the send and moves nothing: what is before it still comes', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const done = room.send({text: 'mine'}, {key: 'mine'})
  ack(t.net.last, t.net.last.frames('send')[0], 7, {again: true})
  assert.equal((await done).seq, 7)
  assert.deepEqual(t.heard, [])
  t.net.last.say(event(6))
  t.net.last.say(event(7, 'alice', {key: 'mine'}))
  assert.deepEqual(t.heard, [6, 7])
})

test('a send of a topic that is not followed: its ack is no place in a stream', async () => {
  const t = start()
  const room = t.client.room('lobby')
  greet(t.net.last)
  room.leave()
  const done = room.send({text: 'from outside'})
  const [send] = t.net.last.frames('send')
  const again = lobby(t)
  assert.equal(t.net.last.frames('join').length, 1, 'its join waits for the ack: after it, the ack would have to stand in the stream')
  ack(t.net.last, send, 8)
  assert.equal((await done).seq, 8)
  const join = t.net.last.frames('join')[1]
  joined(t.net.last, join, 9, {after: 6})
  for (const seq of [7, 8, 9]) t.net.last.say(event(seq, seq === 8 ? 'alice' : 'bob'))
  assert.deepEqual(t.heard, [7, 8, 9])
  assert.equal(t.client.room('lobby'), again)
})

test('an event without a key has an empty one', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const keys = []
  room.on('event', (e) => keys.push(e.key))
  t.net.last.say(event(1, '', {key: undefined}))
  const history = room.history()
  t.net.last.say({op: 'history', id: t.net.last.frames('history')[0].id, events: [event(1, '', {key: undefined}), event(2)]})
  assert.deepEqual([keys, (await history).events.map((e) => e.key)], [[''], ['', 'k2']])
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
  assert.equal(t.client.outbox.length, 1)
})

test('reset moves the cursor, and what follows is told although its numbers are lower', () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const resets = []
  room.on('reset', (r) => resets.push(r))
  t.net.last.say(event(100))
  for (const reason of ['limit', 'retention', 'epoch', 'something new']) t.net.last.say({op: 'reset', topic: 'room:lobby', reason, after: 10})
  t.net.last.say(event(10))
  t.net.last.say(event(11))
  assert.deepEqual(resets.map((r) => [r.topic, r.reason, r.after]), ['limit', 'retention', 'epoch', 'something new'].map((r) => ['room:lobby', r, 10]))
  for (const {message} of resets) assert.match(message, /Forget what you show and keep of room:lobby/)
  assert.equal(new Set(resets.map((r) => r.message)).size, 4)
  assert.deepEqual(t.heard, [100, 11])
})

test('another epoch in the welcome: the server is asked for a reset of whatever was shown, and nothing of the old log counts', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {seq: 100, join: false})
  joined(t.net.last, t.net.last.frames('join')[0], 100, {after: 90})
  t.net.last.say(event(100))
  const resets = []
  room.on('reset', (r) => resets.push(r.reason))
  room.send({text: 'on its way'})
  t.net.last.end()
  await t.clock.pass(500)
  const hello = greet(t.net.last, {seq: 3, epoch: 'e2', join: false})
  assert.deepEqual(hello.position, {epoch: 'e1', seq: 100})
  t.net.last.say({op: 'reset', topic: 'user:alice', reason: 'epoch', after: 3})
  const [first] = t.net.last.frames('join')
  assert.deepEqual(first, {op: 'join', id: first.id, topic: 'room:lobby', after: 1, epoch: 'gone'})
  joined(t.net.last, first, 3, {after: 1})
  t.net.last.say({op: 'reset', topic: 'room:lobby', reason: 'epoch', after: 0})
  t.net.last.say(event(1))
  t.net.last.say(event(3))
  const [send] = t.net.last.frames('send')
  ack(t.net.last, send, 4)
  assert.deepEqual(t.heard, [100, 1, 3, 4])
  assert.deepEqual(resets, ['epoch'])
  assert.deepEqual((await back(t, {epoch: 'e2', seq: 4})).position, {epoch: 'e2', seq: 3})
  assert.equal(t.net.last.frames('join')[0].after, 4)
})

test('another epoch, and the connection breaks before the reset: it is asked for again', async () => {
  const t = start()
  lobby(t)
  greet(t.net.last, {seq: 10})
  t.net.last.say(event(10))
  assert.equal((await back(t, {seq: 40, epoch: 'e2', join: false})).position.epoch, 'e1')
  assert.equal((await back(t, {seq: 41, epoch: 'e2', join: false})).position.epoch, 'gone', 'of the inbox, too')
  t.net.last.say({op: 'reset', topic: 'user:alice', reason: 'epoch', after: 20})
  joined(t.net.last, t.net.last.frames('join')[0], 41, {after: 1})
  assert.deepEqual((await back(t, {seq: 42, epoch: 'e2', join: false})).position, {epoch: 'e2', seq: 20})
  assert.equal(t.net.last.frames('join')[0].epoch, 'gone')
})

test('on(): any kind, all kinds, and no kind can pose as one of the topic’s own happenings', () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const seen = []
  for (const name of ['event', 'reset', 'outbox', 'poll']) room.on(name, (x) => seen.push([name, x.seq]))
  const off = room.on('poll', () => seen.push('off'))
  off()
  off()
  t.net.last.say(event(1, 'bob', {kind: 'poll'}))
  t.net.last.say(event(2, 'bob', {kind: 'reset'}))
  t.net.last.say(event(3, 'bob', {kind: 'event'}))
  t.net.last.say(event(4, 'bob', {kind: 'outbox'}))
  assert.deepEqual(seen, [['event', 1], ['poll', 1], ['event', 2], ['event', 3], ['event', 4]])
})

test('the same function given twice is called twice, and each off ends one of them', () => {
  const t = start()
  const room = t.client.room('lobby')
  greet(t.net.last)
  let n = 0
  const fn = () => n++
  const off = room.on('message', fn)
  room.on('message', fn)
  t.net.last.say(event(1))
  off()
  t.net.last.say(event(2))
  assert.equal(n, 3)
})

test('leave, and join again: what the earlier join still brings does not disturb the new one', () => {
  const t = start()
  const first = lobby(t)
  greet(t.net.last, {seq: 5, join: false})
  first.leave()
  first.leave()
  assert.deepEqual(t.net.last.frames('leave').map((f) => f.topic), ['room:lobby'])
  const room = lobby(t)
  t.net.last.say(event(6))
  const join = t.net.last.frames('join')[1]
  joined(t.net.last, t.net.last.frames('join')[0], 6) // late, and not the one that was asked for last
  t.net.last.say(event(6))
  assert.deepEqual(t.heard, [])
  joined(t.net.last, join, 6, {after: 3})
  for (const seq of [4, 5, 6]) t.net.last.say(event(seq))
  assert.deepEqual(t.heard, [4, 5, 6])
  assert.equal(t.client.room('lobby'), room)
})

test('a handler may leave, close or send: who is told what stays right', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  room.on('message', (e) => e.seq === 1 && room.send({text: 'answer'}))
  room.on('message', (e) => e.seq === 3 && room.leave())
  room.on('message', (e) => e.seq === 5 && t.client.close())
  t.net.last.say(event(1))
  ack(t.net.last, t.net.last.frames('send')[0], 2)
  t.net.last.say(event(3))
  t.net.last.say(event(4))
  assert.deepEqual(t.heard, [1, 2, 3])
  const other = t.client.room('other')
  joined(t.net.last, t.net.last.frames('join')[1], 4)
  const heard = []
  other.on('outbox', (o) => o.state === 'sent' && t.client.close())
  other.on('message', (e) => heard.push(e.seq))
  other.send({text: 'last'})
  ack(t.net.last, t.net.last.frames('send')[1], 9)
  assert.equal(t.client.state.name, 'closed')
  assert.deepEqual(heard, [], 'the next run is told: its place is before it')
  assert.equal(t.clock.timers.size, 0)
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
  const heard = []
  room.on('signal', (s) => heard.push(s))
  room.on('online', (o) => heard.push(o))
  t.net.last.say({op: 'signal', topic: 'room:lobby', from: 'bob', body: {typing: true}})
  t.net.last.say({op: 'online', topic: 'room:lobby', user: 'bob', online: false})
  assert.deepEqual(heard, [{topic: 'room:lobby', from: 'bob', body: {typing: true}}, {topic: 'room:lobby', user: 'bob', online: false}])
  await back(t)
  const [h] = t.net.last.frames('history')
  t.net.last.say({op: 'history', id: h.id, events: [event(3), event(4)], more: true})
  t.net.last.say({op: 'presence', id: t.net.last.frames('presence')[0].id, users: ['alice', 'bob']})
  const {events, more} = await history
  assert.deepEqual([events.map((e) => e.seq), more], [[3, 4], true])
  assert.deepEqual(await presence, ['alice', 'bob'])
  assert.deepEqual(t.heard, [])
  await back(t)
  assert.deepEqual([t.net.last.frames('history'), t.net.last.frames('presence')], [[], []], 'and one with an answer is not')
})

test('a question that is refused is rejected; with a time it is asked again', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const history = room.history()
  const presence = room.presence()
  t.net.last.say({op: 'error', id: t.net.last.frames('history')[0].id, code: 'internal', message: 'oops'})
  await assert.rejects(history, {name: 'TeahouseError', code: 'internal', message: 'oops'})
  t.net.last.say({op: 'error', id: t.net.last.frames('presence')[0].id, code: 'busy', message: 'later', retry_ms: 700})
  await t.clock.pass(700)
  t.net.last.say({op: 'presence', id: t.net.last.frames('presence')[1].id, users: []})
  assert.deepEqual(await presence, [])
})

test('a refused join tells its topic, which is not followed any more; what was written is sent all the same', async () => {
  const t = start()
  const room = lobby(t)
  const errors = []
  room.on('error', (e) => errors.push(e.code))
  const send = room.send({text: '1'})
  greet(t.net.last, {join: false})
  assert.equal(t.net.last.frames('send').length, 0)
  t.net.last.say({op: 'error', id: t.net.last.frames('join')[0].id, code: 'too_many_topics', message: 'leave one'})
  assert.deepEqual(errors, ['too_many_topics'])
  ack(t.net.last, t.net.last.frames('send')[0], 1)
  assert.equal((await send).seq, 1)
  await back(t)
  assert.equal(t.net.last.frames('join').length, 0)
  assert.notEqual(t.client.room('lobby'), room)
})

test('a join that the server cannot carry out now is asked for again', async () => {
  const t = start()
  lobby(t)
  greet(t.net.last, {join: false})
  const join = () => t.net.last.frames('join')
  t.net.last.say({op: 'error', id: join()[0].id, code: 'busy', message: 'later', retry_ms: 300})
  await t.clock.pass(300)
  t.net.last.say({op: 'error', id: join()[1].id, code: 'storage_failed', message: 'no time named'})
  await t.clock.pass(999)
  assert.equal(join().length, 2)
  await t.clock.pass(1)
  joined(t.net.last, join()[2], 0)
  t.net.last.say(event(1))
  assert.deepEqual(t.heard, [1])
  await back(t, {join: false})
  t.net.last.say({op: 'error', id: join()[0].id, code: 'busy', message: 'again'})
  await t.clock.pass(1000)
  assert.equal(join().length, 2, 'the waiting begins anew')
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

test('a welcome for another user ends it: nobody speaks in another’s name', async () => {
  const t = start()
  t.client.room('lobby').send({text: 'alice’s'})
  greet(t.net.last, {user: 'bob'})
  assert.equal(t.client.state.name, 'closed')
  assert.equal(t.client.state.error, 'bad_user')
  assert.match(t.client.state.reason, /bob, not for alice/)
  assert.equal(t.net.last.frames('send').length, 0)
  assert.equal(t.net.alive.length, 0)
  assert.equal(t.clock.timers.size, 0)
})
