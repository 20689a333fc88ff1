// The outbox: what is written is sent, once, in order, over connections, reloads, tabs and full storages.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, joined, ack, event, lobby, memory, settle} from './fake.mjs'

const sends = (t) => t.net.last.frames('send')
const texts = (t) => sends(t).map((f) => f.body.text)
const states = (t) => t.client.outbox.map((o) => [o.body.text, o.state])
const refuse = (t, f, more) => t.net.last.say({op: 'error', id: f.id, code: 'forbidden', message: 'not yours', ...more})
const back = async (t, options) => {
  t.net.last.end()
  await t.clock.pass(t.client.state.delay)
  return greet(t.net.last, options)
}

test('in order, one at a time in a topic, over connections, until acked', async () => {
  const t = start()
  const room = lobby(t)
  const mine = [1, 2, 3].map((n) => room.send({text: String(n)}))
  const other = t.client.topic('room:other').send({text: 'x'})
  t.net.last.open()
  assert.equal(sends(t).length, 0)
  greet(t.net.last, {join: false})
  assert.equal(sends(t).length, 0, 'not before the topic is joined')
  for (const j of t.net.last.frames('join')) joined(t.net.last, j, 0)
  assert.deepEqual(texts(t), ['1', 'x'])
  const keys = sends(t).map((f) => f.key)
  await back(t)
  assert.deepEqual(texts(t), ['1', 'x'])
  assert.deepEqual(sends(t).map((f) => f.key), keys)
  for (let seq = 1; seq <= 4; seq++) ack(t.net.last, sends(t)[seq - 1], seq)
  assert.deepEqual(texts(t), ['1', 'x', '2', '3'])
  assert.deepEqual((await Promise.all([...mine, other])).map((r) => r.seq), [1, 3, 4, 2])
  await back(t)
  assert.deepEqual(texts(t), [], 'nothing is sent again once acked')
})

test('pending, sent and failed are told, on the topic and on the client', async () => {
  const t = start()
  const room = lobby(t)
  const log = {room: [], client: []}
  room.on('outbox', (o) => log.room.push(o))
  t.client.on('outbox', (o) => log.client.push(o))
  greet(t.net.last)
  room.send({text: '1'}, {kind: 'poll', key: 'one'}).catch(() => {})
  const pending = {topic: 'room:lobby', key: 'one', kind: 'poll', body: {text: '1'}, at: t.clock.time, state: 'pending'}
  assert.deepEqual(t.client.outbox, [pending])
  refuse(t, sends(t)[0])
  const failed = {...pending, state: 'failed', error: {code: 'forbidden', message: 'not yours'}}
  assert.deepEqual(t.client.outbox, [failed])
  const done = t.client.resend('one')
  assert.equal(sends(t)[1].key, 'one')
  ack(t.net.last, sends(t)[1], 7)
  assert.deepEqual(await done, {seq: 7, at: 7})
  assert.deepEqual(t.client.outbox, [])
  const plain = (list) => JSON.parse(JSON.stringify(list))
  assert.deepEqual(plain(log.room), plain([pending, failed, pending, {...pending, state: 'sent', seq: 7}]))
  assert.deepEqual(plain(log.client), plain(log.room))
})

test('a refused send fails, the next ones go on; what failed stays until it is resent or discarded', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const bad = room.send({text: '1'}, {key: 'a'})
  const next = room.send({text: '2'})
  refuse(t, sends(t)[0], {code: 'too_large', message: 'too long'})
  await assert.rejects(bad, {name: 'TeahouseError', code: 'too_large', message: 'too long'})
  assert.equal(sends(t)[1].body.text, '2')
  ack(t.net.last, sends(t)[1], 1)
  assert.equal((await next).seq, 1)
  await back(t)
  assert.equal(sends(t).length, 0, 'not by itself')
  const again = room.send({text: 'the first one counts'}, {key: 'a'})
  assert.equal(sends(t)[0].body.text, '1')
  refuse(t, sends(t)[0])
  await assert.rejects(again, {code: 'forbidden'})
  t.client.discard('a')
  t.client.discard('a')
  assert.deepEqual(t.client.outbox, [])
  await assert.rejects(t.client.resend('a'), {code: 'discarded'})
})

test('a send that is on its way may be discarded; if it arrives all the same, it is told like any other', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  const gone = room.send({text: '1'})
  room.send({text: '2'})
  t.client.discard(sends(t)[0].key)
  await assert.rejects(gone, {code: 'discarded'})
  assert.deepEqual(texts(t), ['1'], 'the next one keeps its place')
  ack(t.net.last, sends(t)[0], 5)
  assert.deepEqual(t.heard, [5])
  assert.deepEqual(texts(t), ['1', '2'])
})

test('asked to wait: the same key is tried again, the next ones stay behind it', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  room.send({text: '1'})
  room.send({text: '2'})
  refuse(t, sends(t)[0], {code: 'rate_limited', message: 'slow down', retry_ms: 800})
  await t.clock.pass(799)
  assert.deepEqual(texts(t), ['1'])
  await t.clock.pass(1)
  assert.deepEqual(texts(t), ['1', '1'])
  assert.equal(sends(t)[0].key, sends(t)[1].key)
  // Without a time it waits a second, then two.
  refuse(t, sends(t)[1], {code: 'storage_full', message: 'the disk is full'})
  await t.clock.pass(1000)
  refuse(t, sends(t)[2], {code: 'internal', message: 'oops'})
  await t.clock.pass(1999)
  assert.equal(sends(t).length, 3)
  await t.clock.pass(1)
  assert.deepEqual(texts(t), ['1', '1', '1', '1'])
  assert.deepEqual(states(t), [['1', 'pending'], ['2', 'pending']])
  refuse(t, sends(t)[3], {code: 'internal', message: 'oops'})
  t.client.close()
  assert.equal(t.clock.timers.size, 0)
})

test('a device that sets its clock back does not wait longer for it', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  room.send({text: '1'})
  refuse(t, sends(t)[0], {code: 'busy', message: 'later', retry_ms: 100})
  t.clock.time -= 3600000
  for (const timer of t.clock.timers.values()) timer.at -= 3600000
  await t.clock.pass(100)
  assert.equal(sends(t).length, 2)
})

test('a body over the limit is refused here; the welcome says how much it is', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  await assert.rejects(room.send({text: '茶'.repeat(5460)}), {code: 'too_large', message: /16391 bytes; at most 16384/})
  room.send({text: '茶'.repeat(5400) + '🍵'.repeat(40)})
  assert.equal(sends(t).length, 1)
  assert.equal(t.client.outbox.length, 1)
  await back(t, {limits: {body: 10}})
  await assert.rejects(room.send('12345678901'), {code: 'too_large'})
})

test('a body is copied; a missing one is null', () => {
  const t = start()
  const room = lobby(t)
  const body = {text: 'as it was'}
  room.send(body)
  body.text = 'changed'
  t.client.outbox[0].state = 'sent' // a copy, too
  t.client.room('other').send()
  greet(t.net.last)
  assert.deepEqual(sends(t).map((f) => f.body), [{text: 'as it was'}, null])
  assert.throws(() => room.send(body.self = body), TypeError)
})

test('1,000 at most', async () => {
  const t = start()
  const room = lobby(t)
  const all = []
  for (let i = 0; i < 1000; i++) all.push(room.send({text: String(i)}))
  await assert.rejects(room.send({text: 'one more'}), {code: 'too_many'})
  greet(t.net.last)
  for (let i = 0; i < 1000; i++) ack(t.net.last, sends(t)[i], i + 1)
  assert.deepEqual((await Promise.all(all)).map((r) => r.seq), all.map((_, i) => i + 1))
  assert.deepEqual(t.heard, all.map((_, i) => i + 1))
  room.send({text: 'there is room again'})
})

test('nobody asks how it went: no unhandled rejection', async (ctx) => {
  const bad = []
  const on = (err) => bad.push(err)
  process.on('unhandledRejection', on)
  ctx.after(() => process.off('unhandledRejection', on))
  const t = start()
  const room = lobby(t)
  greet(t.net.last)
  room.send({text: '1'}, {key: 'a'})
  refuse(t, sends(t)[0])
  room.send({text: '2'}, {key: 'b'})
  t.client.discard('b')
  room.send({text: 'x'.repeat(20000)})
  t.client.resend('nothing')
  room.send({text: '3'})
  room.history()
  t.client.close()
  room.send({text: '4'})
  room.presence()
  await settle()
  await settle()
  assert.deepEqual(bad, [])
})

// ---- over reloads ----

test('a reload in the middle of a send: the next run has it at once, and sends it with the same key', async () => {
  const storage = memory()
  const t = start({storage})
  const room = lobby(t)
  greet(t.net.last)
  room.send({text: '1'})
  room.send({text: '2'})
  const {key} = sends(t)[0]
  // The page is gone without a word.
  const next = start({storage})
  assert.deepEqual(states(next), [['1', 'pending'], ['2', 'pending']], 'at once after connect()')
  lobby(next)
  greet(next.net.last, {join: false})
  assert.equal(sends(next).length, 0)
  joined(next.net.last, next.net.last.frames('join')[0], 1, {after: 0})
  assert.equal(sends(next)[0].key, key)
  next.net.last.say(event(1, 'alice', {key})) // it had arrived
  ack(next.net.last, sends(next)[0], 1, {again: true})
  assert.deepEqual(texts(next), ['1', '2'])
  ack(next.net.last, sends(next)[1], 2)
  assert.deepEqual(next.heard, [1, 2])
  assert.equal(storage.kept('outbox'), null)
})

test('what was not sent goes out although its topic is not opened in this run', () => {
  const storage = memory()
  const t = start({storage})
  t.client.room('lobby').send({text: '1'})
  t.client.room('other').send({text: '2'})
  t.client.room('lobby').send({text: '3'})
  t.client.close()
  const next = start({storage})
  greet(next.net.last)
  assert.deepEqual(texts(next), ['1', '2'])
  ack(next.net.last, sends(next)[0], 1)
  assert.deepEqual(texts(next), ['1', '2', '3'])
})

test('close(): who waits is told, and what was not sent stays for the next time', async () => {
  const storage = memory()
  const t = start({storage})
  const lost = lobby(t).send({text: '1'})
  t.client.close()
  await assert.rejects(lost, {code: 'closed'})
  await assert.rejects(t.client.room('lobby').send({text: '2'}), {code: 'closed'})
  await assert.rejects(t.client.resend('x'), {code: 'closed'})
  assert.deepEqual(states(t), [['1', 'pending']])
  assert.deepEqual(states(start({storage})), [['1', 'pending']])
  assert.deepEqual(states(start({storage, user: 'bob'})), [], 'an outbox belongs to one account')
  assert.deepEqual(states(start({storage, url: 'ws://other.test'})), [])
})

test('what failed has failed in the next run too, with its reason', async () => {
  const storage = memory()
  const t = start({storage})
  lobby(t).send({text: '1'}, {key: 'a'})
  greet(t.net.last)
  refuse(t, sends(t)[0])
  const next = start({storage})
  greet(next.net.last)
  assert.deepEqual(next.client.outbox.map((o) => [o.state, o.error]), [['failed', {code: 'forbidden', message: 'not yours'}]])
  assert.equal(sends(next).length, 0)
  next.client.resend('a')
  assert.equal(sends(next).length, 1)
  assert.deepEqual(states(start({storage})), [['1', 'pending']])
  next.client.discard('a')
  assert.equal(storage.kept('outbox'), null)
})

test('killed between the ack and the storage: it is sent once more, and nobody hears it twice', async () => {
  const storage = memory()
  const t = start({storage})
  lobby(t).send({text: '1'}, {key: 'a'})
  greet(t.net.last)
  const before = storage.kept('outbox')
  ack(t.net.last, sends(t)[0], 1)
  t.client.close()
  storage.setItem('teahouse outbox ws://tea.test/ws alice', JSON.stringify(before))
  const next = start({storage})
  lobby(next, {resume: true})
  greet(next.net.last, {seq: 1})
  assert.equal(next.net.last.frames('join')[0].after, 1)
  ack(next.net.last, sends(next)[0], 1, {again: true})
  assert.deepEqual(next.heard, [])
  assert.deepEqual(states(next), [])
})

test('two tabs: each keeps the other’s, and what both have is settled in both', async () => {
  const storage = memory()
  const one = start({storage})
  const two = start({storage})
  lobby(one).send({text: 'one'}, {key: '1'})
  lobby(two).send({text: 'two'}, {key: '2'})
  assert.deepEqual(storage.kept('outbox').map((o) => o.key), ['1', '2'])
  const three = start({storage})
  assert.deepEqual(states(three), [['one', 'pending'], ['two', 'pending']])
  greet(one.net.last)
  ack(one.net.last, sends(one)[0], 1)
  assert.deepEqual(storage.kept('outbox').map((o) => o.key), ['2'])
  lobby(three)
  greet(three.net.last, {join: false})
  joined(three.net.last, three.net.last.frames('join')[0], 1, {after: 0})
  three.net.last.say(event(1, 'alice', {key: '1'}))
  assert.deepEqual(states(three), [['two', 'pending']])
  ack(three.net.last, sends(three)[0], 1, {again: true})
  assert.deepEqual(texts(three), ['one', 'two'])
  greet(two.net.last)
  ack(two.net.last, sends(two)[0], 2)
  assert.equal(storage.kept('outbox'), null)
  ack(three.net.last, sends(three)[1], 2, {again: true})
  assert.deepEqual(states(three), [])
  assert.equal(storage.kept('outbox'), null, 'nothing comes back')
})

test('a failed send that another tab sent is settled by its event', () => {
  const storage = memory()
  const t = start({storage})
  lobby(t).send({text: '1'}, {key: 'a'})
  greet(t.net.last)
  refuse(t, sends(t)[0])
  t.net.last.say(event(3, 'alice', {key: 'a'}))
  assert.deepEqual(states(t), [])
  assert.deepEqual(t.heard, [3])
})

test('another epoch: what was not acked is sent into the new log', async () => {
  const t = start()
  lobby(t).send({text: '1'})
  greet(t.net.last, {seq: 50})
  const {key} = sends(t)[0]
  await back(t, {seq: 2, epoch: 'e2'})
  t.net.last.say({op: 'reset', topic: 'room:lobby', reason: 'epoch', after: 1})
  assert.equal(sends(t)[0].key, key)
  t.net.last.say(event(2))
  ack(t.net.last, sends(t)[0], 3)
  assert.deepEqual(t.heard, [2, 3])
})

test('a storage that is full, forbidden, broken or someone else’s: it goes on in memory', async () => {
  const fail = () => { throw new Error('QuotaExceededError') }
  const junk = (text) => ({getItem: () => text, setItem() {}, removeItem() {}})
  const storages = [
    {getItem: fail, setItem: fail, removeItem: fail}, {...memory(), setItem: fail}, null, {},
    ...['{', 'null', '7', '[7,null,{"topic":"x"}]', '{"epoch":"e","places":7}', '{"epoch":1}', '"x"'].map(junk),
  ]
  for (const storage of storages) {
    const t = start({storage})
    const room = lobby(t)
    const first = room.send({text: '1'})
    assert.deepEqual(states(t), [['1', 'pending']])
    greet(t.net.last)
    ack(t.net.last, sends(t)[0], 1)
    assert.equal((await first).seq, 1)
    assert.deepEqual(states(t), [])
    assert.deepEqual(t.heard, [1])
    t.client.close()
  }
})

test('an outbox of another version: what has a topic and a key is sent', () => {
  const storage = memory()
  storage.setItem('teahouse outbox ws://tea.test/ws alice', JSON.stringify([{topic: 'room:x', key: 'a', body: 1, state: 'sending', more: 2}, {key: 'b'}]))
  const t = start({storage})
  greet(t.net.last)
  assert.deepEqual(sends(t).map((f) => f.key), ['a'])
})

test('a storage that was full for a while loses only what it could not take', () => {
  const storage = memory()
  const t = start({storage})
  const room = lobby(t)
  room.send({text: '1'}, {key: '1'})
  const {setItem} = storage
  storage.setItem = () => { throw new Error('full') }
  room.send({text: '2'}, {key: '2'})
  storage.setItem = setItem
  room.send({text: '3'}, {key: '3'})
  assert.deepEqual(t.client.outbox.map((o) => o.key), ['1', '2', '3'])
  assert.deepEqual(storage.kept('outbox').map((o) => o.key), ['1', '3'])
})
