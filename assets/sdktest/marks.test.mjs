// What the server keeps for a user: the list of topics with read positions, recalls, searches, codes, vouchers.
import test from 'node:test'
import assert from 'node:assert/strict'
import {start, greet, joined, ack, event, lobby, memory} from './fake.mjs'

const answer = (socket, frame, more) => socket.say({op: frame.op, id: frame.id, ...more})
const list = (t) => t.net.last.frames('topics')[0]
const marks = (t) => t.net.last.frames('mark').map(({op, id, ...what}) => what)
const back = async (t, options) => {
  t.net.last.end()
  await t.clock.pass(t.client.state.delay)
  return greet(t.net.last, options)
}

test('topics: the list, its newest events with a key', async () => {
  const t = start()
  const asked = t.client.topics()
  greet(t.net.last)
  const room = {topic: 'room:lobby', read: 3, head: 9, unread: 2, more: false, mention: true, muted: false, kept: true}
  answer(t.net.last, list(t), {topics: [{...room, last: event(7, 'bob', {key: undefined, op: undefined})}, {...room, topic: 'room:empty', head: 0}]})
  const [first, empty] = await asked
  assert.deepEqual([first.topic, first.unread, first.mention, first.last.seq, first.last.key], ['room:lobby', 2, true, 7, ''])
  assert.equal(empty.last, undefined)
})

test('topics of a server that has none', async () => {
  const t = start()
  const asked = t.client.topics()
  greet(t.net.last)
  answer(t.net.last, list(t), {})
  assert.deepEqual(await asked, [])
})

test('mark: answered, and told to the app; another device’s is told as well', async () => {
  const t = start()
  const told = []
  t.client.on('marked', (m) => told.push([m.topic, m.read, m.muted, m.kept, 'id' in m]))
  greet(t.net.last)
  const done = t.client.room('lobby').mark({read: 7})
  const [frame] = t.net.last.frames('mark')
  assert.deepEqual(marks(t), [{topic: 'room:lobby', read: 7}])
  t.net.last.say({op: 'marked', id: frame.id, topic: 'room:lobby', read: 7, muted: false, kept: true})
  assert.deepEqual(await done, {topic: 'room:lobby', read: 7, muted: false, kept: true})
  t.net.last.say({op: 'marked', topic: 'dm:alice:bob', read: 9, muted: true, kept: true})
  assert.deepEqual(told, [['room:lobby', 7, false, true, false], ['dm:alice:bob', 9, true, true, false]])
})

test('marks without a connection are one for each topic, with the highest place', async () => {
  const t = start()
  const room = t.client.room('lobby')
  const done = [room.mark({read: 7}), room.mark({read: 5, muted: true}), room.mark({muted: false}), room.mark({kept: true})]
  t.client.talk('bob').mark({read: 8})
  greet(t.net.last)
  assert.deepEqual(marks(t), [
    {topic: 'room:lobby', read: 7, muted: false, kept: true}, {topic: 'dm:alice:bob', read: 8},
  ])
  room.mark({read: 9}) // the other one is on its way: this is another
  assert.deepEqual(marks(t)[2], {topic: 'room:lobby', read: 9})
  // What the break took with it is said again, and takes the newest in.
  t.net.last.end()
  room.mark({read: 11})
  await t.clock.pass(t.client.state.delay)
  greet(t.net.last)
  assert.deepEqual(marks(t).map((m) => [m.topic, m.read]), [['room:lobby', 11], ['dm:alice:bob', 8], ['room:lobby', 9]])
  for (const f of t.net.last.frames('mark')) t.net.last.say({...f, op: 'marked', muted: false, kept: true})
  assert.deepEqual((await Promise.all(done)).map((m) => m.read), [11, 11, 11, 11])
})

test('a refused mark rejects; one that comes too often is said again later', async () => {
  const t = start()
  greet(t.net.last)
  const room = t.client.room('lobby')
  const refused = room.mark({read: 7})
  const say = (i, more) => t.net.last.say({op: 'error', id: t.net.last.frames('mark')[i].id, message: 'm', ...more})
  say(0, {code: 'forbidden'})
  await assert.rejects(refused, {code: 'forbidden'})
  room.mark({read: 8})
  say(1, {code: 'rate_limited', retry_ms: 2000})
  room.mark({read: 9})
  await t.clock.pass(1999)
  assert.equal(marks(t).length, 2)
  await t.clock.pass(1)
  assert.deepEqual(marks(t)[2], {topic: 'room:lobby', read: 9})
})

test('search: what it finds, and where it goes on', async () => {
  const t = start()
  greet(t.net.last)
  const found = t.client.room('lobby').search('Tea', {before: 40, limit: 10})
  const [{op, id, ...what}] = t.net.last.frames('search')
  assert.deepEqual(what, {topic: 'room:lobby', text: 'Tea', before: 40, limit: 10})
  answer(t.net.last, {op, id}, {events: [{...event(12), key: undefined}], before: 8, more: true})
  const {events, before, more} = await found
  assert.deepEqual([events.map((e) => [e.seq, e.key]), before, more], [[[12, '']], 8, true])
  const nothing = t.client.room('lobby').search('x')
  answer(t.net.last, t.net.last.frames('search')[1], {before: 3})
  assert.deepEqual(await nothing, {events: [], before: 3, more: false})
})

test('a recall is a send: once for each message, kept over a reload, told like any event', async () => {
  const storage = memory()
  const t = start({storage})
  lobby(t).recall(7)
  t.client.close()
  const next = start({storage})
  const room = lobby(next)
  const told = []
  room.on('message.recalled', (e) => told.push(e.body.seq))
  const done = room.recall(7) // the button again
  greet(next.net.last, {seq: 7})
  const sends = next.net.last.frames('send')
  assert.deepEqual(sends.map(({id, op, ...what}) => what), [{topic: 'room:lobby', key: 'recall-7', kind: 'message.recalled', body: {seq: 7}}])
  ack(next.net.last, sends[0], 8)
  assert.deepEqual(await done, {seq: 8, at: 8})
  next.net.last.say(event(9, 'bob', {kind: 'message.recalled', body: {seq: 3}}))
  assert.deepEqual(told, [7, 3])
  assert.deepEqual(storage.kept('outbox'), null)
})

test('a recall that came too late failed, and can be discarded', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {seq: 7})
  const done = room.recall(7)
  t.net.last.say({op: 'error', id: t.net.last.frames('send')[0].id, code: 'recall_too_late', message: 'too late'})
  await assert.rejects(done, {code: 'recall_too_late'})
  assert.deepEqual(t.client.outbox.map((i) => [i.kind, i.state, i.error.code]), [['message.recalled', 'failed', 'recall_too_late']])
  t.client.discard('recall-7')
  assert.deepEqual(t.client.outbox, [])
})

test('in another log a waiting recall or read position would hit something else: it is dropped', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {seq: 7})
  t.net.last.end()
  const lost = room.recall(7)
  room.mark({read: 7})
  const muted = room.mark({muted: true})
  const said = room.send({text: 'hi'})
  await t.clock.pass(t.client.state.delay)
  greet(t.net.last, {epoch: 'e2', seq: 9})
  await assert.rejects(lost, {code: 'discarded'})
  assert.deepEqual(t.net.last.frames('send').map((f) => f.body), [{text: 'hi'}])
  assert.deepEqual(marks(t), [{topic: 'room:lobby', muted: true}])
  ack(t.net.last, t.net.last.frames('send')[0], 10)
  t.net.last.say({op: 'marked', id: t.net.last.frames('mark')[0].id, topic: 'room:lobby', read: 0, muted: true, kept: true})
  await Promise.all([muted, said])
})

test('a room’s code goes with each join; another one may be given later', async () => {
  const t = start()
  const room = t.client.room('club', {code: 'sesame'})
  greet(t.net.last, {seq: 4})
  assert.equal(t.net.last.frames('join')[0].code, 'sesame')
  await back(t, {seq: 4})
  assert.deepEqual([t.net.last.frames('join')[0].code, t.net.last.frames('join')[0].after], ['sesame', 4])
  assert.equal(t.client.room('club'), room)
  t.client.room('club', {code: 'open'})
  await back(t, {seq: 4})
  assert.equal(t.net.last.frames('join')[0].code, 'open')
  t.client.room('lobby')
  assert.equal('code' in t.net.last.frames('join')[1], false)
})

test('a room that wants a code says so, and is joined anew with it', async () => {
  const t = start()
  const codes = []
  const enter = (options) => {
    const room = t.client.room('club', options)
    room.on('error', (err) => codes.push(err.code))
    return room
  }
  enter()
  greet(t.net.last, {join: false})
  const refuse = (i, code) => t.net.last.say({op: 'error', id: t.net.last.frames('join')[i].id, code, message: 'm'})
  refuse(0, 'code_needed')
  enter({code: 'wrong'})
  refuse(1, 'bad_code')
  const room = enter({code: 'sesame'})
  const online = []
  room.on('joined', (f) => online.push(f.online))
  joined(t.net.last, t.net.last.frames('join')[2], 4)
  assert.deepEqual([codes, online], [['code_needed', 'bad_code'], [1]])
})

test('who is put out of a room that has a code now comes back with the code', async () => {
  const t = start()
  const room = lobby(t)
  const codes = []
  room.on('error', (err) => codes.push(err.code))
  greet(t.net.last, {seq: 4})
  t.net.last.say({op: 'error', topic: 'room:lobby', code: 'code_needed', message: 'm'})
  t.net.last.say(event(5))
  assert.deepEqual([codes, t.heard], [['code_needed'], []])
  const again = lobby(t, {code: 'sesame'})
  assert.notEqual(again, room)
  const [, join] = t.net.last.frames('join')
  assert.deepEqual([join.after, join.code], [4, 'sesame'])
  joined(t.net.last, join, 5)
  t.net.last.say(event(5))
  assert.deepEqual(t.heard, [5])
  const lost = []
  t.client.on('error', (err) => lost.push(err.code))
  t.net.last.say({op: 'error', topic: 'room:none', code: 'code_needed', message: 'm'})
  assert.deepEqual(lost, ['code_needed'])
})

test('protect: the code is the client’s own from then on', async () => {
  const t = start()
  const room = lobby(t)
  greet(t.net.last, {seq: 4})
  const done = room.protect('sesame')
  const {op, id, ...what} = t.net.last.frames('protect')[0]
  assert.deepEqual(what, {topic: 'room:lobby', code: 'sesame'})
  t.net.last.say({op: 'protected', id, topic: 'room:lobby'})
  assert.equal(await done, undefined)
  await back(t, {seq: 4})
  assert.equal(t.net.last.frames('join')[0].code, 'sesame')
  const refused = room.protect('')
  t.net.last.say({op: 'error', id: t.net.last.frames('protect')[0].id, code: 'forbidden', message: 'm'})
  await assert.rejects(refused, {code: 'forbidden'})
  await back(t, {seq: 4})
  assert.equal(t.net.last.frames('join')[0].code, 'sesame')
})

test('a secret claims the name; who has another one is told that it is taken', async () => {
  const t = start({secret: 'mine'})
  t.net.last.open()
  assert.equal(t.net.last.frames('hello')[0].secret, 'mine')
  t.net.last.say({op: 'error', code: 'name_taken', message: 'Somebody has this name.'})
  t.net.last.end(4110, 'name_taken')
  assert.deepEqual([t.client.state.name, t.client.state.error], ['closed', 'name_taken'])
  const other = start()
  other.net.last.open()
  assert.equal('secret' in other.net.last.frames('hello')[0], false)
  other.net.last.end(4110)
  assert.equal(other.client.state.error, 'name_taken')
  const mine = start({secret: 'mine'})
  greet(mine.net.last, {claimed: false})
  assert.deepEqual(mine.states.pop(), {name: 'live', claimed: false})
})

test('vouchers: page by page', async () => {
  const t = start()
  greet(t.net.last)
  const asked = t.client.vouchers({status: 'issued', cursor: 'c1'})
  const {op, id, ...what} = t.net.last.frames('vouchers')[0]
  assert.deepEqual(what, {status: 'issued', cursor: 'c1', limit: 50})
  answer(t.net.last, {op, id}, {vouchers: [{code: 'X', pass: 'JBSW'}], cursor: 'c2', now: 1234})
  assert.deepEqual(await asked, {vouchers: [{code: 'X', pass: 'JBSW'}], cursor: 'c2', now: 1234})
})
